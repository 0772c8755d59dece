// @ts-check
/**
 * What `npm start` runs: a chat page at /, Claude Code in its own format at /chat, where a client may come back for a run,
 * and for every OpenAI client at /v1.
 * Without a login it runs the same CLI against a scripted model, so that everything can be tried.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claudeStream, memoryStore, openaiRouter, streamProbe } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from './listen.js';
import { main } from './main.js';
import { ownNames } from './ownNames.js';
import { chooseSetting } from './setting.js';

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

/** @param {import('./listen.js').Address & { log?: (line: string) => void }} [options] */
export async function startServer({ log = console.log, ...address } = {}) {
  const setting = await chooseSetting();
  // So that the light on the page shows within seconds whether the line is alive.
  const chat = claudeStream({ ...setting.options, store: memoryStore(), keepAlive: 5_000 });
  const openai = openaiRouter(setting.options);
  const [first = '', second = '', third = ''] = setting.prompts;

  const app = express();
  app.use(ownNames(address.host));
  app.use('/v1', openai);
  app.post('/chat', express.json({ limit: '20mb' }), chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  app.get('/probe', streamProbe());
  app.use('/page', express.static(fileURLToPath(new URL('page', import.meta.url))));
  for (const [name, folder] of Object.entries(modules)) {
    app.use(`/modules/${name}`, express.static(folder));
  }
  app.get('/setting', (_req, res) => {
    res.json({ description: setting.description, prompts: setting.prompts });
  });
  app.get('/', (req, res) => {
    // For curl the list of what to try; a browser says that it would rather have HTML.
    if (req.accepts(['text', 'html']) === 'html') {
      res.sendFile(fileURLToPath(new URL('page/index.html', import.meta.url)));
      return;
    }
    const url = `${req.protocol}://${req.get('host')}`;
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

  const server = await listen(
    app,
    async () => {
      await Promise.all([chat.close(), openai.close()]);
      await setting.close();
    },
    address,
  );
  const { url } = server;
  log(setting.description);
  log(`Open ${url} in a browser, or try:`);
  for (const line of [curlChat(url, first), curlChat(url, second), curlCompletions(url, third)]) {
    log(`  ${line}`);
  }
  return server;
}

main(import.meta.url, () => startServer(chosenAddress()));
