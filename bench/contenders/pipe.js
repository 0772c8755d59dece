// @ts-check
import { spawnCli } from './spawnCli.js';

/** @type {import('../server.js').Contender['createHandler']} */
export const createHandler = (setting) => (_request, response) => {
  spawnCli(setting, response).pipe(response);
};
