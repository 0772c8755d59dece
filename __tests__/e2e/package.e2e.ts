import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = join(__dirname, '../..');
let project: string;

/** A project that has the packed tarball as its dependency, beside the packages of this one. */
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'claude-stream-package-'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', project], { cwd: root });
  const tarball = (await readdir(project)).find((name) => name.endsWith('.tgz')) ?? '';
  await run('tar', ['xzf', tarball], { cwd: project });
  const modules = join(project, 'node_modules');
  await mkdir(modules);
  for (const name of await readdir(join(root, 'node_modules'))) {
    if (!name.startsWith('.')) await symlink(join(root, 'node_modules', name), join(modules, name));
  }
  await cp(join(project, 'package'), join(modules, 'claude-stream'), { recursive: true });
});

afterAll(() => rm(project, { recursive: true, force: true }));

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
