// @ts-check
import { claudeStream, memoryStore } from 'claude-stream';
import { redisStore } from 'claude-stream/redis';
import { createClient } from 'redis';

/** @type {import('../server.js').Contender['createHandler']} */
export const createHandler = async ({ command, env, options: { keepsRuns, ...options } }) => {
  const store = keepsRuns && (await stores[keepsRuns]?.(env.BENCH_REDIS ?? ''));
  return claudeStream({ command, env, ...(store && { store }), ...options });
};

/** @type {Record<string, (socket: string) => Promise<import('claude-stream').Store>>} */
const stores = {
  memory: async () => memoryStore(),
  async redis(path) {
    const client = createClient({ socket: { path, tls: false } });
    const blocking = client.duplicate();
    await Promise.all([client.connect(), blocking.connect()]);
    return redisStore({
      sendCommand: (...words) => client.sendCommand(words),
      sendBlockingCommand: (...words) => blocking.sendCommand(words),
    });
  },
};
