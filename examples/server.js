// @ts-check
/**
 * What `npm start` runs: Claude behind two routes, in Claude Code's own format and in OpenAI's.
 * Without a login it runs the same CLI against a scripted model, so that everything can be tried.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claudeStream } from 'claude-stream';
import express from 'express';
import { startScriptedModel } from './scriptedModel.js';

const require = createRequire(import.meta.url);

/**
 * How the CLI is run, and what is to be stopped and removed afterwards.
 * @typedef {object} Setting
 * @property {string} description
 * @property {string[]} prompts
 * @property {import('claude-stream').ClaudeStreamOptions} options
 * @property {() => Promise<void>} close
 */

/**
 * Exit code 0 of `claude auth status` means logged in; its output is nobody's business.
 * @returns {Promise<boolean>}
 */
async function isLoggedIn() {
  const child = spawn('claude', ['auth', 'status'], { stdio: 'ignore', timeout: 10_000 });
  try {
    const [code] = await once(child, 'exit');
    return code === 0;
  } catch {
    return false;
  }
}

/** @returns {Setting} */
function useAccount() {
  return {
    description: 'Using the `claude` on your PATH, which is logged in: prompts cost real tokens.',
    prompts: ['Say hello.', 'What is in this directory?', 'Count slowly from one to twenty.'],
    options: {},
    close: async () => {},
  };
}

/** @returns {Promise<Setting>} */
async function useScriptedModel() {
  const model = await startScriptedModel();
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-'));
  const [home, cwd] = [join(directory, 'home'), join(directory, 'project')];
  await mkdir(home);
  await mkdir(cwd);
  await writeFile(join(cwd, 'notes.md'), 'Buy milk.\nWater the plants.\n');

  const manifestPath = require.resolve('@anthropic-ai/claude-code/package.json');
  return {
    description: [
      'There is no logged-in `claude` on your PATH (`claude auth status` says so), therefore the',
      'answers come from a scripted model on this machine. The CLI that runs is the real one.',
    ].join('\n'),
    prompts: [
      'hello',
      'tool',
      'tick 20 500',
      'think',
      'bash: date',
      'slow 20',
      'long 100000',
      'agent',
      'overloaded',
      'midfail once',
      'fail',
      'refuse',
      'maxtokens',
    ],
    options: {
      command: join(dirname(manifestPath), require(manifestPath).bin.claude),
      cwd,
      allowedTools: ['Read', 'Bash', 'Agent', 'Task'],
      env: {
        ANTHROPIC_BASE_URL: model.url,
        ANTHROPIC_API_KEY: 'scripted',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
        HOME: home,
      },
    },
    async close() {
      await model.close();
      // The CLI may still write its last files while the directory is being removed.
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

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
  const setting = (await isLoggedIn()) ? useAccount() : await useScriptedModel();
  const chat = claudeStream(setting.options);
  const completions = claudeStream({ ...setting.options, format: 'openai' });

  const app = express();
  const server = createServer(app);
  const close = async () => {
    // The runs first: they end their event streams, and then nothing keeps a connection open.
    await Promise.all([chat.close(), completions.close()]);
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

  app.use(express.json({ limit: '20mb' }));
  app.post('/chat', chat);
  app.post('/v1/chat/completions', completions);
  app.get('/', (_req, res) => {
    const lines = setting.prompts.map((prompt) => curlChat(url, prompt));
    const help = [setting.description, '', ...lines, '', curlCompletions(url, first), ''];
    res.type('text/plain').send(help.join('\n'));
  });

  log(setting.description);
  log(`Listening on ${url} (GET / lists what to try). For example:`);
  for (const line of [curlChat(url, first), curlChat(url, second), curlCompletions(url, third)]) {
    log(`  ${line}`);
  }
  return { url, close };
}

async function main() {
  const { PORT = '3000', HOST = '127.0.0.1' } = process.env;
  const server = await startServer({ port: Number(PORT), host: HOST });
  const stop = () => {
    // A second signal meets the default and ends the process, should closing take too long.
    process.off('SIGINT', stop).off('SIGTERM', stop);
    server.close().then(
      () => process.exit(0),
      (error) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

// Resolved, since the file may be started through a link or without its extension.
if (process.argv[1] && require.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
}
