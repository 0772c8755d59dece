import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Anthropic from '@anthropic-ai/sdk';
import express from 'express';
import OpenAI from 'openai';
import * as library from '../lib';
import * as client from '../lib/client';
import * as redis from '../lib/redis';
import { fixture } from './chatServer';

const root = join(__dirname, '..');
const folder = join(root, 'node_modules/.cache/claude-stream/snippets');

/** What stands around a snippet: in the reader's application, and at the top of the README. */
const surroundings = `
import type { Express } from 'express';
import type { SessionStore } from 'claude-stream';
declare global {
  namespace Express {
    interface Request { user: { id: string } }
  }
  const url: string;
  const apiKey: string;
  const { get, set, delete: remove }: SessionStore;
  const messages: { role: 'user'; content: string }[];
  const server: import('node:http').Server;
  function askSomebody(user: object, command: unknown, options: { signal: AbortSignal }): Promise<boolean>;
  function directoryOf(user: object): string;
  function show(text: string): void;
}
export {};
`;

/** What a snippet uses without saying where it comes from, by what stands for it in a type check. */
const unsaid: Record<string, string> = {
  claudeStream: "import { claudeStream } from 'claude-stream';",
  openaiRouter: "import { openaiRouter } from 'claude-stream';",
  memoryStore: "import { memoryStore } from 'claude-stream';",
  streamProbe: "import { streamProbe } from 'claude-stream';",
  express: "import express from 'express';",
  OpenAI: "import OpenAI from 'openai';",
  Anthropic: "import Anthropic from '@anthropic-ai/sdk';",
  app: "declare const app: import('express').Express;",
  chat: "declare const chat: import('claude-stream').ClaudeStreamHandler;",
};

let snippets: string[];
let server: ReturnType<express.Express['listen']>;
let origin: string;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  snippets = [...readme.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);
  const options = { command: fixture('ticks'), env: { TICKS: '3', INTERVAL: '1' } };
  const app = express().use(express.json());
  const formats = { claude: '/chat', openai: '/v1/chat/completions', anthropic: '/v1/messages' };
  for (const [format, path] of Object.entries(formats)) {
    const chat = library.claudeStream({ ...options, format: format as library.FormatName });
    closers.push(() => chat.close());
    app.post(path, chat);
  }
  server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  for (const close of closers) await close();
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

it('every snippet is found', () => {
  expect(snippets.length).toBeGreaterThan(14);
});

it('every snippet compiles, with the types of the library and of those that it is used with', async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'surroundings.d.ts'), surroundings);
  for (const [index, code] of snippets.entries()) {
    const needed = Object.entries(unsaid)
      .filter(([name]) => new RegExp(`\\b${name}\\b`).test(code.replace(/\/\/.*|'[^'\n]*'/g, '')))
      .filter(([name]) => !new RegExp(`(?:const|import) (?:\\{[^}]*)?\\b${name}\\b`).test(code))
      .map(([, line]) => line);
    await writeFile(join(folder, `${index}.ts`), `${[...needed, code].join('\n')}\nexport {};\n`);
  }
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../../../tsconfig.json',
      compilerOptions: {
        noUnusedLocals: false,
        noUnusedParameters: false,
        exactOptionalPropertyTypes: false,
        types: ['node'],
        paths: {
          'claude-stream': ['../../../../lib/index.ts'],
          'claude-stream/client': ['../../../../lib/client.ts'],
          'claude-stream/redis': ['../../../../lib/redis.ts'],
        },
      },
      include: ['*.ts'],
    }),
  );
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const compiled = promisify(execFile)(process.execPath, [tsc, '-p', folder]);
  expect(await compiled.catch(({ stdout }) => ({ stdout }))).toMatchObject({ stdout: '' });
}, 60_000);

it('every snippet runs', async () => {
  process.env.API_KEY = 'sk-chosen';
  const shown: string[] = [];
  for (const code of snippets) await run(code, shown);
  expect(shown.at(-1)).toMatch(/^\d+\.\d+/);
}, 60_000);

/** Runs a snippet among what stands around it; what it would listen on, or connect to, is here. */
async function run(code: string, shown: string[]): Promise<void> {
  const started: { close(): Promise<void> }[] = [];
  const streams: Promise<void>[] = [];
  const keep =
    <Options, Made extends { close(): Promise<void> }>(create: (options?: Options) => Made) =>
    (options?: Options) => {
      const made = create(options);
      started.push(made);
      return made;
    };
  const listening = Object.assign(() => {
    const app = express();
    app.listen = (() => server) as unknown as typeof app.listen;
    return app;
  }, express);
  const redisClient = {
    on: () => redisClient,
    connect: async () => redisClient,
    duplicate: () => redisClient,
    sendCommand: async () => null,
  };
  const values: Record<string, unknown> = {
    ...library,
    ...client,
    ...redis,
    claudeStream: keep(library.claudeStream),
    openaiRouter: keep(library.openaiRouter),
    streamClaude: (path: string, options: client.StreamOptions<'claude'>) =>
      client.streamClaude(`${origin}${path}`, options),
    express: listening,
    app: listening(),
    createClient: () => redisClient,
    OpenAI: class extends OpenAI {
      constructor(options: object) {
        super({ ...options, baseURL: `${origin}/v1` });
        const { completions } = this.chat;
        const stream = completions.stream.bind(completions);
        // The snippet begins it, and leaves what comes of it to its reader.
        Object.assign(completions, {
          stream: (...args: Parameters<typeof stream>) => {
            const begun = stream(...args);
            streams.push(begun.done());
            return begun;
          },
        });
      }
    },
    Anthropic: class extends Anthropic {
      constructor(options: object) {
        super({ ...options, baseURL: origin });
      }
    },
    process: { env: process.env, once: () => {} },
    chat: { close: async () => {}, replay: () => {}, cancel: () => {}, resume: () => {} },
    server,
    url: 'redis://127.0.0.1:6379',
    apiKey: 'sk-chosen',
    get: async () => undefined,
    set: async () => {},
    remove: async () => false,
    messages: [{ role: 'user', content: 'Hello' }],
    askSomebody: async () => true,
    directoryOf: () => '/',
    show: (text: string) => shown.push(text),
  };
  const body = code.replace(/^import .*$/gm, '');
  // What it declares itself is not what stands around it.
  const given = Object.keys(values).filter((name) => !new RegExp(`\\bconst ${name}\\b`).test(body));
  const AsyncFunction = (async () => {}).constructor as new (
    ...args: string[]
  ) => (...args: unknown[]) => Promise<void>;
  try {
    await new AsyncFunction(...given, body)(...given.map((name) => values[name]));
    await Promise.all(streams);
  } catch (error) {
    throw new Error(`This does not run:\n${code}`, { cause: error });
  } finally {
    await Promise.all(started.map((one) => one.close()));
  }
}
