// @ts-check
/**
 * A server that ends in order, as a deploy asks for it: from the first SIGTERM no new runs, those that are going on have
 * 20 s, and whoever is cut off is told so. Clients come back to the next instance for what they have missed, if the two
 * share a store.
 */
import { claudeStream, memoryStore } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from './listen.js';
import { main } from './main.js';
import { chooseSetting } from './setting.js';

/** @param {import('./listen.js').Address & { grace?: number }} [options] grace in ms */
export async function startGracefulShutdown({ grace = 20_000, ...address } = {}) {
  const setting = await chooseSetting();
  const chat = claudeStream({ ...setting.options, store: memoryStore() });
  const app = express();
  app.post('/chat', express.json({ limit: '20mb' }), chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  return listen(
    app,
    async () => {
      // Until the last run has ended the server takes requests: new runs get 503, and clients come back for theirs.
      await chat.close({ grace });
      await setting.close();
    },
    address,
  );
}

main(import.meta.url, async () => {
  const server = await startGracefulShutdown(chosenAddress());
  console.log(`POST ${server.url}/chat, then kill -TERM ${process.pid}`);
  return server;
});
