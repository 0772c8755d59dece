// @ts-check
/**
 * Two instances of one application that share a Redis: a run that was begun on the first is followed, and stopped, on the
 * second. Needs a Redis, at REDIS_URL or redis://127.0.0.1:6379.
 *
 *     curl -sN 127.0.0.1:3000/chat -D- -H 'content-type: application/json' -d '{"prompt":"tick 30 500"}'
 *     curl -sN 127.0.0.1:3001/chat/<Claude-Run-Id>
 */
import { claudeStream } from 'claude-stream';
import { redisStore } from 'claude-stream/redis';
import express from 'express';
import { createClient } from 'redis';
import { chosenAddress, listen } from './listen.js';
import { main } from './main.js';
import { chooseSetting } from './setting.js';

/**
 * @param {string} redisUrl
 * @param {import('claude-stream').ClaudeStreamOptions} options
 * @param {import('./listen.js').Address} [address]
 */
async function startInstance(redisUrl, options, address) {
  // It reconnects by itself; what goes wrong meanwhile is the store's to cope with.
  const client = await createClient({ url: redisUrl }).on('error', console.error).connect();
  const blocking = await client.duplicate().on('error', console.error).connect();
  const store = redisStore({
    sendCommand: (...command) => client.sendCommand(command),
    sendBlockingCommand: (...command) => blocking.sendCommand(command),
  });
  const chat = claudeStream({ ...options, store });
  const app = express();
  app.post('/chat', express.json(), chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  const end = async () => {
    await chat.close();
    for (const one of [client, blocking]) one.destroy();
  };
  return listen(app, end, address);
}

/**
 * @param {import('./listen.js').Address & { redisUrl: string }} options the second instance has the next port
 * @returns {Promise<{ urls: string[], close(): Promise<void> }>}
 */
export async function startInstances({ redisUrl, port = 3000, host }) {
  const setting = await chooseSetting();
  const instances = await Promise.all(
    [port, port && port + 1].map((own) =>
      startInstance(redisUrl, setting.options, { port: own, host }),
    ),
  );
  return {
    urls: instances.map(({ url }) => url),
    async close() {
      await Promise.all(instances.map((instance) => instance.close()));
      await setting.close();
    },
  };
}

main(import.meta.url, async () => {
  const { REDIS_URL: redisUrl = 'redis://127.0.0.1:6379' } = process.env;
  const instances = await startInstances({ redisUrl, ...chosenAddress() });
  console.log(`POST ${instances.urls[0]}/chat, and GET ${instances.urls[1]}/chat/<Claude-Run-Id>`);
  return instances;
});
