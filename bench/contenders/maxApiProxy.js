// @ts-check
import { delimiter, dirname } from 'node:path';
import { importPeer } from '../peers.js';

/**
 * The proxy's own handler. It runs `claude` from the PATH, with the prompt as an argument.
 * @type {import('../server.js').Contender['createHandler']}
 */
export async function createHandler({ command }) {
  process.env.PATH = `${dirname(command)}${delimiter}${process.env.PATH}`;
  const { handleChatCompletions } = await importPeer('claude-max-api-proxy/dist/server/routes.js');
  return handleChatCompletions;
}
