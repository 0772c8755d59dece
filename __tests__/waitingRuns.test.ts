import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import http from 'node:http';
import { connect } from 'node:net';
import type { Request } from 'express';
import { type ClaudeStreamOptions, memoryStore, type QueueFacts, type RunInfo } from '../lib';
import {
  allGone,
  allKept,
  type ChatServer,
  eventsOf,
  isAlive,
  open,
  outcomeOf,
  post,
  reading,
  send,
  startChatServer,
} from './chatServer';
import { type RouterServer, startRouterServer } from './routerServer';

const servers: ChatServer[] = [];
let router: RouterServer | undefined;

/** What the channel for waiting requests was told, and who waits to hear it. */
let queued: QueueFacts[] = [];
let hearing: (() => void)[] = [];
const listener = (facts: unknown) => {
  queued.push(facts as QueueFacts);
  for (const hear of hearing) hear();
};

beforeEach(() => subscribe('claude-stream:queue', listener));

afterEach(async () => {
  unsubscribe('claude-stream:queue', listener);
  queued = [];
  hearing = [];
  for (const server of servers.splice(0)) {
    await server.close();
    await allGone(server.pids, 0);
  }
  await router?.close();
  router = undefined;
});

/** Settles when `count` requests have begun to wait since the test began. */
function waiting(count: number): Promise<void> {
  return new Promise((resolve) => {
    const hear = () => {
      if (queued.length >= count) resolve();
    };
    hearing.push(hear);
    hear();
  });
}

async function start(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
  application?: Parameters<typeof startChatServer>[3],
): Promise<ChatServer> {
  const server = await startChatServer(name, { concurrency: 1, ...options }, env, application);
  servers.push(server);
  return server;
}

/** A client of an event stream, from its headers on. */
async function stream(server: Pick<ChatServer, 'url'>, body: object = { prompt: 'hi' }) {
  const response = await open(server.url, { stream: true, ...body });
  return {
    response,
    runId: String(response.headers['claude-run-id']),
    /** Leaves. */
    leave: () => response.destroy(),
    ...reading(response),
  };
}

/** A server whose only place is taken, by a client that stays until it leaves. */
async function busy(options: ClaudeStreamOptions = {}) {
  const server = await start('silent', options);
  const first = await stream(server, options.format === 'openai' ? hello : undefined);
  await first.until(() => server.pids.length === 1);
  return { server, first };
}

const hello = { messages: [{ role: 'user', content: 'hi' }] };

const positions = (text: string) =>
  eventsOf(text)
    .filter(({ event }) => event === 'queue')
    .map(({ data }) => JSON.parse(data).position);

const waits = (text: string) => positions(text).length > 0;

const statuses = (text: string) =>
  eventsOf(text).flatMap(({ data }) =>
    data.includes('"type":"status"') ? [JSON.parse(data).event.data] : [],
  );

describe('an event stream that has to wait', () => {
  it('begins at once, and is told its position and its turn', async () => {
    const { server, first } = await busy();
    const second = await stream(server);
    expect(second.response.statusCode).toBe(200);
    expect(second.response.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    expect(second.runId).toMatch(/^[\w-]{22}$/);
    const begin = await second.until(waits);
    expect(begin).toBe(
      `: keep-alive\n\nevent: queue\nid: ${second.runId}:1\ndata: {"position":1}\n\n`,
    );
    expect(server.pids).toHaveLength(1);
    first.leave();
    const text = await second.until((so) => so.includes('event: stream_event'));
    expect(positions(text)).toEqual([1, 0]);
    expect(eventsOf(text).map(({ id }) => id)).toEqual(
      eventsOf(text).map((_, index) => `${second.runId}:${index + 1}`),
    );
    expect(server.pids).toHaveLength(2);
  });

  it('hears how far it has moved up', async () => {
    const { server, first } = await busy();
    const others = [await stream(server), await stream(server)];
    const last = await stream(server);
    expect(positions(await last.until(waits))).toEqual([3]);
    for (const other of others) other.leave();
    await last.until((text) => positions(text).at(-1) === 1);
    first.leave();
    const told = positions(await last.until((text) => positions(text).at(-1) === 0));
    // Both have left at once, or a telling came between.
    expect(told.filter((position) => position !== 2)).toEqual([3, 1, 0]);
  });

  it('shows it as status in the openai format', async () => {
    const { server, first } = await busy({ format: 'openai' });
    const second = await stream(server, hello);
    const begin = await second.until((text) => statuses(text).length > 0);
    expect(statuses(begin)).toEqual([{ description: 'Waiting: 1st in the queue', done: false }]);
    first.leave();
    const text = await second.until((so) => statuses(so).length > 1);
    expect(statuses(text)[1]).toEqual({ description: 'Waited in the queue', done: true });
    const chunks = eventsOf(text).map(({ data }) => JSON.parse(data));
    expect(chunks[0].choices[0].delta).toEqual({ role: 'assistant', content: '' });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.every(({ choices }) => Array.isArray(choices))).toBe(true);
  });

  it.each(['none', 'text'] as const)(
    'has its comments only, with toolDisplay %s',
    async (toolDisplay) => {
      const { server } = await busy({ format: 'openai', toolDisplay, keepAlive: 20 });
      const second = await stream(server, hello);
      expect(await second.until((text) => text.split('\n\n').length > 3)).toMatch(
        /^(?:: keep-alive\n\n)+$/,
      );
    },
  );

  it('is kept alive', async () => {
    const { server } = await busy({ keepAlive: 30 });
    const second = await stream(server);
    const text = await second.until((so) => so.split(': keep-alive\n\n').length > 4);
    expect(positions(text)).toEqual([1]);
  });

  it('may stay for long: no deadline and no measure begins before its turn', async () => {
    const server = await start(
      'ticks',
      { timeout: { firstMessage: 2_000, total: 3_000 } },
      { TICKS: '5', INTERVAL: '500' },
    );
    const began = performance.now();
    const all = [await stream(server), await stream(server)];
    const [one, two] = (await Promise.all(all.map(({ end }) => end()))).map(outcomeOf);
    expect([one?.status, two?.status]).toEqual(['success', 'success']);
    expect(performance.now() - began).toBeGreaterThan(5_000);
    expect(two?.durationMs).toBeLessThan(4_000);
    expect(two?.timeToFirstMessageMs).toBeLessThan(1_500);
  });
});

describe('a request that need not wait', () => {
  it('has no event of it', async () => {
    const server = await start('ticks', {}, { TICKS: '1', INTERVAL: '1' });
    const { text } = await post(server.url, { prompt: 'hi' });
    expect(eventsOf(text)[0]).toMatchObject({ event: 'system' });
    expect(queued).toEqual([]);
  });

  it('whose process cannot be started is a JSON error with its status, and gives its place back', async () => {
    const server = await start('ticks', { request: commandOfBody }, { TICKS: '1', INTERVAL: '1' });
    for (let time = 0; time < 3; time++) {
      const { status, text } = await post(server.url, { prompt: 'missing' });
      expect([status, JSON.parse(text).error.code]).toEqual([500, 'command_not_found']);
    }
    expect(outcomeOf((await post(server.url, { prompt: 'hi' })).text).status).toBe('success');
    expect(queued).toEqual([]);
    expect(server.outcomes).toHaveLength(1);
  });

  it.each<[string, ClaudeStreamOptions, object, number]>([
    ['whose prompt is too large', { maxPromptBytes: 1_000 }, { prompt: 'x'.repeat(1_000) }, 413],
    ['whose model is not offered', { models: ['opus'] }, { prompt: 'hi', model: 'gpt' }, 400],
    ['without a prompt', {}, {}, 400],
  ])('%s takes no place', async (_, options, body, expected) => {
    const server = await start('ticks', options, { TICKS: '1', INTERVAL: '1' });
    expect((await post(server.url, body)).status).toBe(expected);
    expect((await post(server.url, { prompt: 'hi' })).status).toBe(200);
    expect([queued, server.outcomes.length]).toEqual([[], 1]);
    expect(await server.handler.runs()).toEqual([]);
  });
});

/** The prompt "missing" is for a command that does not exist. */
function commandOfBody(request: Request) {
  return request.body.prompt === 'missing' ? { command: '/secret/place/claude' } : {};
}

describe('a place', () => {
  it('is held until the process is gone, not until the answer is complete', async () => {
    const alive: number[] = [];
    const server: ChatServer = await start('lingering', {
      exitGrace: 50,
      onStart: () => void alive.push(server.pids.filter(isAlive).length),
    });
    const answers = [1, 2, 3].map(() => post(server.url, { prompt: 'hi' }));
    for (const { text } of await Promise.all(answers))
      expect(outcomeOf(text).status).toBe('success');
    expect(alive).toEqual([1, 1, 1]);
  });

  it('is never given to more than may have one, whoever leaves when', async () => {
    const most: number[] = [];
    const server: ChatServer = await start(
      'ticks',
      { concurrency: 2, onStart: () => void most.push(server.pids.filter(isAlive).length) },
      { TICKS: '2', INTERVAL: '20' },
    );
    const clients = await Promise.all(Array.from({ length: 10 }, () => stream(server)));
    for (const index of [1, 4, 7]) clients[index]?.leave();
    const texts = await Promise.all(
      clients.filter((_, index) => ![1, 4, 7].includes(index)).map(({ end }) => end()),
    );
    expect(texts.map((text) => outcomeOf(text).status)).toEqual(texts.map(() => 'success'));
    expect(Math.max(...most)).toBe(2);
  });
});

describe('a request that is not streamed', () => {
  it('waits without headers, and gets its answer', async () => {
    const { server, first } = await busy();
    const answer = post(server.url, { prompt: 'hi', stream: false });
    await waiting(1);
    expect(queued[0]?.request.res?.headersSent).toBe(false);
    const runId = queued[0]?.runId;
    await send('DELETE', `${server.url}/${first.runId}`);
    await runsOf(server, (runs) => runs.length === 1 && runs[0]?.pid !== undefined);
    await send('DELETE', `${server.url}/${runId}`);
    const { status, headers, text } = await answer;
    expect([status, JSON.parse(text).error.code]).toEqual([410, 'cancelled']);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(headers.get('claude-run-id')).toBe(runId);
  });

  it('gives its position up when its client leaves', async () => {
    const { server } = await busy();
    const controller = new AbortController();
    const answer = fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'hi', stream: false }),
      signal: controller.signal,
    }).catch(() => 'gone');
    await waiting(1);
    controller.abort();
    expect(await answer).toBe('gone');
    const third = await stream(server);
    expect(positions(await third.until((text) => positions(text).at(-1) === 1)).at(-1)).toBe(1);
    expect(server.pids).toHaveLength(1);
  });
});

describe('a queue that is full', () => {
  it.each([
    ['claude', { prompt: 'hi' }, { code: 'queue_full' }],
    ['openai', hello, { type: 'rate_limit_error', code: 'rate_limit_exceeded', param: null }],
  ] as const)(
    'refuses with 429 in the %s format, and nothing was started',
    async (format, body, error) => {
      const { server } = await busy({ format, maxQueue: 0 });
      for (const isStream of [true, false]) {
        const { status, headers, text } = await post(server.url, { ...body, stream: isStream });
        expect([status, headers.get('retry-after')]).toEqual([429, '5']);
        expect(headers.get('x-should-retry')).toBeNull();
        expect(headers.get('claude-run-id')).toBeNull();
        expect(JSON.parse(text).error).toMatchObject(error);
      }
      expect(server.pids).toHaveLength(1);
      expect(server.errors.map(({ code }) => code)).toEqual(['queue_full', 'queue_full']);
      expect(await server.handler.runs()).toHaveLength(1);
    },
  );

  it('takes the next when somebody has left', async () => {
    const { server } = await busy({ maxQueue: 1 });
    const second = await stream(server);
    expect((await post(server.url, { prompt: 'hi' })).status).toBe(429);
    second.leave();
    await server.nextOutcome();
    const third = await stream(server);
    expect(positions(await third.until(waits))).toEqual([1]);
  });

  it('is not there for a bad request, which is told at once', async () => {
    const { server } = await busy({ maxPromptBytes: 1_000 });
    expect((await post(server.url, {})).status).toBe(400);
    expect((await post(server.url, { prompt: 'x'.repeat(1_000) })).status).toBe(413);
    expect(queued).toEqual([]);
    const second = await stream(server);
    expect(positions(await second.until(waits))).toEqual([1]);
  });
});

describe('a request that has waited too long', () => {
  const timeout = { queue: 50 };

  it('ends with an outcome that says so', async () => {
    const { server } = await busy({ timeout });
    const second = await stream(server);
    const outcome = outcomeOf(await second.end());
    expect(outcome).toMatchObject({
      status: 'timeout',
      code: 'queue_timeout',
      deadline: 'queue',
      runId: second.runId,
      durationMs: 0,
      turns: 0,
    });
    expect(outcome).not.toHaveProperty('exitCode');
    expect(server.outcomes).toMatchObject([{ code: 'queue_timeout' }]);
    expect(server.errors).toMatchObject([{ code: 'queue_timeout' }]);
    expect(server.pids).toHaveLength(1);
  });

  it('ends with an error in the openai format, and no status is left open', async () => {
    const { server } = await busy({ format: 'openai', timeout });
    const text = await (await stream(server, hello)).end();
    const events = eventsOf(text).map(({ data }) => data);
    expect(statuses(text).at(-1)).toEqual({ description: 'Waited in the queue', done: true });
    expect(JSON.parse(events.at(-2) ?? '').error).toMatchObject({
      type: 'server_error',
      code: 'queue_timeout',
    });
    expect(events.at(-1)).toBe('[DONE]');
    expect(text).not.toContain('"stop"');
  });

  it.each([
    ['claude', { prompt: 'hi' }],
    ['openai', hello],
  ] as const)('gets 503 where it is not streamed (%s)', async (format, body) => {
    const { server } = await busy({ format, timeout });
    const { status, headers, text } = await post(server.url, { ...body, stream: false });
    expect([status, headers.get('retry-after')]).toEqual([503, '5']);
    expect(headers.get('x-should-retry')).toBeNull();
    expect(JSON.parse(text).error.code).toBe('queue_timeout');
  });
});

describe('a client that leaves while it waits', () => {
  it('gives its position up at once, whatever the store would keep', async () => {
    const { server, first } = await busy({ store: memoryStore(), onDisconnect: 'continue' });
    const second = await stream(server);
    const third = await stream(server);
    expect(positions(await third.until(waits))).toEqual([2]);
    second.leave();
    expect(await server.nextOutcome()).toMatchObject({
      runId: second.runId,
      status: 'interrupted',
      reason: 'disconnected',
    });
    await third.until((text) => positions(text).at(-1) === 1);
    await send('DELETE', `${server.url}/${first.runId}`);
    await third.until((text) => text.includes('event: stream_event'));
    expect(server.pids).toHaveLength(2);
  });

  it('does not when somebody else follows the run', async () => {
    const { server, first } = await busy({ store: memoryStore() });
    const second = await stream(server);
    await second.until(waits);
    const follower = reading(await openReplay(`${server.url}/${second.runId}`));
    expect(positions(await follower.until(waits))).toEqual([1]);
    second.leave();
    await runsOf(server, (runs) => runs.every(({ clients }) => clients === 1));
    await send('DELETE', `${server.url}/${first.runId}`);
    const text = await follower.until((so) => so.includes('event: stream_event'));
    expect(positions(text)).toEqual([1, 0]);
    expect(eventsOf(text).map(({ id }) => id)).toEqual(
      eventsOf(text).map((_, index) => `${second.runId}:${index + 1}`),
    );
  });

  it('gives up those, too, whose responses have not had their turn on its connection', async () => {
    const server = await start('silent');
    const body = JSON.stringify({ prompt: 'hi' });
    const head = `POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    socket.write((head + body).repeat(3));
    await waiting(2);
    socket.destroy();
    await runsOf(server, (runs) => runs.length === 0);
    expect(server.pids).toHaveLength(1);
    expect(server.outcomes.map(({ status }) => status)).toEqual(Array(3).fill('interrupted'));
  });

  it('and the last that follows it takes the run along', async () => {
    const { server } = await busy({ store: memoryStore() });
    const second = await stream(server);
    const response = await openReplay(`${server.url}/${second.runId}`);
    second.leave();
    await runsOf(server, (runs) => runs.every(({ clients }) => clients === 1));
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({
      runId: second.runId,
      status: 'interrupted',
    });
    await runsOf(server, (runs) => runs.length === 1);
  });
});

/** Follows a run, and hands over the response while it is still coming. */
function openReplay(url: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, (response) => {
      response.on('error', () => undefined);
      resolve(response);
    });
    request.on('error', reject);
  });
}

/** Settles when the runs that are listed are as they should be. */
async function runsOf(
  { handler }: ChatServer,
  areRight: (runs: readonly RunInfo[]) => boolean,
): Promise<void> {
  while (!areRight(await handler.runs())) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('a waiting run', () => {
  it('is listed, without a process', async () => {
    const { server } = await busy();
    const second = await stream(server);
    await second.until(waits);
    expect(await server.handler.runs()).toMatchObject([
      { pid: server.pids[0] },
      { runId: second.runId, pid: undefined, clients: 1, events: 1, isLocal: true },
    ]);
  });

  it.each([true, false])('can be cancelled (store: %s)', async (hasStore) => {
    const { server, first } = await busy({ store: hasStore ? memoryStore() : undefined });
    const [second, third] = [await stream(server), await stream(server)];
    const { status, text } = await send('DELETE', `${server.url}/${second.runId}`);
    expect([status, JSON.parse(text)]).toMatchObject([200, { code: 'cancelled', turns: 0 }]);
    expect(outcomeOf(await second.end())).toMatchObject({ code: 'cancelled' });
    expect(server.pids).toHaveLength(1);
    await send('DELETE', `${server.url}/${first.runId}`);
    await third.until((so) => so.includes('event: stream_event'));
    expect(server.pids).toHaveLength(2);
  });

  it('can be cancelled, followed and replayed through another instance', async () => {
    const store = memoryStore();
    const { server } = await busy({ store });
    const other = await start('silent', { store });
    const second = await stream(server);
    await second.until(waits);
    const follower = reading(await openReplay(`${other.url}/${second.runId}`));
    expect(positions(await follower.until(waits))).toEqual([1]);
    const { text } = await send('DELETE', `${other.url}/${second.runId}`);
    expect(JSON.parse(text)).toMatchObject({ code: 'cancelled' });
    expect(outcomeOf(await follower.end())).toMatchObject({ code: 'cancelled' });
    expect(outcomeOf(await second.end())).toMatchObject({ code: 'cancelled' });
    const replayed = await send('GET', `${other.url}/${second.runId}`);
    expect(eventsOf(replayed.text).map(({ event }) => event)).toEqual(['queue', 'outcome']);
  });

  it('is told of on its channel', async () => {
    const { server } = await busy();
    const second = await stream(server);
    await second.until(waits);
    expect(queued).toEqual([
      { runId: second.runId, position: 1, request: expect.objectContaining({ method: 'POST' }) },
    ]);
  });
});

describe('a process that cannot be started after the wait', () => {
  it('is the last event, the operator hears why, and the place goes to the next', async () => {
    const { server, first } = await busy({ request: commandOfBody });
    const second = await stream(server, { prompt: 'missing' });
    const third = await stream(server);
    await third.until(waits);
    first.leave();
    const text = await second.end();
    expect(outcomeOf(text)).toMatchObject({ status: 'error', code: 'command_not_found' });
    expect(text).not.toContain('/secret');
    await third.until((so) => so.includes('event: stream_event'));
    expect(server.errors).toMatchObject([
      { code: 'command_not_found', message: expect.stringContaining('/secret/place/claude') },
    ]);
    expect(server.outcomes.map(({ runId }) => runId)).toContain(second.runId);
  });

  it('is an error in the openai format', async () => {
    const { server, first } = await busy({
      format: 'openai',
      request: (request) =>
        request.body.user === 'missing' ? { command: '/secret/place/claude' } : {},
    });
    const second = await stream(server, { ...hello, user: 'missing' });
    await second.until((text) => statuses(text).length > 0);
    first.leave();
    const events = eventsOf(await second.end()).map(({ data }) => data);
    expect(JSON.parse(events.at(-2) ?? '').error.code).toBe('command_not_found');
    expect(events.at(-1)).toBe('[DONE]');
  });

  it('is shown with its reason where errors are exposed', async () => {
    const { server, first } = await busy({ request: commandOfBody, exposeErrors: true });
    const second = await stream(server, { prompt: 'missing' });
    first.leave();
    expect(await second.end()).toContain('/secret/place/claude');
  });

  it('is a JSON error with its status where it is not streamed', async () => {
    const { server, first } = await busy({ request: commandOfBody });
    const answer = post(server.url, { prompt: 'missing', stream: false });
    await waiting(1);
    first.leave();
    const { status, headers, text } = await answer;
    expect([status, JSON.parse(text).error.code]).toEqual([500, 'command_not_found']);
    expect(headers.get('x-should-retry')).toBeNull();
    expect(text).not.toContain('/secret');
  });
});

describe('close', () => {
  it('ends those that wait at once, and starts none of them', async () => {
    const { server, first } = await busy();
    const second = await stream(server);
    const third = post(server.url, { prompt: 'hi', stream: false });
    await waiting(2);
    await server.handler.close();
    expect(outcomeOf(await second.end())).toMatchObject({
      code: 'shutting_down',
      reason: 'closed',
    });
    const { status, headers, text } = await third;
    expect([status, headers.get('retry-after')]).toEqual([503, '5']);
    expect(JSON.parse(text).error.code).toBe('shutting_down');
    expect(outcomeOf(await first.end())).toMatchObject({ code: 'shutting_down' });
    expect(server.pids).toHaveLength(1);
  });

  it('does so also with a grace, which is for those that have begun', async () => {
    const server = await start('ticks', {}, { TICKS: '5', INTERVAL: '100' });
    const [first, second] = [await stream(server), await stream(server)];
    await second.until(waits);
    const closed = server.handler.close({ grace: 10_000 });
    expect(outcomeOf(await second.end())).toMatchObject({ code: 'shutting_down' });
    expect(await first.until(() => true)).not.toContain('event: outcome');
    expect(outcomeOf(await first.end())).toMatchObject({ status: 'success' });
    await closed;
    expect(server.pids).toHaveLength(1);
  });
});

describe('keys', () => {
  it('take turns', async () => {
    const order: string[] = [];
    const server = await start(
      'ticks',
      {
        key: (request) => request.body.user,
        onStart: ({ request }) => void order.push(request.body.prompt),
      },
      { TICKS: '1', INTERVAL: '1' },
    );
    const clients: { end(): Promise<string> }[] = [];
    for (const prompt of ['a0', 'a1', 'a2', 'a3', 'b1', 'b2', 'c1']) {
      clients.push(await stream(server, { prompt, user: prompt[0] }));
    }
    await Promise.all(clients.map(({ end }) => end()));
    expect(order).toEqual(['a0', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
  });

  it('are asked for only where there is a limit', async () => {
    const key = jest.fn(() => 'a');
    const server = await start('ticks', { concurrency: false, key }, { TICKS: '1', INTERVAL: '1' });
    await post(server.url, { prompt: 'hi' });
    expect(key).not.toHaveBeenCalled();
  });

  it('that are not strings are a mistake of the application', async () => {
    const server = await start('ticks', { key: (async () => 'a') as never });
    const { status } = await post(server.url, { prompt: 'hi' });
    expect(status).toBe(500);
    expect(server.errors).toEqual([
      {
        code: 'invalid_option',
        message: 'The function "key" must return a string, not a promise.',
      },
    ]);
    expect(server.pids).toEqual([]);
  });

  it('that cannot be told go to the error handler of Express', async () => {
    const server = await start('ticks', {
      key: () => {
        throw Object.assign(new Error('Who are you?'), { status: 418 });
      },
    });
    const { status, text } = await post(server.url, { prompt: 'hi' });
    expect(status).toBe(418);
    expect(text).toContain('Who are you?');
  });

  it('that cannot be told are hook_failed in a router', async () => {
    router = await startRouterServer('conversation', {
      concurrency: 1,
      key: () => {
        throw new Error('Who are you?');
      },
    });
    const { status, text } = await post(`${router.url}/v1/chat/completions`, {
      model: 'opus',
      ...hello,
    });
    expect([status, JSON.parse(text).error.code]).toEqual([500, 'hook_failed']);
    expect(router.errors[0]?.message).toContain('"key"');
    expect(router.errors[0]?.message).toContain('Who are you?');
  });
});

describe('a conversation', () => {
  const url = (server: RouterServer) => ({ url: `${server.url}/v1/chat/completions` });
  const turn = (...said: string[]) => ({
    model: 'opus',
    stream: true,
    messages: said.map((content, index) => ({
      role: index % 2 === 0 ? 'user' : 'assistant',
      content,
    })),
  });

  it('is not used up by a request that leaves while it waits', async () => {
    const server = await startRouterServer('conversation', { concurrency: 1, models: ['opus'] });
    router = server;
    await post(url(server).url, turn('one'));
    const other = await stream(url(server), turn('slow'));
    await other.until((text) => text.includes('fine'));
    const left = await stream(url(server), turn('one', 'fine', 'two'));
    await waiting(1);
    left.leave();
    const again = await stream(url(server), turn('one', 'fine', 'two'));
    await waiting(2);
    other.leave();
    await again.end();
    const flags = server.lastFlags().join(' ');
    expect(flags).toContain('--resume=');
    expect(flags).not.toContain('--fork-session');
    expect(server.prompted().at(-1)?.content).toEqual('two');
  });

  it('is recognised by a request that has waited for the turn before it', async () => {
    const server = await startRouterServer('conversation', { concurrency: 1, models: ['opus'] });
    router = server;
    const first = await stream(url(server), turn('slow'));
    await first.until((text) => text.includes('fine'));
    const second = await stream(url(server), turn('slow', 'fine', 'two'));
    await waiting(1);
    first.leave();
    await second.end();
    expect(server.lastFlags().join(' ')).toContain('--resume=');
  });

  it('that is being looked for when its client leaves gives the place back', async () => {
    const { sessions } = memoryStore();
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    let answer = () => {};
    const answered = new Promise<undefined>((resolve) => {
      answer = () => resolve(undefined);
    });
    const get = () => {
      asked();
      return answered;
    };
    const server = await startRouterServer('conversation', {
      concurrency: 1,
      models: ['opus'],
      store: { sessions: Object.assign(Object.create(sessions), { get }) },
    });
    router = server;
    const request = http.request(url(server).url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    request.on('error', () => undefined);
    request.end(JSON.stringify(turn('one', 'fine', 'two')));
    await isAsked;
    const second = await stream(url(server), turn('one'));
    await waiting(1);
    request.destroy();
    expect(await second.end()).toContain('[DONE]');
    answer();
    expect(server.pids).toHaveLength(1);
    expect(server.outcomes).toHaveLength(1);
  });

  it('is continued by one of two that wait, and copied by the other', async () => {
    const server = await startRouterServer('conversation', { concurrency: 1, models: ['opus'] });
    router = server;
    await post(url(server).url, turn('one'));
    const other = await stream(url(server), turn('slow'));
    await other.until((text) => text.includes('fine'));
    const both = [
      await stream(url(server), turn('one', 'fine', 'two')),
      await stream(url(server), turn('one', 'fine', 'other')),
    ];
    await waiting(2);
    other.leave();
    await Promise.all(both.map(({ end }) => end()));
    const forked = server
      .prompted()
      .slice(-2)
      .map(({ args }) => args.includes('--fork-session'));
    expect(forked).toEqual([false, true]);
  });
});

test('nothing is left when everybody has gone', async () => {
  const server = await start('ticks', { store: memoryStore() }, { TICKS: '1', INTERVAL: '1' });
  const clients = await Promise.all(Array.from({ length: 6 }, () => stream(server)));
  clients[3]?.leave();
  await Promise.all(clients.map(({ end }) => end()));
  await allKept(server);
  expect(await server.handler.runs()).toEqual([]);
});
