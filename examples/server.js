// @ts-check
/**
 * What `npm start` runs: a chat page at /, Claude Code in its own format at /chat, where a client may come back for a run,
 * and for every OpenAI client at /v1.
 * Without a login it runs the same CLI against a scripted model, so that everything can be tried.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claudeStream, memoryStore, openaiRouter, streamProbe } from 'claude-stream';
import express from 'express';
import { chooseSetting } from './setting.js';
import { failed, untilSignal } from './untilSignal.js';

const require = createRequire(import.meta.url);

/** What the page imports, as files for a browser. */
const modules = {
  'claude-stream': fileURLToPath(new URL('../dist/esm', import.meta.url)),
  'eventsource-parser': dirname(require.resolve('eventsource-parser')),
};

/** @param {string} url @param {string} prompt */
function curlChat(url, prompt) {
  return curl(`${url}/chat`, { prompt });
}

/** @param {string} url @param {string} prompt */
function curlCompletions(url, prompt) {
  const messages = [{ role: 'user', content: prompt }];
  return curl(`${url}/v1/chat/completions`, { stream: true, messages });
}

/** @param {string} url @param {object} body */
function curl(url, body) {
  return `curl -N ${url} -H 'content-type: application/json' -d '${JSON.stringify(body)}'`;
}

/**
 * Starts the example server on the loopback.
 * @param {{ port?: number, host?: string, log?: (line: string) => void }} [options]
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function startServer({ port = 3000, host = '127.0.0.1', log = console.log } = {}) {
  const setting = await chooseSetting();
  // So that the light on the page shows within seconds whether the line is alive.
  const chat = claudeStream({ ...setting.options, store: memoryStore(), keepAlive: 5_000 });
  const openai = openaiRouter(setting.options);

  const app = express();
  const server = createServer(app);
  const close = async () => {
    // The runs first: they end their event streams, and then nothing keeps a connection open.
    await Promise.all([chat.close(), openai.close()]);
    if (server.listening) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    }
    await setting.close();
  };

  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`;
  const [first = '', second = '', third = ''] = setting.prompts;

  app.use('/v1', openai);
  app.post('/chat', express.json({ limit: '20mb' }), chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  app.use('/page', express.static(fileURLToPath(new URL('page', import.meta.url))));
  for (const [name, folder] of Object.entries(modules)) {
    app.use(`/modules/${name}`, express.static(folder));
  }
  app.get('/probe', streamProbe());
  app.get('/setting', (_req, res) => {
    res.json({ description: setting.description, prompts: setting.prompts });
  });
  app.get('/', (req, res) => {
    // For curl the list of what to try; a browser says that it would rather have HTML.
    if (req.accepts(['text', 'html']) === 'html') {
      res.sendFile(fileURLToPath(new URL('page/index.html', import.meta.url)));
      return;
    }
    const lines = setting.prompts.map((prompt) => curlChat(url, prompt));
    const models = `curl ${url}/v1/models`;
    const later = [
      `curl -N ${url}/chat/RUN?after=5  # RUN: the response header Claude-Run-Id`,
      `curl -X DELETE ${url}/chat/RUN`,
    ];
    const completion = curlCompletions(url, first);
    const help = [setting.description, '', ...lines, '', ...later, '', models, completion, ''];
    res.type('text/plain').send(help.join('\n'));
  });

  log(setting.description);
  log(`Open ${url} in a browser, or try:`);
  for (const line of [curlChat(url, first), curlChat(url, second), curlCompletions(url, third)]) {
    log(`  ${line}`);
  }
  return { url, close };
}

async function main() {
  const { PORT = '3000', HOST = '127.0.0.1' } = process.env;
  untilSignal(await startServer({ port: Number(PORT), host: HOST }));
}

// Resolved, since the file may be started through a link or without its extension.
if (process.argv[1] && require.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch(failed);
}
