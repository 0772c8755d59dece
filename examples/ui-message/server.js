// @ts-check
/**
 * What `useChat` of the AI SDK talks to: Chat.jsx beside this file is the component. An answer goes on when the page is
 * loaded anew, and the stop button stops it on the server.
 *
 *     curl -sN 127.0.0.1:3000/api/chat -H 'content-type: application/json' \
 *       -d '{"id":"chat-1","messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"tool"}]}]}'
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { claudeStream, memoryStore } from 'claude-stream';
import express from 'express';
import { listen } from '../listen.js';
import { chooseSetting } from '../setting.js';
import { failed, untilSignal } from '../untilSignal.js';

/** @param {import('../listen.js').Address} [address] */
export async function startUiMessage(address) {
  const setting = await chooseSetting();
  const chat = claudeStream({
    ...setting.options,
    format: 'ui-message',
    sessions: 'auto',
    store: memoryStore(),
  });
  const app = express();
  app.post('/api/chat', express.json({ limit: '20mb' }), chat);
  app.get('/api/chat/:chat/stream', chat.resume);
  app.delete('/api/chat/:run', chat.cancel);
  return listen(
    app,
    async () => {
      await chat.close();
      await setting.close();
    },
    address,
  );
}

const require = createRequire(import.meta.url);
if (process.argv[1] && require.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  startUiMessage({ port: Number(process.env.PORT ?? 3000) }).then((server) => {
    console.log(`POST ${server.url}/api/chat`);
    untilSignal(server);
  }, failed);
}
