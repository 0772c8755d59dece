import { execFile } from 'node:child_process';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { nodes } from './clientHost';
import { record } from './figures';

const run = promisify(execFile);
const root = join(__dirname, '../..');
const cache = join(root, 'node_modules/.cache/claude-stream');
let project: string;
let tarball: string;

/** A project that has the packed tarball as its dependency, beside the packages of this one. */
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'claude-stream-package-'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', project], { cwd: root });
  tarball = (await readdir(project)).find((name) => name.endsWith('.tgz')) ?? '';
  await run('tar', ['xzf', tarball], { cwd: project });
  const modules = join(project, 'node_modules');
  await mkdir(modules);
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(root, 'node_modules', name), join(modules, name));
  }
  await cp(join(project, 'package'), join(modules, 'claude-stream'), { recursive: true });
});

afterAll(() => rm(project, { recursive: true, force: true }));

/** Packed; as the README says. Grown by accident it would be noticed by nobody. */
const LARGEST_TARBALL = 250_000;

test('the package is as small as the README says, and holds nothing but what it needs', async () => {
  const { size } = await stat(join(project, tarball));
  record('KB of the tarball', size / 1_000);
  expect(size).toBeLessThan(LARGEST_TARBALL);
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const [, stated] = /The package is (\d+) KB packed/.exec(readme) ?? [];
  expect(Math.abs(size / 1_000 - Number(stated))).toBeLessThan(10);
  const { stdout } = await run('tar', ['tzf', tarball], { cwd: project });
  const files = stdout
    .trim()
    .split('\n')
    .map((name) => name.replace('package/', ''));
  expect(files.filter((name) => !name.startsWith('dist/')).sort()).toEqual([
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'package.json',
  ]);
});

test('publint has nothing to say', async () => {
  const { stdout } = await run(join(cache, 'package-tools/node_modules/.bin/publint'), [tarball], {
    cwd: project,
  });
  expect(stdout).toContain('All good!');
});

test('are-the-types-wrong has nothing to say', async () => {
  // Without `node10`, by which no version of Node that is supported resolves anything.
  const flags = ['--profile', 'node16', '--no-emoji', tarball];
  const attw = join(cache, 'package-tools/node_modules/.bin/attw');
  // Its exit code says whether there are problems.
  await run(attw, flags, { cwd: project });
});

test('no export and no dependency is unused', async () => {
  const knip = join(cache, 'package-tools/node_modules/.bin/knip');
  const found = run(knip, ['--no-config-hints'], { cwd: root });
  expect(await found.catch(({ stdout }) => ({ stdout }))).toMatchObject({ stdout: '' });
});

/** A server of a few lines that answers itself, in both kinds of modules. */
const server = (isModule: boolean) => `${
  isModule
    ? "import { claudeStream } from 'claude-stream';\nimport { readEvents } from 'claude-stream/client';\n" +
      "import { redisStore } from 'claude-stream/redis';\nimport express from 'express';"
    : "const { claudeStream } = require('claude-stream');\nconst { readEvents } = require('claude-stream/client');\n" +
      "const { redisStore } = require('claude-stream/redis');\nconst express = require('express');"
}
const store = redisStore({ sendCommand: async () => null, sendBlockingCommand: async () => null });
const chat = claudeStream({ command: process.argv[2], env: { TICKS: '3', INTERVAL: '5' } });
const app = express();
app.use(express.json());
app.post('/chat', chat);
const server = app.listen(0, '127.0.0.1', async () => {
  const response = await fetch(\`http://127.0.0.1:\${server.address().port}/chat\`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"prompt":"hi"}',
  });
  let last;
  for await (const event of readEvents(response)) last = event;
  console.log(last.outcome.status, typeof store.runs);
  await chat.close();
  server.close();
});`;

describe.each(['20', '22', '24'] as const)('on Node %s', (node) => {
  test.each(
    ['express', 'express4'].flatMap((version) => ['mjs', 'cjs'].map((kind) => [version, kind])),
  )('with %s, in a .%s file, an answer is streamed', async (version, kind) => {
    const folder = join(project, `${node}-${version}-${kind}`);
    const modules = join(folder, 'node_modules');
    await mkdir(modules, { recursive: true });
    // Real folders, or it would find the packages beside where it really lies.
    await cp(join(project, 'package'), join(modules, 'claude-stream'), { recursive: true });
    await symlink(join(root, 'node_modules', version), join(modules, 'express'));
    for (const name of ['debug', 'ms', 'lru-cache', 'split2', 'eventsource-parser']) {
      await symlink(join(root, 'node_modules', name), join(modules, name));
    }
    await writeFile(join(folder, `app.${kind}`), server(kind === 'mjs'));
    const cli = join(root, '__tests__/fixtures/ticks.js');
    const { stdout } = await run(nodes[node], [`app.${kind}`, cli], {
      cwd: folder,
      timeout: 20_000,
    });
    expect(stdout).toBe('success object\n');
  });
});

test('npx finds the doctor in a project that has installed the tarball', async () => {
  const folder = join(project, 'installed');
  await mkdir(folder);
  const options = { cwd: folder, timeout: 60_000 };
  await run('npm', ['init', '-y'], options);
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline'];
  await run('npm', ['install', ...quiet, join(project, tarball)], options);
  const { stdout } = await run(
    'npx',
    ['--no-install', 'claude-stream', 'doctor', '--help'],
    options,
  );
  expect(stdout).toContain('claude-stream doctor [options] [url …]');
}, 90_000);

test('its types take what the SDKs of others say', async () => {
  await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module' }));
  const agentSdk = join(cache, 'agent-sdk/node_modules/@anthropic-ai/claude-agent-sdk/sdk.d.ts');
  const ai = join(cache, 'clients/node_modules/ai/dist/index.d.ts');
  await writeFile(
    join(project, 'drift.ts'),
    `import type { RawMessageStreamEvent } from '@anthropic-ai/sdk/resources/messages';
     import type { ChatCompletionChunk } from 'openai/resources';
     import type {
       SDKAssistantMessage, SDKPartialAssistantMessage, SDKResultMessage, SDKSystemMessage, SDKUserMessage,
     } from '${agentSdk.replace('.d.ts', '')}';
     import type { UIMessageChunk } from '${ai.replace('.d.ts', '')}';
     import type {
       AssistantMessage, ResultMessage, StreamEventMessage, SystemMessage, UserMessage,
     } from 'claude-stream';
     import type { AnthropicEvent, OpenAIEvent, UiMessageEvent } from 'claude-stream/client';
     /** An interface has no index signature, which is all that ours have more. */
     type Plain<T> = T extends string ? T : T extends readonly (infer U)[] ? readonly Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
     declare const chunk: ChatCompletionChunk;
     declare const event: RawMessageStreamEvent;
     declare const part: UIMessageChunk;
     declare const assistant: Plain<SDKAssistantMessage>;
     declare const partial: Plain<SDKPartialAssistantMessage>;
     declare const result: Plain<SDKResultMessage>;
     declare const system: Plain<SDKSystemMessage>;
     declare const user: Plain<SDKUserMessage>;
     export const chunks: OpenAIEvent['chunk'] = chunk;
     export const events: AnthropicEvent['event'] = event;
     export const parts: UiMessageEvent['chunk'] = part;
     export const messages: [AssistantMessage, StreamEventMessage, ResultMessage, SystemMessage, UserMessage] =
       [assistant, partial, result, system, user];`,
  );
  const flags = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--types',
    'node',
    '--lib',
    'es2023,dom',
  ];
  const modern = ['--module', 'esnext', '--moduleResolution', 'bundler', '--target', 'es2022'];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const compiled = run(process.execPath, [tsc, ...flags, ...modern, 'drift.ts'], { cwd: project });
  expect(await compiled.catch(({ stdout }) => ({ stdout }))).toMatchObject({ stdout: '' });
});

test('the package is loaded by require', async () => {
  const code = "console.log(typeof require('claude-stream').claudeStream())";
  const { stdout } = await run(process.execPath, ['-e', code], { cwd: project });
  expect(stdout).toBe('function\n');
});

test('the package is loaded by import', async () => {
  const code = "import { claudeStream } from 'claude-stream'; console.log(typeof claudeStream())";
  const flags = ['--input-type=module', '-e', code];
  const { stdout } = await run(process.execPath, flags, { cwd: project });
  expect(stdout).toBe('function\n');
});

test.each(['require', 'import'])('its client is loaded by %s', async (way) => {
  const load =
    way === 'require' ? "require('claude-stream/client')" : "await import('claude-stream/client')";
  const code = `console.log(typeof (${load}).streamClaude)`;
  const flags = way === 'require' ? ['-e', code] : ['--input-type=module', '-e', code];
  const { stdout } = await run(process.execPath, flags, { cwd: project });
  expect(stdout).toBe('function\n');
});

test('the types of its client hold in a project for browsers, which knows nothing of Node', async () => {
  await writeFile(join(project, 'package.json'), JSON.stringify({ type: 'module' }));
  await writeFile(
    join(project, 'page.ts'),
    `import { type Message, messageReducer, readEvents, streamClaude, wordsOf } from 'claude-stream/client';
     const reduce = messageReducer();
     for await (const event of streamClaude('/chat', { body: { prompt: 'Hi' }, credentials: 'include' })) {
       const message: Message = reduce(event);
       document.title = wordsOf(message, 'text');
       if (event.kind === 'outcome') document.title = event.outcome.status;
     }
     for await (const { chunk } of readEvents(await fetch('/v1'), { format: 'openai' })) {
       document.title = chunk.choices?.[0]?.delta.content ?? '';
     }
     // @ts-expect-error: there is no such format.
     messageReducer('sse');`,
  );
  const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--types', ''];
  const modern = ['--lib', 'es2023,dom,dom.iterable', '--module', 'esnext', '--target', 'es2022'];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const resolution = ['--moduleResolution', 'bundler', 'page.ts'];
  await run(process.execPath, [tsc, ...flags, ...modern, ...resolution], { cwd: project });
});

test.each(['module', 'commonjs'])('its types hold in a project of type %s', async (type) => {
  await writeFile(join(project, 'package.json'), JSON.stringify({ type }));
  await writeFile(
    join(project, 'app.ts'),
    `import express from 'express';
     import { claudeStream, type ClaudeStreamOptions, type Outcome } from 'claude-stream';
     const options: ClaudeStreamOptions = { format: 'openai', cwd: undefined };
     const chat = claudeStream({
       ...options,
       onEnd: (outcome: Outcome) => {
         const text: string = outcome.status === 'success' ? outcome.result : outcome.message;
         console.log(text);
       },
     });
     express().post('/chat', chat);
     const closed: Promise<void> = chat.close();
     // @ts-expect-error: a wrong option does not compile.
     claudeStream({ formatt: 'openai' });
     void closed;`,
  );
  const flags = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--skipLibCheck',
    '--types',
  ];
  const modern = ['node', '--module', 'nodenext', '--target', 'es2022', 'app.ts'];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [tsc, ...flags, ...modern], { cwd: project });
});
