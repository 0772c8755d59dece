// @ts-check
import { claudeStream, memoryStore } from 'claude-stream';

/** @type {import('../server.js').Contender['createHandler']} */
export const createHandler = ({ command, env, options: { keepsRuns = false, ...options } }) =>
  claudeStream({ command, env, ...(keepsRuns ? { store: memoryStore() } : {}), ...options });
