import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express, { type ErrorRequestHandler } from 'express';
import express4 from 'express4';
import request from 'supertest';
import { ClaudeStreamError, type ClaudeStreamOptions, claudeStream } from '../lib';
import {
  allGone,
  type ChatServer,
  eventsOf,
  fixture,
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
  if (server) await allGone(server.pids, 0);
  server = undefined;
});

/** What the fixture `echo-command` was started with. */
async function commandFor(options: ClaudeStreamOptions, body: unknown) {
  server = await startChatServer('echo-command', options);
  return JSON.parse(textOf((await post(server.url, body)).text));
}

/** An application around one handler, for supertest. */
function appWith(options: ClaudeStreamOptions, body: express.RequestHandler = express.json()) {
  const handler = claudeStream({ command: fixture('echo-command'), ...options });
  return express().use(body).post('/chat', handler);
}

describe('a request', () => {
  it('sends its prompt over stdin and nothing of it as an argument', async () => {
    const { args, message } = await commandFor({}, { prompt: '--version' });
    expect(message).toEqual({ type: 'user', message: { role: 'user', content: '--version' } });
    expect(args).toEqual([
      '-p',
      '--input-format=stream-json',
      '--output-format=stream-json',
      '--verbose',
      '--include-partial-messages',
    ]);
  });

  it('sends its system messages over stdin, however long they are and whatever they hold', async () => {
    const content = `--version a\0b ${'x'.repeat(500_000)}`;
    const messages = [
      { role: 'system', content },
      { role: 'user', content: 'hi' },
    ];
    const { args, setup, message } = await commandFor({ appendSystemPrompt: 'A' }, { messages });
    expect(setup).toEqual({
      subtype: 'initialize',
      appendSystemPrompt: `A\n\n${content}`,
      systemPromptSnapshot: false,
    });
    expect(message.message.content).toBe('hi');
    expect(args).toHaveLength(5);
  });

  it('may choose a model by a name of the application’s own', async () => {
    const { args } = await commandFor(
      { models: { 'gpt-4o': 'sonnet' } },
      { prompt: 'hi', model: 'gpt-4o' },
    );
    expect(args).toContain('--model=sonnet');
  });

  it('may choose a model that is offered, the effort and a session', async () => {
    const session = '0b5a3c1e-0000-4000-8000-000000000000';
    const body = { prompt: 'hi', model: 'opus', effort: 'high', session };
    const { args } = await commandFor({ models: ['opus', 'sonnet'], model: 'sonnet' }, body);
    expect(args).toEqual(
      expect.arrayContaining(['--model=opus', '--effort=high', `--resume=${session}`]),
    );
  });

  it('may not choose a directory, tools, flags, permissions or environment', async () => {
    const { args, cwd, env } = await commandFor(
      {},
      {
        prompt: 'hi',
        cwd: '/',
        args: ['--evil'],
        tools: ['Bash'],
        allowedTools: ['Bash'],
        permissionMode: 'bypassPermissions',
        env: { EVIL: '1' },
        command: '/bin/false',
      },
    );
    expect(args).toHaveLength(5);
    expect(cwd).toBe(process.cwd());
    expect(env).not.toHaveProperty('EVIL');
  });

  it('has its model ignored where none is offered', async () => {
    const { args } = await commandFor({}, { prompt: 'hi', model: 'gpt-4o' });
    expect(args.join()).not.toContain('model');
  });

  it('names its run in a header and in the environment of the process', async () => {
    server = await startChatServer('echo-command');
    const { headers, text } = await post(server.url, { prompt: 'hi' });
    const { env } = JSON.parse(textOf(text));
    expect(env.CLAUDE_STREAM_RUN_ID).toBe(headers.get('claude-run-id'));
    expect(outcomeOf(text).runId).toBe(headers.get('claude-run-id'));
  });

  it('that reconnects starts no process and is told to stop', async () => {
    server = await startChatServer('echo-command');
    const { status, text } = await post(server.url, { prompt: 'hi' }, { 'last-event-id': 'x:1' });
    expect([status, text, server.pids]).toEqual([204, '', []]);
  });

  it('not streamed gets one body', async () => {
    server = await startChatServer('ticks', {}, { TICKS: '2', INTERVAL: '1' });
    const { status, headers, text } = await post(server.url, { prompt: 'hi', stream: false });
    expect(status).toBe(200);
    expect(headers.get('content-type')).toContain('application/json');
    expect(JSON.parse(text)).toMatchObject({
      result: { type: 'result', result: 'done' },
      outcome: { status: 'success' },
    });
  });

  it('not streamed that fails has the status of its failure and is not to be retried', async () => {
    server = await startChatServer('stderr-only');
    const { status, headers, text } = await post(server.url, { prompt: 'hi', stream: false });
    expect(status).toBe(502);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(JSON.parse(text).error).toEqual({
      code: 'crashed',
      message: 'Claude Code ended without an answer.',
    });
  });
});

describe("the application's request function", () => {
  it('chooses what a client may not, and its prompt replaces the client’s', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'claude-stream-'));
    const { args, cwd, message } = await commandFor(
      {
        request: async (req) => ({
          prompt: `As ${req.headers['x-user'] ?? 'nobody'}: ${req.body.messages[0].content}`,
          cwd: directory,
          allowedTools: ['Read'],
          model: 'haiku',
        }),
      },
      { messages: [{ role: 'user', content: 'hi' }], effort: 'low' },
    );
    rmSync(directory, { recursive: true });
    expect(cwd).toBe(directory);
    expect(args.slice(5)).toEqual(['--model=haiku', '--effort=low', '--allowedTools=Read']);
    expect(message.message.content).toBe('As nobody: hi');
  });

  it('leaves the body in force where it says nothing', async () => {
    const { message } = await commandFor({ request: () => ({}) }, { prompt: 'from the body' });
    expect(message.message.content).toBe('from the body');
  });

  it('may throw: its error goes to the error handler of the application', async () => {
    const handler = claudeStream({
      request: () => {
        throw new Error('not today');
      },
    });
    const onError: ErrorRequestHandler = (error, _req, res, _next) =>
      void res.status(418).send(error.message);
    const app = express().post('/chat', handler).use(onError);
    await request(app).post('/chat').expect(418, 'not today');
  });

  it('takes a session away from the client by saying undefined', async () => {
    const session = '0b5a3c1e-0000-4000-8000-000000000000';
    const request = () => ({ session: undefined });
    const { args } = await commandFor({ request }, { prompt: 'hi', session });
    expect(args.join()).not.toContain('resume');
  });

  it('that returns nothing is told so: the body of the client must not slip through', async () => {
    const app = appWith({ request: (() => undefined) as never });
    const { body } = await request(app).post('/chat').send({ prompt: 'hi' }).expect(500);
    expect(body.error.code).toBe('invalid_option');
  });

  it('that rejects with nothing is an error all the same', async () => {
    const app = appWith({ request: () => Promise.reject(undefined) });
    app.use(((_error, _req, res, _next) => void res.sendStatus(418)) as ErrorRequestHandler);
    await request(app).post('/chat').send({ prompt: 'hi' }).expect(418);
  });

  it('that returns a wrong option is told so', async () => {
    const errors: ClaudeStreamError[] = [];
    const app = appWith({
      request: () => ({ cwd: 7 }) as never,
      onError: (error) => void errors.push(error),
    });
    const { body } = await request(app).post('/chat').send({ prompt: 'hi' }).expect(500);
    expect(body.error).toEqual({
      code: 'invalid_option',
      message: 'The server is not set up correctly.',
    });
    expect(errors[0]?.message).toContain('"cwd"');
  });
});

describe('a wrong request', () => {
  it.each([
    [{}, 'invalid_prompt', 'neither "prompt" nor "messages"'],
    [{ prompt: '' }, 'invalid_prompt', 'must not be empty'],
    [{ prompt: 7 }, 'invalid_prompt', 'must be a string'],
    [{ messages: [] }, 'invalid_messages', 'at least one message'],
    [{ messages: 'hi' }, 'invalid_messages', 'must be an array'],
    [{ messages: [{ role: 'user' }] }, 'invalid_messages', 'messages[0].content'],
    [{ messages: [{ role: 'king', content: 'hi' }] }, 'invalid_messages', 'messages[0].role'],
    [{ prompt: 'hi', model: 'gpt-4o' }, 'model_not_offered', 'Offered are: opus, sonnet'],
    [{ prompt: 'hi', effort: 'huge' }, 'invalid_request', 'low, medium, high'],
    [{ prompt: 'hi', session: 'mine' }, 'invalid_request', 'UUID'],
    [{ prompt: 'hi', stream: 'yes' }, 'invalid_request', '"stream"'],
  ])('%j is answered with 400 %s', async (body, code, message) => {
    const response = await request(appWith({ models: ['opus', 'sonnet'] }))
      .post('/chat')
      .send(body)
      .expect(400)
      .expect('content-type', /json/);
    expect(response.body.error).toEqual({ code, message: expect.stringContaining(message) });
  });

  it('whose body nobody parsed is told about express.json()', async () => {
    const app = appWith({}, (_req, _res, next) => next());
    const { body } = await request(app).post('/chat').send({ prompt: 'hi' }).expect(400);
    expect(body.error.code).toBe('body_not_parsed');
    expect(body.error.message).toContain('express.json()');
  });

  it('over maxPromptBytes is answered with 413', async () => {
    const app = appWith({ maxPromptBytes: 1_000 });
    const { body } = await request(app)
      .post('/chat')
      .send({ prompt: 'ü'.repeat(500) })
      .expect(413);
    expect(body.error.code).toBe('prompt_too_large');
  });

  it('counts its system messages into maxPromptBytes', async () => {
    const app = appWith({ maxPromptBytes: 1_000 });
    const messages = [
      { role: 'system', content: 'x'.repeat(1_000) },
      { role: 'user', content: 'hi' },
    ];
    const { body } = await request(app).post('/chat').send({ messages }).expect(413);
    expect(body.error.code).toBe('prompt_too_large');
  });

  it('for the headers alone starts no process', async () => {
    const handler = claudeStream({ command: fixture('mute'), request: () => ({ prompt: 'hi' }) });
    await request(express().get('/chat', handler)).head('/chat').expect(405);
  });

  it('has its error in the shape of the format', async () => {
    const { body } = await request(appWith({ format: 'openai' }))
      .post('/chat')
      .send({})
      .expect(400);
    expect(body).toEqual({
      error: {
        message: expect.stringContaining('prompt'),
        type: 'invalid_request_error',
        param: null,
        code: 'invalid_prompt',
      },
    });
  });
});

describe('a wrong set-up', () => {
  it.each<[string, ClaudeStreamOptions, number, string, string]>([
    ['no command', { command: 'not-there' }, 500, 'command_not_found', 'npm install -g'],
    ['no directory', { cwd: '/not/there' }, 500, 'cwd_not_found', '/not/there'],
    ['not executable', { command: __filename }, 503, 'spawn_failed', 'EACCES'],
    ['too long', { allowedTools: ['x'.repeat(200_000)] }, 503, 'spawn_failed', '128 KiB'],
  ])(
    '%s: only the operator is told what and where',
    async (_name, options, status, code, message) => {
      const errors: ClaudeStreamError[] = [];
      const app = appWith({ ...options, onError: (error) => void errors.push(error) });
      const { body } = await request(app).post('/chat').send({ prompt: 'hi' }).expect(status);
      expect(body.error.code).toBe(code);
      expect(body.error.message).not.toContain('/');
      expect(errors).toHaveLength(1);
      expect(errors[0]?.message).toContain(message);
    },
  );

  it('shows clients where with exposeErrors', async () => {
    const app = appWith({ cwd: '/not/there', exposeErrors: true });
    const { body } = await request(app).post('/chat').send({ prompt: 'hi' });
    expect(body.error.message).toContain('/not/there');
  });

  it('is a thrown error at creation: a wrong option', () => {
    expect(() => claudeStream({ keepAlive: '15s' } as never)).toThrow(ClaudeStreamError);
  });

  it.each([express, express4])(
    'is told so when it was mounted without being called',
    async (framework) => {
      const onError: ErrorRequestHandler = (error, _req, res, _next) =>
        void res.status(500).send(error.message);
      const app = framework()
        .use(claudeStream as never)
        .use(onError);
      const { text } = await request(app).get('/').expect(500);
      expect(text).toContain('claudeStream()');
    },
  );

  it('leaves an answer alone that earlier middleware has already ended', async () => {
    const codes: string[] = [];
    const handler = claudeStream({
      command: fixture('echo-command'),
      onError: ({ code }) => void codes.push(code),
      onStart: () => void codes.push('started'),
    });
    const listeners: number[] = [];
    let isOver: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    const app = express().post(
      '/chat',
      (req, res, next) => {
        res.send('already answered');
        res.once('close', () => {
          listeners.push(req.socket.listenerCount('close'));
          next();
          listeners.push(req.socket.listenerCount('close'));
          isOver();
        });
      },
      handler,
    );
    await request(app).post('/chat').expect(200, 'already answered');
    await over;
    expect(codes).toEqual(['response_already_sent']);
    // The connection lives on, and must not collect a listener with every such request.
    expect(listeners[1]).toBe(listeners[0]);
  });
});

describe('a stream', () => {
  it('has its headers and a first comment before the process has said a word', async () => {
    server = await startChatServer('mute');
    const response = await open(server.url, { prompt: 'hi' });
    expect(response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'transfer-encoding': 'chunked',
    });
    expect(response.headers).not.toHaveProperty('content-length');
    const [chunk] = await once(response, 'data');
    expect(String(chunk)).toBe(': keep-alive\n\n');
    response.destroy();
  });

  it('is the same on Express 4', async () => {
    const handler = claudeStream({ command: fixture('ticks'), env: { TICKS: '2', INTERVAL: '1' } });
    const app = express4().use(express4.json()).post('/chat', handler);
    const { text } = await request(app).post('/chat').send({ prompt: 'hi' }).expect(200);
    expect(outcomeOf(text).status).toBe('success');
  });
});

describe('canUseTool', () => {
  const asked = { subtype: 'can_use_tool', tool_name: 'Bash', input: { command: 'ls' } };
  const ASKED = JSON.stringify([asked]);
  const answers = async (options: ClaudeStreamOptions) => {
    server = await startChatServer('permission', options, { ASKED });
    return JSON.parse(textOf((await post(server.url, { prompt: 'hi' })).text));
  };

  it('is asked with the run and the request, and its answer reaches the CLI', async () => {
    const seen: unknown[] = [];
    const [answer] = await answers({
      canUseTool: ({ toolName, input }, { runId, request: { path }, signal }) => {
        seen.push([toolName, input, runId.length, path, signal.aborted]);
        return { behavior: 'allow', updatedInput: { command: 'pwd' } };
      },
    });
    expect(seen).toEqual([['Bash', { command: 'ls' }, 22, '/chat', false]]);
    expect(answer.response).toEqual({ behavior: 'allow', updatedInput: { command: 'pwd' } });
  });

  it('that fails denies, is reported by its name, and tells the client nothing', async () => {
    const [answer] = await answers({
      canUseTool: () => Promise.reject(new Error('/secret/place')),
    });
    expect(answer.response).toEqual({
      behavior: 'deny',
      message: 'The permission could not be asked for.',
    });
    expect(server?.errors).toEqual([
      { code: 'hook_failed', message: expect.stringContaining('"canUseTool" failed') },
    ]);
  });

  it('alone makes the CLI ask', async () => {
    const flag = '--permission-prompt-tool=stdio';
    const { args } = await commandFor(
      { canUseTool: () => ({ behavior: 'deny' }) },
      { prompt: 'hi' },
    );
    expect(args).toContain(flag);
    await server?.close();
    expect((await commandFor({}, { prompt: 'hi' })).args).not.toContain(flag);
  });

  it('is told by its signal that the client has left', async () => {
    let ask: (signal: AbortSignal) => void = () => undefined;
    const question = new Promise<AbortSignal>((resolve) => {
      ask = resolve;
    });
    server = await startChatServer(
      'permission',
      {
        canUseTool: (_request, { signal }) => {
          ask(signal);
          return new Promise(() => undefined);
        },
      },
      { ASKED },
    );
    const response = await open(server.url, { prompt: 'hi' });
    const signal = await question;
    const aborted = once(signal, 'abort');
    response.destroy();
    await aborted;
    await allGone(server.pids, 3_000);
  });
});

describe('coalesce', () => {
  const env = { TICKS: '40', INTERVAL: '5' };
  const textEvents = (text: string) =>
    eventsOf(text).filter(({ data }) => data.includes('text_delta'));

  it('joins deltas to fewer events, with every word of them', async () => {
    server = await startChatServer('ticks', { coalesce: 60 }, env);
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text).trim().split(' ')).toHaveLength(40);
    expect(textEvents(text).length).toBeLessThan(20);
    expect(outcomeOf(text)).toMatchObject({ status: 'success', invalidLines: 0 });
  });

  it('is off by default: each delta is its own event', async () => {
    server = await startChatServer('ticks', {}, env);
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textEvents(text)).toHaveLength(40);
  });

  it('joins chunks of the openai format, too', async () => {
    server = await startChatServer('ticks', { coalesce: 60, format: 'openai' }, env);
    const messages = [{ role: 'user', content: 'hi' }];
    const { text } = await post(server.url, { stream: true, messages });
    const chunks = eventsOf(text)
      .filter(({ data }) => data !== '[DONE]')
      .map(({ data }) => JSON.parse(data).choices[0]?.delta.content ?? '');
    expect(chunks.join('').trim().split(' ')).toHaveLength(40);
    expect(chunks.length).toBeLessThan(20);
  });

  it('does not hold back what was said last before a run is stopped', async () => {
    server = await startChatServer('speak-and-hang', { coalesce: 10_000, timeout: { idle: 300 } });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(textOf(text)).toBe('one two three ');
    expect(outcomeOf(text)).toMatchObject({ status: 'timeout', deadline: 'idle' });
  });
});

describe('hooks', () => {
  it('see every message whole, also those that are read in short', async () => {
    const seen: unknown[] = [];
    server = await startChatServer(
      'transcript',
      { onMessage: (message) => void seen.push(message) },
      { TRANSCRIPT: transcript('think') },
    );
    await post(server.url, { prompt: 'hi' });
    const recorded = readFileSync(transcript('think'), 'utf8').split('\n').filter(Boolean);
    expect(seen).toEqual(expect.arrayContaining(recorded.map((line) => JSON.parse(line))));
  });

  it('see a run from its start to its end', async () => {
    const seen: string[] = [];
    server = await startChatServer(
      'ticks',
      {
        onStart: ({ pid, runId, request }) =>
          seen.push(`start ${pid > 0} ${runId.length} ${request.path}`),
        onMessage: (message) => seen.push(message.type),
        onEnd: (outcome) => seen.push(outcome.status),
      },
      { TICKS: '1', INTERVAL: '1' },
    );
    await post(server.url, { prompt: 'hi' });
    expect(seen).toEqual([
      'start true 22 /chat',
      'system',
      'stream_event',
      'stream_event',
      'result',
      'system',
      'success',
    ]);
  });

  it('that throw are reported and change nothing', async () => {
    const throws = () => {
      throw new Error('oops');
    };
    server = await startChatServer(
      'ticks',
      { onStart: throws, onMessage: throws, onEnd: throws },
      { TICKS: '1', INTERVAL: '1' },
    );
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text).status).toBe('success');
    expect(new Set(server.errors.map(({ code }) => code))).toEqual(new Set(['hook_failed']));
    expect(server.errors).toHaveLength(3);
  });
});

describe('hooks that reject', () => {
  it('are reported like those that throw', async () => {
    const rejects = () => Promise.reject(new Error('oops'));
    server = await startChatServer(
      'ticks',
      { onStart: rejects, onMessage: rejects, onEnd: rejects },
      { TICKS: '1', INTERVAL: '1' },
    );
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(outcomeOf(text).status).toBe('success');
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.errors.map(({ code }) => code)).toEqual(Array(3).fill('hook_failed'));
  });
});

describe('close', () => {
  it('ends every run with an outcome that its client sees, and nothing is left', async () => {
    server = await startChatServer('silent');
    const { url, handler, pids } = server;
    const responses = await Promise.all([1, 2, 3].map(() => open(url, { prompt: 'hi' })));
    const texts = responses.map(async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      return text;
    });
    await handler.close();
    await allGone(pids, 0);
    for (const text of await Promise.all(texts)) {
      expect(outcomeOf(text)).toMatchObject({
        status: 'interrupted',
        code: 'shutting_down',
        reason: 'closed',
      });
    }
  });

  it('refuses new runs with 503 and Retry-After', async () => {
    server = await startChatServer('silent');
    await server.handler.close();
    const { status, headers, text } = await post(server.url, { prompt: 'hi' });
    expect(status).toBe(503);
    expect(headers.get('retry-after')).toBe('5');
    expect(JSON.parse(text).error.code).toBe('shutting_down');
  });
});

describe('a client that leaves before the process was started', () => {
  it('gets none', async () => {
    let left: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      left = resolve;
    });
    let asked: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    server = await startChatServer('silent', {
      request: async (req) => {
        req.res?.once('close', left);
        asked();
        await gone;
        return {};
      },
    });
    const controller = new AbortController();
    const answer = fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi' }),
      signal: controller.signal,
    }).catch(() => 'gone');
    await arrived;
    controller.abort();
    expect(await answer).toBe('gone');
    await gone;
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.pids).toEqual([]);
  });
});

describe('a response that is not ours alone', () => {
  it('ends its run when other middleware ends it', async () => {
    const ends: (() => void)[] = [];
    server = await startChatServer('silent', {
      onStart: ({ request }) => void ends.push(() => request.res?.end()),
    });
    const response = await open(server.url, { prompt: 'hi' });
    await once(response, 'data');
    ends[0]?.();
    expect(await server.nextOutcome()).toMatchObject({ status: 'interrupted' });
    await allGone(server.pids, 500);
  });

  it('ends the runs of pipelined requests when their client leaves', async () => {
    let closed = 0;
    server = await startChatServer('silent', {
      onStart: ({ request }) => void request.res?.once('close', () => (closed += 1)),
    });
    const { hostname, port } = new URL(server.url);
    const body = JSON.stringify({ prompt: 'hi' });
    const head = `POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    const socket = connect(Number(port), hostname);
    socket.write((head + body).repeat(3));
    await once(socket, 'data');
    const { pids } = server;
    while (pids.length < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    socket.destroy();
    await allGone(pids, 3_000);
    // What listens to it lets go of its timers: also for the two that never had a socket.
    expect(closed).toBe(3);
  });
});
