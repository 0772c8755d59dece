// @ts-check
/**
 * What `useChat` of the AI SDK talks to: Chat.jsx beside this file is the component. An answer goes on when the page is
 * loaded anew, and the stop button stops it on the server.
 *
 *     curl -sN 127.0.0.1:3000/api/chat -H 'content-type: application/json' \
 *       -d '{"id":"chat-1","messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"tool"}]}]}'
 */
import { claudeStream, memoryStore } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from '../listen.js';
import { main } from '../main.js';
import { chooseSetting } from '../setting.js';

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

main(import.meta.url, async () => {
  const server = await startUiMessage(chosenAddress());
  console.log(`POST ${server.url}/api/chat`);
  return server;
});
