import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandOptions, commandFor, type Turn } from '../lib/claude/command';
import type { ClaudeMessage } from '../lib/claude/messages';
import { startProcess } from '../lib/claude/process';
import type { DeadlineOptions } from '../lib/deadlines';
import { ClaudeStreamError } from '../lib/errors';
import { type Outcome, startFailure, timeout } from '../lib/outcome';
import { createRunId, type Launch, Run, type RunOptions } from '../lib/run';
import {
  allGone,
  type ChatServer,
  eventsOf,
  fixture,
  isAlive,
  open,
  outcomeOf,
  post,
  startChatServer,
  textOf,
  transcript,
} from './chatServer';

let server: ChatServer | undefined;

afterEach(async () => {
  await server?.close();
  await allGone(server?.pids ?? [], 0);
  server = undefined;
});

describe('an answer', () => {
  it('ends with the outcome and its facts', async () => {
    server = await startChatServer('ticks', {}, { TICKS: '3', INTERVAL: '10' });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({
      status: 'success',
      result: 'done',
      stopReason: 'end_turn',
      sessionId: '11111111-2222-4333-8444-555555555555',
      model: 'claude-fixture',
      turns: 1,
      usage: { inputTokens: 1, outputTokens: 2, cacheReadTokens: 0, cacheCreationTokens: 0 },
      costUsd: 0.01,
      exitCode: 0,
      signal: null,
      invalidLines: 0,
    });
    const { timeToFirstMessageMs, timeToFirstTokenMs, durationMs } = await server.nextOutcome();
    expect(timeToFirstMessageMs).toBeGreaterThan(0);
    expect(timeToFirstTokenMs).toBeGreaterThanOrEqual(timeToFirstMessageMs ?? Infinity);
    expect(durationMs).toBeGreaterThanOrEqual(timeToFirstTokenMs ?? Infinity);
  });

  it('numbers its events from 1 without a gap', async () => {
    server = await startChatServer('ticks', {}, { TICKS: '5', INTERVAL: '5' });
    const { text, headers } = await post(server.url, { prompt: 'hi' });
    const run = headers.get('claude-run-id');
    const ids = eventsOf(text).map(({ id }) => id);
    expect(ids).toEqual(ids.map((_, index) => `${run}:${index + 1}`));
  });

  it('holds stdin open until the result was read, or a hasty process would lose it', async () => {
    server = await startChatServer('hasty', {}, { BYTES: '16000000' });
    const response = await open(server.url, { prompt: 'hi' });
    response.pause();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    let text = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    response.resume();
    await once(response, 'end');
    expect(textOf(text)).toHaveLength(16_000_000);
    expect(outcomeOf(text).status).toBe('success');
  });

  it('passes garbage over and counts it', async () => {
    server = await startChatServer('garbage');
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text)).toBe('Grüße 🌍');
    expect(eventsOf(text).map(({ event }) => event)).toContain('brand_new');
    expect(outcomeOf(text)).toMatchObject({ status: 'success', invalidLines: 7 });
  });

  it('counts a last line without a newline', async () => {
    server = await startChatServer('no-newline');
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({ status: 'success', result: 'done' });
  });

  it('carries a line of 20 MB', async () => {
    server = await startChatServer('long-line', {}, { BYTES: '20000000' });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text)).toHaveLength(20_000_005);
    expect(textOf(text).endsWith('after')).toBe(true);
  });

  it('drops a line that is longer than maxLineLength, and says so', async () => {
    server = await startChatServer(
      'long-line',
      { maxLineLength: 1_000_000 },
      { BYTES: '20000000' },
    );
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text)).toBe('after');
    expect(outcomeOf(text)).toMatchObject({ status: 'success', invalidLines: 1 });
  });

  it('goes on after a result while a subagent is still at work', async () => {
    server = await startChatServer('transcript', {}, { TRANSCRIPT: transcript('subagent') });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(eventsOf(text).filter(({ event }) => event === 'result')).toHaveLength(2);
    expect(textOf(text)).toBe('The subagent reported two lines.'.repeat(2));
    expect(outcomeOf(text)).toMatchObject({ status: 'success', turns: 3 });
  });

  it.each([{}, { INIT: 'no' }])(
    'goes on when another turn begins after a result %o',
    async (env) => {
      server = await startChatServer('second-turn', { exitGrace: 300 }, env);
      const { text } = await post(server.url, { prompt: 'hi' });
      expect(outcomeOf(text)).toMatchObject({ status: 'success', result: 'SECOND' });
    },
  );

  it('goes on after a result that a slow client has kept from being read', async () => {
    server = await startChatServer('second-turn', {}, { BYTES: '3500000', RESULT: '1200000' });
    const response = await open(server.url, { prompt: 'hi' });
    response.pause();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    response.resume();
    let text = '';
    for await (const chunk of response) text += chunk;
    expect(outcomeOf(text)).toMatchObject({ status: 'success', result: 'SECOND' });
  });

  it('is complete although its process lingers, which is then shut down', async () => {
    server = await startChatServer('lingering', { exitGrace: 100 });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({ status: 'success', result: 'all said' });
    await allGone(server.pids, 4_000);
  });
});

describe('a message of a shape that nobody has seen yet', () => {
  const odd: unknown[] = [null, 7, 'text', [], {}, [null], { toString: 1 }];
  const event = (fields: object) => ({ type: 'stream_event', parent_tool_use_id: null, ...fields });
  const messages = odd.flatMap((value) => [
    event({ event: value }),
    event({ event: { type: 'message_start', message: value } }),
    event({ event: { type: 'content_block_start', content_block: value } }),
    event({ event: { type: 'content_block_delta', delta: value } }),
    event({ event: { type: 'content_block_delta', delta: { type: 'text_delta', text: value } } }),
    { type: 'assistant', message: value },
    { type: 'assistant', message: { content: value }, error: value },
    { type: 'assistant', message: { content: [{ type: 'tool_use', id: 'a', name: value }] } },
    { type: 'assistant', message: { content: [{ type: 'tool_use', id: value, input: value }] } },
    { type: 'user', message: { content: value } },
    { type: 'system', subtype: 'background_tasks_changed', tasks: value },
    { type: 'system', subtype: 'permission_denied', tool_name: value },
    { type: 'system', subtype: 'api_retry', attempt: value, retry_delay_ms: value, error: value },
    { type: 'tool_progress', tool_use_id: 'a', tool_name: value, elapsed_time_seconds: value },
    { type: value },
    { type: '__proto__', __proto__: value },
  ]);

  it.each(['claude', 'openai'] as const)('does not end a run in the %s format', async (format) => {
    const MESSAGES = JSON.stringify([
      ...messages,
      { type: 'system', subtype: 'background_tasks_changed', tasks: [] },
    ]);
    server = await startChatServer('odd', { format }, { MESSAGES });
    const { text } = await post(server.url, { prompt: 'hi', stream: true });
    expect(await server.nextOutcome()).toMatchObject({ status: 'success', result: 'fine' });
    expect(text).toContain(format === 'openai' ? '[DONE]' : 'event: outcome');
  });

  it.each(odd)('that asks for permission does not end the server: %j', async (value) => {
    const ask = (fields: object) => ({ type: 'control_request', request_id: 'a', ...fields });
    const MESSAGES = JSON.stringify([
      ask({ request: value }),
      ask({ request_id: value, request: { subtype: 'can_use_tool' } }),
      ask({ request: { subtype: value } }),
      ask({ request: { subtype: 'can_use_tool', tool_name: value, input: value } }),
      { type: 'control_cancel_request', request_id: value },
      { type: 'control_response', response: value },
      { type: 'control_response', response: { subtype: value, request_id: value, error: value } },
    ]);
    const canUseTool = () => ({ behavior: 'deny' }) as const;
    server = await startChatServer('odd', { canUseTool }, { MESSAGES });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({ status: 'success', result: 'fine' });
  });

  it.each(odd)('in the result still ends it: %j', async (value) => {
    const fields = ['errors', 'modelUsage', 'usage', 'num_turns', 'terminal_reason', 'session_id'];
    const RESULT = JSON.stringify({
      is_error: true,
      ...Object.fromEntries(fields.map((field) => [field, value])),
      ...{ result: value, stop_reason: value, api_error_status: value, total_cost_usd: value },
    });
    server = await startChatServer('odd', {}, { MESSAGES: '[]', RESULT });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text).status).toBe('error');
  });
});

describe('a run that fails', () => {
  it('says that the process wrote only to stderr and exited, but not what it wrote', async () => {
    server = await startChatServer('stderr-only');
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({
      status: 'crashed',
      code: 'crashed',
      message: 'Claude Code ended without an answer.',
      exitCode: 1,
    });
    expect(text).not.toContain('/secret/place');
    expect(server.errors).toEqual([
      { code: 'crashed', message: expect.stringContaining("unknown option '--frobnicate'") },
    ]);
  });

  it('shows stderr with exposeErrors', async () => {
    server = await startChatServer('stderr-only', { exposeErrors: true });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(text).toContain('/secret/place');
  });

  it.each([
    [{ SIGNAL: 'SIGKILL' }, { signal: 'SIGKILL', exitCode: null }],
    [{}, { signal: null, exitCode: 0 }],
    [{ AGENT: '1' }, { signal: null, exitCode: 0 }],
  ])('keeps what was said before the process died %o', async (env, exit) => {
    server = await startChatServer('half-answer', {}, env);
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text)).toBe('half an ans');
    expect(outcomeOf(text)).toMatchObject({ status: 'crashed', ...exit });
  });

  it.each([
    'badrequest',
    'not-logged-in',
    'refusal',
    'midfail',
    'maxturns',
    'maxtokens',
    'unknown-resume',
  ])('is an error, whatever its exit code: %s', async (name) => {
    server = await startChatServer('transcript', {}, { TRANSCRIPT: transcript(name) });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({ status: 'error', exitCode: 0 });
  });
});

describe('a deadline', () => {
  it.each([
    ['mute', { firstMessage: 200 }, {}, 'firstMessage', 'first_message_timeout'],
    ['silent', { idle: 200 }, {}, 'idle', 'idle_timeout'],
    ['ticks', { total: 700 }, { TICKS: '1000', INTERVAL: '20' }, 'total', 'total_timeout'],
  ])('ends a %s process: %o', async (name, timeout, env, deadline, code) => {
    server = await startChatServer(name, { timeout }, env);
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text)).toMatchObject({ status: 'timeout', deadline, code });
    await allGone(server.pids, 0);
  });

  it('does not take a slow client for a silent process', async () => {
    server = await startChatServer(
      'flood',
      { timeout: { idle: 300 }, maxLogBytes: 100_000 },
      { BYTES: '30000000' },
    );
    const response = await open(server.url, { prompt: 'hi' });
    response.pause();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    response.resume();
    await once(response, 'end');
    expect(await server.nextOutcome()).toMatchObject({ status: 'success' });
  });
});

describe('a client that leaves', () => {
  it('takes the process with it', async () => {
    server = await startChatServer('silent');
    const response = await open(server.url, { prompt: 'hi' });
    await once(response, 'data');
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({
      status: 'interrupted',
      reason: 'disconnected',
    });
    await allGone(server.pids, 500);
  });

  it('takes the process with it when it reads nothing for stallTimeout', async () => {
    server = await startChatServer('flood', { stallTimeout: 300 }, { BYTES: '80000000' });
    const response = await open(server.url, { prompt: 'hi' });
    response.pause();
    expect(await server.nextOutcome()).toMatchObject({ status: 'interrupted', reason: 'stalled' });
    await allGone(server.pids, 3_000);
    response.destroy();
  });

  it('takes the process with it when its answer is not streamed', async () => {
    server = await startChatServer('silent');
    const { pids } = server;
    const started = new Promise<void>((resolve) => {
      const watch = setInterval(() => {
        if (pids.length === 0) return;
        clearInterval(watch);
        resolve();
      }, 10);
    });
    const controller = new AbortController();
    const answer = fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi', stream: false }),
      signal: controller.signal,
    }).catch((error: Error) => error.name);
    await started;
    controller.abort();
    expect(await answer).toBe('AbortError');
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });

  it.each([
    ['ignores every signal but SIGKILL', 'stubborn'],
    ['left the family', 'orphan'],
  ])('leaves nothing of a process that %s', async (_what, name) => {
    server = await startChatServer(name);
    const response = await open(server.url, { prompt: 'hi' });
    let text = '';
    for await (const chunk of response) {
      text += chunk;
      if (textOf(text) !== '') break;
    }
    await allGone(JSON.parse(textOf(text)), 8_000);
  });
});

/** A run that is watched, without a server. */
interface WatchedRun {
  readonly run: Run;
  readonly encoded: ClaudeMessage[];
  readonly heard: ClaudeMessage[];
  /** What the fixture `conversation` was started with. */
  readonly starts: () => { pid: number; args: string[]; content?: string }[];
  /** Starts the fixture for a turn; `instead` names another one. */
  readonly launch: (turn?: Partial<Turn>, instead?: CommandOptions) => Launch;
}

describe('a run by itself', () => {
  const session = '0b5a3c1e-0000-4000-8000-000000000000';
  let folder: string;
  let watched: WatchedRun | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'claude-stream-'));
  });

  afterEach(async () => {
    watched?.run.stop('closed');
    await watched?.run.closed;
    expect(watched?.starts().filter(({ pid }) => isAlive(pid))).toEqual([]);
    watched = undefined;
    rmSync(folder, { recursive: true });
  });

  const deadlines: DeadlineOptions = {
    queue: false,
    firstMessage: 10_000,
    idle: 10_000,
    total: 10_000,
    background: 1_000,
    permission: 10_000,
  };

  function watch(
    name: string,
    options: CommandOptions,
    more: Partial<RunOptions> = {},
    asksPermission = false,
  ): WatchedRun {
    const encoded: ClaudeMessage[] = [];
    const heard: ClaudeMessage[] = [];
    const log = join(folder, 'log');
    const run = new Run(
      createRunId(),
      {
        deadlines,
        exitGrace: 1_000,
        maxLineLength: 2 ** 20,
        maxLogBytes: 2 ** 20,
        onMessage: (message) => void heard.push(message),
        ...more,
      },
      () => ({
        waiting: () => {},
        message: (message) => void encoded.push(message),
        end: () => {},
      }),
    );
    const env = { ...options.env, LOG: log };
    const own = { command: fixture(name), ...options, env };
    const launch =
      (turn?: Partial<Turn>, instead: CommandOptions = {}): Launch =>
      async () =>
        startProcess(
          commandFor(
            { ...own, ...instead },
            { content: 'hi', ...turn },
            run.id,
            process.env,
            asksPermission,
          ),
        );
    watched = {
      run,
      encoded,
      heard,
      starts: () =>
        existsSync(log)
          ? readFileSync(log, 'utf8')
              .split('\n')
              .filter(Boolean)
              .map((line) => JSON.parse(line))
          : [],
      launch,
    };
    return watched;
  }

  /** Settles when the fixture was started that many times and has been told its prompt. */
  async function prompted({ starts }: WatchedRun, times: number): Promise<void> {
    while (starts().filter(({ content }) => content !== undefined).length < times) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async function ended({ run }: WatchedRun): Promise<Outcome> {
    const outcome = await run.outcome;
    await run.closed;
    return outcome;
  }

  describe('that has no process', () => {
    it('ends with an outcome once it was told that it waits', async () => {
      const one = watch('conversation', {});
      one.run.waiting(1);
      expect([one.run.started, one.run.ended]).toEqual([false, false]);
      one.run.stop('cancelled');
      one.run.abandon(timeout('queue'));
      expect(await ended(one)).toMatchObject({
        status: 'interrupted',
        reason: 'cancelled',
        durationMs: 0,
        timeToFirstMessageMs: undefined,
        exitCode: undefined,
        signal: undefined,
        sessionId: undefined,
        turns: 0,
        stderrTail: '',
      });
      expect(one.starts()).toEqual([]);
    });

    it('is only closed when it is stopped before anybody was told of it', async () => {
      const one = watch('conversation', {});
      const outcome = jest.fn();
      void one.run.outcome.then(outcome);
      one.run.stop('disconnected');
      await one.run.closed;
      expect(one.run.ended).toBe(true);
      expect(outcome).not.toHaveBeenCalled();
    });

    it('since none can be started, can be ended with the reason', async () => {
      const one = watch('conversation', { command: '/secret/place/claude' });
      const error = await one.run.start(one.launch()).catch((cause) => cause);
      await one.run.closed;
      one.run.abandon(startFailure(error));
      expect(await one.run.outcome).toMatchObject({
        status: 'error',
        code: 'command_not_found',
        message: 'Claude Code is not installed on this server.',
        detail: expect.stringContaining('/secret/place/claude'),
      });
    });

    it('is the only one that can be abandoned', async () => {
      const one = watch('conversation', {});
      await one.run.start(one.launch());
      one.run.abandon(timeout('queue'));
      expect(await ended(one)).toMatchObject({ status: 'success' });
    });
  });

  describe('whose session is lost', () => {
    const told = { content: 'everything from the beginning' };

    it('starts again with what the fallback says, and shows nothing of the first process', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session, forkAt: 'm' }), fallback);
      const outcome = await ended(one);
      expect(outcome).toMatchObject({ status: 'success', result: 'fine', exitCode: 0, turns: 1 });
      expect(outcome.sessionId).not.toBe(session);
      expect(fallback).toHaveBeenCalledTimes(1);
      const prompts = one.starts().flatMap(({ content }) => content ?? []);
      expect(prompts).toEqual(['hi', told.content]);
      for (const messages of [one.encoded, one.heard]) {
        expect(messages.filter(({ type }) => type === 'result')).toHaveLength(1);
        expect(messages[0]).toMatchObject({ type: 'system', subtype: 'init' });
      }
    });

    it('starts again when its process stays after it has said so', async () => {
      const one = watch('conversation', { env: { LOST: 'lingers' } }, { exitGrace: 100 });
      await one.run.start(one.launch({ session }), one.launch(told));
      expect(await ended(one)).toMatchObject({ status: 'success', result: 'fine' });
    });

    it('fails when there is no fallback', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(one.launch({ session }));
      expect(await ended(one)).toMatchObject({ status: 'error', code: 'session_not_found' });
    });

    it('starts again, too, when its process ends before it has said a word', async () => {
      const one = watch('stderr-only', {});
      const fallback = jest.fn(one.launch(told, { command: fixture('conversation') }));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'success', result: 'fine', exitCode: 0 });
      expect(fallback).toHaveBeenCalledTimes(1);
      expect(one.starts().flatMap(({ content }) => content ?? [])).toEqual([told.content]);
      expect(one.encoded.filter(({ type }) => type === 'result')).toHaveLength(1);
    });

    it('has crashed when the second process ends before it has said a word, too', async () => {
      const one = watch('stderr-only', {});
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'crashed', exitCode: 1 });
      expect(fallback).toHaveBeenCalledTimes(1);
    });

    it('has crashed when its process ends after its first words', async () => {
      const one = watch('half-answer', {});
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'crashed' });
      expect(fallback).not.toHaveBeenCalled();
    });

    it('starts again only once', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      const fallback = jest.fn(one.launch({ session }));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'error', code: 'session_not_found' });
      expect(fallback).toHaveBeenCalledTimes(1);
    });

    it('has no use for the fallback when the session is there', async () => {
      const one = watch('conversation', {});
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'success', sessionId: session });
      expect(fallback).not.toHaveBeenCalled();
    });

    it('is not the same as one that says so in the middle of a turn', async () => {
      const error = 'No conversation found with session ID: x';
      const RESULT = JSON.stringify({ is_error: true, errors: [error], result: '' });
      const one = watch('odd', { env: { MESSAGES: '[]', RESULT } }, { structured: true });
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session }), fallback);
      expect(await ended(one)).toMatchObject({ status: 'error', code: 'session_not_found' });
      expect(fallback).not.toHaveBeenCalled();
    });

    it('fails with what the fallback throws', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(one.launch({ session }), () => {
        throw new ClaudeStreamError('prompt_too_large', 'The prompt is larger than 7 bytes.');
      });
      expect(await ended(one)).toMatchObject({
        status: 'error',
        code: 'prompt_too_large',
        message: 'The prompt is larger than 7 bytes.',
      });
    });

    it('has crashed when the fallback throws anything else, which only the operator is told', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(one.launch({ session }), () => {
        throw new Error('no /secret/place');
      });
      expect(await ended(one)).toMatchObject({
        status: 'crashed',
        message: 'Claude Code ended without an answer.',
        detail: expect.stringContaining('/secret/place'),
      });
    });

    it('fails when the second process cannot be started, without its path', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(
        one.launch({ session }),
        one.launch(told, { command: '/secret/place/claude' }),
      );
      const outcome = await ended(one);
      const { detail, ...shown } = outcome as Outcome & { detail?: string };
      expect(shown).toMatchObject({ status: 'error', code: 'command_not_found' });
      expect(JSON.stringify(shown)).not.toContain('/secret');
      expect(detail).toContain('/secret');
    });

    it('and that is stopped before the first process has gone starts none', async () => {
      const one = watch('conversation', { env: { LOST: 'lingers' } }, { exitGrace: 5_000 });
      const fallback = jest.fn(one.launch(told));
      await one.run.start(one.launch({ session }), fallback);
      await prompted(one, 1);
      one.run.stop('disconnected');
      expect(await ended(one)).toMatchObject({ status: 'interrupted', reason: 'disconnected' });
      expect(fallback).not.toHaveBeenCalled();
    });

    it('and that is stopped between the two leaves nothing alive', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(one.launch({ session }), () => {
        one.run.stop('disconnected');
        return one.launch({ content: 'slow' })();
      });
      expect(await ended(one)).toMatchObject({ status: 'interrupted', reason: 'disconnected' });
      expect(one.starts().filter(({ pid }) => isAlive(pid))).toEqual([]);
    });

    it('and that is stopped after it has started again leaves nothing alive', async () => {
      const one = watch('conversation', { env: { LOST: '1' } });
      await one.run.start(one.launch({ session }), one.launch({ content: 'slow' }));
      await prompted(one, 2);
      one.run.stop('closed');
      expect(await ended(one)).toMatchObject({ status: 'interrupted', reason: 'closed' });
      expect(one.starts().filter(({ pid }) => isAlive(pid))).toEqual([]);
    });

    it.each(
      ['1', 'clings'].flatMap((LOST) => [0, 2, 5, 10, 20, 40].map((ms) => [LOST, ms] as const)),
    )(
      'and that is stopped after its process (LOST=%s) has gone, by %d ms, starts no other from then on',
      async (LOST, ms) => {
        const one = watch('conversation', { env: { LOST } }, { exitGrace: 50 });
        const fallback = jest.fn(one.launch({ content: 'slow' }));
        await one.run.start(one.launch({ session }), fallback);
        await prompted(one, 1);
        while (one.starts().some(({ pid }) => isAlive(pid)) && fallback.mock.calls.length === 0) {
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
        const started = fallback.mock.calls.length;
        one.run.stop('disconnected');
        expect(await ended(one)).toMatchObject({ status: 'interrupted', reason: 'disconnected' });
        expect(fallback).toHaveBeenCalledTimes(started);
      },
    );

    it('has as long for its first message as any other: the switch does not set the clock back', async () => {
      const one = watch(
        'conversation',
        { env: { LOST: 'late' } },
        { deadlines: { ...deadlines, firstMessage: 900 } },
      );
      const fallback = jest.fn(one.launch(told, { command: fixture('mute') }));
      await one.run.start(one.launch({ session }), fallback);
      const outcome = await ended(one);
      expect(outcome).toMatchObject({ status: 'timeout', deadline: 'firstMessage' });
      expect(fallback).toHaveBeenCalledTimes(1);
      expect(outcome.durationMs).toBeLessThan(1_300);
    });

    it('has its deadlines from its first start', async () => {
      const one = watch(
        'conversation',
        { env: { LOST: '1' } },
        { deadlines: { ...deadlines, total: 700 } },
      );
      await one.run.start(one.launch({ session }), one.launch({ content: 'slow' }));
      expect(await ended(one)).toMatchObject({ status: 'timeout', deadline: 'total' });
    });
  });

  describe('that is set up', () => {
    it('has the answer for itself', async () => {
      const one = watch('echo-command', { systemPrompt: 'Be brief.' });
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
      for (const messages of [one.encoded, one.heard]) {
        expect(messages[0]).toMatchObject({ subtype: 'init' });
        expect(JSON.stringify(messages)).not.toMatch(/control_response|owner@example/);
      }
    });

    it('has crashed when the CLI refuses it, and only the operator is told why', async () => {
      const one = watch('refused-setup', {});
      await one.run.start(one.launch({ schema: { type: 'object' } }));
      const { ...outcome } = await ended(one);
      expect(outcome).toMatchObject({
        status: 'crashed',
        message: 'Claude Code ended without an answer.',
        detail: expect.stringContaining('Invalid JSON Schema'),
      });
      expect(one.encoded).toEqual([]);
    });

    it('has not heard its first message by that', async () => {
      // Answers the set-up and is silent then.
      const one = watch(
        'models',
        { systemPrompt: 'Be brief.' },
        { deadlines: { ...deadlines, firstMessage: 600, total: 2_000 } },
      );
      await one.run.start(one.launch());
      expect(await one.run.outcome).toMatchObject({ deadline: 'firstMessage' });
    }, 15_000);
  });

  describe('whose answer has to meet a schema', () => {
    const schema = { type: 'object' };

    it('has it as an object', async () => {
      const RESULT = JSON.stringify({ structured_output: { a: 1 } });
      const one = watch('odd', { env: { MESSAGES: '[]', RESULT } }, { structured: true });
      await one.run.start(one.launch({ schema }));
      expect(await ended(one)).toMatchObject({ status: 'success', structuredOutput: { a: 1 } });
    });

    it('fails when there is none, although the CLI is content', async () => {
      const one = watch('odd', { env: { MESSAGES: '[]' } }, { structured: true });
      await one.run.start(one.launch({ schema }));
      expect(await ended(one)).toMatchObject({ status: 'error', code: 'schema_not_met' });
    });
  });

  describe('that asks for permission', () => {
    const ask = { subtype: 'can_use_tool', tool_name: 'Bash', input: { command: 'ls' } };
    const env = { ASKED: JSON.stringify([ask]) };

    /** What the process was answered. */
    const answered = ({ encoded }: WatchedRun) =>
      encoded.flatMap((message) => {
        const { delta } = (message.event ?? {}) as { delta?: { text?: string } };
        return delta?.text === undefined ? [] : JSON.parse(delta.text);
      });

    it('gets its answer, and shows the question', async () => {
      const decidePermission = jest.fn(() => ({ behavior: 'allow' }));
      const one = watch('permission', { env }, { decidePermission }, true);
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
      expect(answered(one)).toEqual([
        {
          subtype: 'success',
          request_id: 'ask-0',
          response: { behavior: 'allow', updatedInput: { command: 'ls' } },
        },
      ]);
      expect(one.encoded.map(({ type }) => type)).toContain('control_request');
      expect(decidePermission).toHaveBeenCalledTimes(1);
    });

    it('is not idle while it waits for it', async () => {
      const decidePermission = () =>
        new Promise((resolve) => setTimeout(() => resolve({ behavior: 'deny' }), 900));
      const one = watch(
        'permission',
        { env },
        { decidePermission, deadlines: { ...deadlines, idle: 300 } },
        true,
      );
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
    });

    it('is denied when nobody answers', async () => {
      const one = watch(
        'permission',
        { env },
        {
          decidePermission: () => new Promise(() => {}),
          deadlines: { ...deadlines, permission: 200 },
        },
        true,
      );
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
      expect(answered(one)).toMatchObject([{ response: { behavior: 'deny' } }]);
    });

    it('is denied when the function fails, which is reported', async () => {
      const failures: unknown[] = [];
      const one = watch(
        'permission',
        { env },
        {
          decidePermission: () => Promise.reject(new Error('oops')),
          onPermissionFailure: (cause) => void failures.push(cause),
        },
        true,
      );
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
      expect(answered(one)).toMatchObject([{ response: { behavior: 'deny' } }]);
      expect(failures).toEqual([new Error('oops')]);
    });

    it('may take its question back', async () => {
      const signals: AbortSignal[] = [];
      const one = watch(
        'permission',
        { env: { ASKED: JSON.stringify([ask, ask]), CANCEL: '1' } },
        {
          decidePermission: (_request, signal) => {
            signals.push(signal);
            if (signals.length === 2) return new Promise(() => {});
            return new Promise((resolve) => setTimeout(() => resolve({ behavior: 'allow' }), 100));
          },
        },
        true,
      );
      await one.run.start(one.launch());
      expect(await ended(one)).toMatchObject({ status: 'success' });
      expect(answered(one)).toMatchObject([{ request_id: 'ask-0' }]);
      expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    });

    it('has its question ended when it is stopped', async () => {
      let asked: (signal: AbortSignal) => void = () => {};
      const question = new Promise<AbortSignal>((resolve) => {
        asked = resolve;
      });
      const one = watch(
        'permission',
        { env },
        {
          decidePermission: (_request, signal) => {
            asked(signal);
            return new Promise(() => {});
          },
        },
        true,
      );
      await one.run.start(one.launch());
      const signal = await question;
      one.run.stop('disconnected');
      expect(signal.aborted).toBe(true);
      expect(await ended(one)).toMatchObject({ status: 'interrupted' });
    });
  });

  it('knows where its session can be forked: after the last message of the conversation itself', async () => {
    const one = watch('conversation', {});
    await one.run.start(one.launch());
    const { lastMessageId } = await ended(one);
    const last = one.encoded.findLast(({ type }) => type === 'assistant');
    expect(lastMessageId).toBe(last?.uuid);
    expect(lastMessageId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('does not take the words of a subagent for a point of its session', async () => {
    const said = (uuid: string, parent: string | null) => ({
      type: 'assistant',
      uuid,
      parent_tool_use_id: parent,
      message: { content: [] },
    });
    const MESSAGES = JSON.stringify([said('own', null), said('of the subagent', 'toolu_1')]);
    const one = watch('odd', { env: { MESSAGES } });
    await one.run.start(one.launch());
    expect((await ended(one)).lastMessageId).toBe('own');
  });
});
