// @ts-check
/**
 * A server with a limit: two runs at once, five requests that wait, and users who take turns, however many requests each
 * of them has. Ask it several times at once and see the positions count down:
 *
 *     for user in ada ada ada bob; do curl -sN 127.0.0.1:3000/chat -H "x-user: $user" -H 'content-type: application/json' \
 *       -d '{"prompt":"tick 10 300"}' | grep -A2 -E 'event: (queue|outcome)' & done; wait
 */
import { claudeStream } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from './listen.js';
import { main } from './main.js';
import { chooseSetting } from './setting.js';

/** @param {import('./listen.js').Address} [address] */
export async function startQueue(address) {
  const setting = await chooseSetting();
  const chat = claudeStream({
    ...setting.options,
    concurrency: 2,
    maxQueue: 5,
    // An application that knows its users takes it from their session, and never from a header that anybody may send.
    key: (req) => req.get('x-user') ?? 'nobody',
  });
  const app = express();
  app.post('/chat', express.json(), chat);
  return listen(
    app,
    async () => {
      await chat.close();
      await setting.close();
    },
    address,
  );
}

main(import.meta.url, async () => {
  const server = await startQueue(chosenAddress());
  console.log(`POST ${server.url}/chat, several times at once`);
  return server;
});
