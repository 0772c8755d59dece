// @ts-check
import { isIP } from 'node:net';

/**
 * Middleware that answers only to `localhost`, to an address, or to the name that was chosen: a web page can have its own
 * name lead to this machine (DNS rebinding) and would then be let in as one of ours. An address cannot be made to lead
 * elsewhere.
 * @param {string | undefined} [chosen]
 * @returns {import('express').RequestHandler}
 */
export function ownNames(chosen) {
  return (req, res, next) => {
    const { hostname = '' } = req;
    const isOwn = hostname === 'localhost' || hostname === chosen;
    if (isOwn || isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) {
      next();
      return;
    }
    res.status(403).type('text/plain').send(`This is not ${hostname}.\n`);
  };
}
