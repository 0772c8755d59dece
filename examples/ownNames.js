// @ts-check
import { isIP } from 'node:net';

/**
 * Middleware that answers only to `localhost`, to an address, or to the name that was chosen: a web page can have its own
 * name lead to this machine (DNS rebinding) and would then be let in as one of ours. An address cannot be made to lead
 * elsewhere.
 * @param {string | undefined} [chosen]
 * @returns {import('express').RequestHandler}
 */
export function ownNames(chosen = '') {
  return (req, res, next) => {
    const name = (req.hostname ?? '').toLowerCase().replace(/\.$/, '');
    const isOwn = name === 'localhost' || name === chosen.toLowerCase();
    if (isOwn || isIP(name.replace(/^\[|\]$/g, '')) !== 0) {
      next();
      return;
    }
    const words = `This is not ${name}. If it is to be: HOST=${name} npm start\n`;
    res.status(403).type('text/plain').send(words);
  };
}
