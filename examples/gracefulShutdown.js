// @ts-check
/**
 * A server that ends in order, as a deploy asks for it: from the first SIGTERM no new runs, those that are going on have
 * 20 s, and whoever is cut off is told so. Clients come back to the next instance for what they have missed, if the two
 * share a store.
 */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { claudeStream, memoryStore } from 'claude-stream';
import express from 'express';
import { chooseSetting } from './setting.js';
import { failed, untilSignal } from './untilSignal.js';

const require = createRequire(import.meta.url);

/**
 * @param {import('claude-stream').ClaudeStreamOptions} options
 * @param {{ port?: number, grace?: number }} [settings] grace in ms
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function startGracefulServer(options, { port = 3000, grace = 20_000 } = {}) {
  const chat = claudeStream({ store: memoryStore(), ...options });
  const app = express();
  app.post('/chat', express.json({ limit: '20mb' }), chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  const server = app.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());

  return {
    url: `http://127.0.0.1:${address.port}/chat`,
    async close() {
      // Until the last run has ended the server takes requests: new runs get 503, and clients come back for theirs.
      await chat.close({ grace });
      const closed = new Promise((resolve) => server.close(resolve));
      // Every stream has ended; what is left are connections that are kept alive.
      server.closeAllConnections();
      await closed;
    },
  };
}

async function main() {
  const setting = await chooseSetting();
  const server = await startGracefulServer(setting.options);
  console.log(`POST ${server.url}, then kill -TERM ${process.pid}`);
  untilSignal({
    async close() {
      await server.close();
      await setting.close();
    },
  });
}

// Resolved, since the file may be started through a link or without its extension.
if (process.argv[1] && require.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch(failed);
}
