import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClaudeStreamOptions } from '../lib';
import {
  allGone,
  type ChatServer,
  isAlive,
  open,
  outcomeOf,
  post,
  reading,
  startChatServer,
  textOf,
} from './chatServer';
import { type RouterServer, startRouterServer } from './routerServer';

let folder: string;
const servers: (ChatServer | RouterServer)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claude-stream-'));
});

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  expect((await logged('start')).filter(isAlive)).toEqual([]);
  await rm(folder, { recursive: true });
});

/** The processes that have noted an event, in their order. */
async function logged(event: 'start' | 'ready'): Promise<number[]> {
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
  const lines = log.split('\n').filter(Boolean);
  return lines
    .map((line) => JSON.parse(line))
    .flatMap((one) => (one.event === event ? one.pid : []));
}

/** Settles when so many processes have been ready, with the pids of all of them. */
async function ready(count: number): Promise<number[]> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const pids = await logged('ready');
    if (pids.length >= count) return pids;
    await delay(5);
  }
  throw new Error('It does not get ready.');
}

/** A server in front of the fixture `waiting`, with one process that waits. */
async function start(options: ClaudeStreamOptions = {}, env: Record<string, string> = {}) {
  const all = { ...env, LOG: join(folder, 'log') };
  const server = await startChatServer('waiting', { warm: 1, ...options }, all);
  servers.push(server);
  return server;
}

/** What the process says that it was started as and told. */
async function ask({ url }: ChatServer, body: object = {}) {
  const { text, headers } = await post(url, { prompt: 'hi', ...body });
  const outcome = outcomeOf(text);
  const said = textOf(text);
  return { outcome, runId: headers.get('claude-run-id'), ...(said ? JSON.parse(said) : {}) };
}

test('a request is served by the process that waits, and the next one by another', async () => {
  const server = await start();
  const [waiting] = await ready(1);
  const first = await ask(server);
  expect(first).toMatchObject({ pid: waiting, outcome: { status: 'success' } });
  const [, next] = await ready(2);
  const second = await ask(server);
  expect(second.pid).toBe(next);
  expect(server.pids).toEqual([waiting, next]);
  // Its tools can be told by the pid; the variable says which process it is.
  expect(first.id).not.toBe(first.runId);
  expect(server.errors).toEqual([]);
});

test('without one that waits a process is started for the request', async () => {
  const server = await start({ warm: 0 });
  const { pid, told, id, runId } = await ask(server);
  expect(await logged('start')).toEqual([pid]);
  expect(told).toEqual([]);
  expect(id).toBe(runId);
});

test('two requests at once get two processes', async () => {
  const server = await start();
  await ready(1);
  const [one, two] = await Promise.all([ask(server), ask(server)]);
  expect(one.pid).not.toBe(two.pid);
  expect([one.told.length, two.told.length].sort()).toEqual([0, 1]);
});

test('the model and the permission mode of a request are set before it is asked', async () => {
  const server = await start({
    models: ['opus', 'haiku'],
    model: 'opus',
    request: () => ({ permissionMode: 'plan' }),
  });
  const [waiting] = await ready(1);
  expect(await ask(server, { model: 'haiku' })).toMatchObject({
    pid: waiting,
    model: 'haiku',
    mode: 'plan',
    told: ['initialize', 'set_model', 'set_permission_mode'],
    outcome: { status: 'success', model: 'haiku' },
  });
});

test('a process that does not take them does not go on without them', async () => {
  const server = await start({ models: ['haiku'] }, { MODE: 'refuses' });
  const [waiting = 0] = await ready(1);
  const { outcome } = await ask(server, { model: 'haiku' });
  expect(outcome).toMatchObject({ status: 'crashed', code: 'crashed' });
  expect(server.errors[0]?.message).toContain('Cannot set that in /secret/place');
  expect(JSON.stringify(outcome)).not.toContain('/secret');
  await allGone([waiting], 1_000);
});

test('one that dies when it is asked is as if it had never been', async () => {
  const server = await start({}, { MODE: 'leaves' });
  const [waiting] = await ready(1);
  const { pid, told, id, runId, outcome } = await ask(server);
  expect(outcome.status).toBe('success');
  expect(told).toEqual([]);
  expect(id).toBe(runId);
  expect(server.pids).toEqual([waiting, pid]);
  expect(server.errors).toEqual([]);
});

test.each<[string, object, ClaudeStreamOptions]>([
  ['a session', { session: '11111111-2222-4333-8444-555555555555' }, {}],
  ['effort', { effort: 'low' }, {}],
  [
    'system messages',
    {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'hi' },
      ],
      prompt: undefined,
    },
    {},
  ],
  ['tools of its own', {}, { request: () => ({ allowedTools: ['Bash'] }) }],
])('a request with %s gets a process of its own, silently', async (_what, body, options) => {
  const server = await start(options);
  const [waiting] = await ready(1);
  const { pid, outcome } = await ask(server, body);
  expect(outcome.status).toBe('success');
  expect(pid).not.toBe(waiting);
  expect(await logged('start')).toEqual([waiting, pid]);
  expect(server.errors).toEqual([]);
});

test('a system prompt of the application, and somebody to ask, are there from the start', async () => {
  const server = await start({
    systemPrompt: 'Be brief.',
    canUseTool: () => ({ behavior: 'deny' }),
  });
  const [waiting] = await ready(1);
  expect(await ask(server)).toMatchObject({ pid: waiting, told: ['initialize'] });
});

test('where none can be started the request tells why', async () => {
  const server = await start({ command: '/nowhere/claude' });
  await delay(50);
  expect((await post(server.url, { prompt: 'hi' })).status).toBe(500);
  expect(server.errors).toEqual([expect.objectContaining({ code: 'command_not_found' })]);
});

test('a client that leaves ends the process that it was given', async () => {
  const server = await start();
  const [waiting = 0] = await ready(1);
  const response = await open(server.url, { prompt: 'stay' });
  await reading(response).until((text) => text.includes('content_block_delta'));
  response.destroy();
  expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  await allGone([waiting], 1_000);
});

test('close() leaves none that waits, and none comes after it', async () => {
  const server = await start({ warm: 3 });
  await ready(2);
  await server.handler.close();
  const pids = await logged('start');
  expect(pids.filter(isAlive)).toEqual([]);
  await delay(200);
  expect(await logged('start')).toEqual(pids);
});

test('close() with a grace ends those that wait at once, and lets the runs end', async () => {
  const server = await start({ warm: 2 });
  await ready(2);
  const response = await open(server.url, { prompt: 'stay' });
  await reading(response).until((text) => text.includes('content_block_delta'));
  const [taken = 0, waiting = 0] = await logged('start');
  const closed = server.handler.close({ grace: 10_000 });
  await allGone([waiting], 1_000);
  expect(isAlive(taken)).toBe(true);
  response.destroy();
  await closed;
  expect(isAlive(taken)).toBe(false);
});

test('openaiRouter has it too', async () => {
  const server = await startRouterServer('waiting', {
    warm: 1,
    models: ['haiku'],
    env: { LOG: join(folder, 'log') },
  });
  servers.push(server);
  const [waiting] = await ready(1);
  const { text } = await post(`${server.url}/v1/chat/completions`, {
    model: 'haiku',
    messages: [{ role: 'user', content: 'hi' }],
  });
  const [choice] = JSON.parse(text).choices;
  expect(JSON.parse(choice.message.content)).toMatchObject({ pid: waiting, model: 'haiku' });
});
