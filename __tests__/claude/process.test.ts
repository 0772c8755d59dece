import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type CommandOptions, commandFor } from '../../lib/claude/command';
import { isResult } from '../../lib/claude/messages';
import { startProcess } from '../../lib/claude/process';
import { ClaudeStreamError } from '../../lib/errors';
import { endFixtures, fixturePath, isAlive, startFixture } from './fixtureProcess';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claude-stream-'));
});

afterAll(() => rm(folder, { recursive: true }));

afterEach(endFixtures);

describe('a process', () => {
  test('is started with arguments, directory, environment and user message', async () => {
    const fixture = await startFixture('echo-command', { EXTRA: 'yes' }, { cwd: folder });
    const echoed = JSON.parse(await fixture.firstText());
    expect(echoed).toMatchObject({
      cwd: folder,
      env: { EXTRA: 'yes', CLAUDE_STREAM_RUN_ID: fixture.id },
      message: { type: 'user', message: { role: 'user', content: 'hello' } },
    });
    expect(echoed.args).toContain('--input-format=stream-json');
    expect(echoed.env).not.toHaveProperty('JEST_WORKER_ID');
  });

  test('is there as soon as it has been spawned', async () => {
    const fixture = await startFixture('mute');
    expect(isAlive(fixture.pid)).toBe(true);
    expect(fixture.exit).toBeUndefined();
  });

  test('runs without a shell: nothing in an argument is expanded', async () => {
    const fixture = await startFixture('echo-command', {}, { model: '$(id) `id` "; exit 7 #' });
    const { args } = JSON.parse(await fixture.firstText());
    expect(args).toContain('--model=$(id) `id` "; exit 7 #');
  });

  test('takes prompts that no argument could hold', async () => {
    const content = 'x'.repeat(1_000_000);
    const command = commandFor(
      { command: fixturePath('echo-command') },
      { content },
      'r',
      process.env,
    );
    const child = await startProcess(command);
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.closeStdin();
    await child.exited;
    expect(Buffer.concat(chunks).includes(content)).toBe(true);
  });
});

describe('stdin', () => {
  test('stays open until it is closed', async () => {
    const fixture = await startFixture('echo-command');
    await fixture.message(isResult);
    expect(fixture.stdinOpen).toBe(true);
    expect(fixture.exit).toBeUndefined();
    fixture.closeStdin();
    expect(fixture.stdinOpen).toBe(false);
    expect(await fixture.exited).toEqual({ code: 0, signal: null });
  });

  test('carries more messages, one a line', async () => {
    const fixture = await startFixture('silent');
    await fixture.message(({ subtype }) => subtype === 'init');
    fixture.send({ type: 'control_request', request: { subtype: 'interrupt' } });
    expect(await fixture.message(isResult)).toMatchObject({ terminal_reason: 'aborted_streaming' });
  });

  test('may be closed twice and written to afterwards', async () => {
    const fixture = await startFixture('mute');
    fixture.closeStdin();
    fixture.closeStdin();
    fixture.send({ type: 'late' });
    expect(await fixture.exited).toEqual({ code: 0, signal: null });
  });

  test('of a dead process swallows what is written to it', async () => {
    const fixture = await startFixture('stderr-only');
    // More than a pipe holds, so that the write fails whether it comes before the exit or after.
    fixture.send({ filler: 'x'.repeat(1_000_000) });
    await fixture.exited;
    fixture.send({ type: 'late' });
    fixture.closeStdin();
    await setImmediate();
    expect(fixture.stdinOpen).toBe(false);
  });
});

describe('the exit', () => {
  test('tells the code', async () => {
    const fixture = await startFixture('stderr-only');
    expect(await fixture.exited).toEqual({ code: 1, signal: null });
    expect(fixture.exit).toEqual({ code: 1, signal: null });
  });

  test('tells the signal', async () => {
    const fixture = await startFixture('half-answer', { SIGNAL: 'SIGSEGV' });
    expect(await fixture.exited).toEqual({ code: null, signal: 'SIGSEGV' });
  });

  test('leaves what was written before it to be read', async () => {
    const fixture = await startFixture('half-answer');
    await fixture.exited;
    await fixture.ended;
    expect(await fixture.firstText()).toBe('half an ans');
  });

  test('may come before a signal', async () => {
    const fixture = await startFixture('half-answer');
    await fixture.exited;
    fixture.kill('SIGTERM');
    expect(fixture.exit).toEqual({ code: 0, signal: null });
  });
});

describe('stderr', () => {
  test('is kept', async () => {
    const fixture = await startFixture('stderr-only');
    await fixture.exited;
    expect(fixture.stderrTail).toBe("error: unknown option '--frobnicate' in /secret/place\n");
  });

  test('is kept to its last 8 KiB, however long it is', async () => {
    const script = await executable(
      'loud',
      `process.stdin.on('end', () => process.exit(0)).resume();
       process.stderr.write('y'.repeat(3_000_000) + ' the reason', () => process.exit(3));`,
    );
    const child = await startProcess(commandOf({ command: script }));
    expect(await child.exited).toEqual({ code: 3, signal: null });
    expect(child.stderrTail).toHaveLength(8 * 1024);
    expect(child.stderrTail.endsWith('yy the reason')).toBe(true);
  });
});

describe('a process that cannot be started', () => {
  test('because there is no such command: says how to install it', async () => {
    const error = await failureOf({ command: 'claude-that-nobody-has' });
    expect(error.code).toBe('command_not_found');
    expect(error.message).toBe(
      "The command claude-that-nobody-has was not found on the server's PATH. Install Claude Code " +
        'with "npm install -g @anthropic-ai/claude-code", or name its path in the option "command".',
    );
    expect(error.cause).toMatchObject({ code: 'ENOENT' });
  });

  test('because there is no such directory: names it', async () => {
    const error = await failureOf({ command: fixturePath('mute'), cwd: '/no/such/place' });
    expect(error.code).toBe('cwd_not_found');
    expect(error.message).toBe('The working directory /no/such/place does not exist.');
  });

  test('because neither is there: names the directory, which is looked for first', async () => {
    const error = await failureOf({ command: 'claude-that-nobody-has', cwd: '/no/such/place' });
    expect(error.code).toBe('cwd_not_found');
  });

  test('because the directory is a file', async () => {
    const error = await failureOf({ command: fixturePath('mute'), cwd: __filename });
    expect(error.code).toBe('cwd_not_found');
  });

  test('because the command is not executable', async () => {
    const command = join(folder, 'not-executable.js');
    await writeFile(command, '#!/usr/bin/env node\n');
    const error = await failureOf({ command });
    expect(error.code).toBe('spawn_failed');
    expect(error.message).toBe(
      `The command ${command} could not be started: spawn ${command} EACCES.`,
    );
  });

  test('because an argument is too long: blames nothing that goes over stdin', async () => {
    const error = await failureOf({
      command: fixturePath('mute'),
      allowedTools: ['x'.repeat(129 * 1024)],
    });
    expect(error.code).toBe('spawn_failed');
    expect(error.message).toMatch(/^The arguments are too long/);
    expect(error.message).not.toMatch(/prompt/);
  });

  test('not because of a prompt of whatever length', async () => {
    const systemPrompt = 'x'.repeat(1_000_000);
    const child = await startProcess(commandOf({ command: fixturePath('mute'), systemPrompt }));
    child.closeStdin();
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  test('tells a client neither a path nor a command', async () => {
    for (const options of [{ command: 'claude-that-nobody-has' }, { cwd: '/no/such/place' }]) {
      const { publicMessage } = await failureOf(options);
      expect(publicMessage).not.toMatch(/nobody|such|PATH/);
    }
  });
});

function commandOf(options: CommandOptions) {
  return commandFor(options, { content: 'hello' }, 'run', process.env);
}

async function failureOf(options: CommandOptions): Promise<ClaudeStreamError> {
  const error = await startProcess(commandOf(options)).then(
    () => new Error('It was started.'),
    (error: unknown) => error,
  );
  if (error instanceof ClaudeStreamError) return error;
  throw error;
}

async function executable(name: string, code: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `#!${process.execPath}\n${code}\n`);
  await chmod(path, 0o755);
  return path;
}
