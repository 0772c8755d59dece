import { once } from 'node:events';
import {
  allGone,
  type ChatServer,
  eventsOf,
  open,
  outcomeOf,
  post,
  startChatServer,
  textOf,
  transcript,
} from './chatServer';

let server: ChatServer;

afterEach(async () => {
  await server.close();
  await allGone(server.pids, 0);
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
    const started = new Promise<void>((resolve) => {
      const watch = setInterval(() => {
        if (server.pids.length === 0) return;
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
