import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ClaudeStreamOptions, memoryStore } from '../../lib';
import {
  type ClaudeEvent,
  ClientError,
  emptyMessage,
  messageReducer,
  streamClaude,
  wordsOf,
} from '../../lib/client.js';
import { allGone, allKept, type ChatServer, startChatServer } from '../chatServer';
import { formatNames } from './support';

const servers: ChatServer[] = [];
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  for (const server of servers.splice(0)) {
    await server.close();
    await allGone(server.pids, 0);
  }
});

async function start(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
): Promise<ChatServer> {
  const server = await startChatServer(name, { store: memoryStore(), ...options }, env);
  servers.push(server);
  return server;
}

/** A proxy that cuts every connection after so many bytes of the answer, as often as it is told; gives its URL. */
async function cutting(target: string, afterBytes: number, times: number) {
  const { port: targetPort } = new URL(target);
  let cuts = 0;
  const proxy = createTcpServer((socket) => {
    const through = connect(Number(targetPort), '127.0.0.1');
    let seen = 0;
    socket.pipe(through);
    through.on('data', (bytes) => {
      seen += bytes.length;
      if (seen < afterBytes || cuts === times) {
        socket.write(bytes);
        return;
      }
      cuts += 1;
      socket.write(bytes.subarray(0, bytes.length - 10), () => socket.destroy());
      through.destroy();
    });
    through.on('end', () => socket.end());
    socket.on('error', () => {}).on('close', () => through.destroy());
    through.on('error', () => socket.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  cleanups.push(async () => {
    proxy.close();
  });
  const { port } = proxy.address() as AddressInfo;
  return { url: target.replace(targetPort, String(port)), cuts: () => cuts };
}

/** A server that answers as it is told. */
async function answering(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server: Server = createServer(handler);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/chat`;
}

const hi = { body: { prompt: 'hi' } };
const messages = [{ role: 'user', content: 'hi' }];
const bodies = {
  claude: hi.body,
  openai: { messages },
  anthropic: { model: 'claude', max_tokens: 100, messages },
  'ui-message': {
    id: 'chat',
    messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', text: 'hi' }] }],
  },
};
const ticks = { TICKS: '20', INTERVAL: '20' };

/** The ids of events, by their numbers. */
const numbersOf = (events: readonly ClaudeEvent[]) =>
  events.map(({ id = '' }) => Number(id.slice(id.lastIndexOf(':') + 1)));

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

/** What aborts a stream; `cancelled` when the server has been told, and with what it was told. */
function aborting() {
  const controller = new AbortController();
  let onCancel: (...told: unknown[]) => void = () => {};
  const cancelled = new Promise<unknown[]>((resolve) => {
    onCancel = (...told) => resolve(told);
  });
  const { signal } = controller;
  return { signal, abort: (reason?: unknown) => controller.abort(reason), onCancel, cancelled };
}

async function all<Event>(events: AsyncIterable<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) found.push(event);
  return found;
}

/** Without a wait: the tests count attempts, not seconds. */
const atOnce: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const text = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        const impatient = Buffer.from(bytes).toString('latin1').replace('retry: 1000', 'retry: 1');
        controller.enqueue(Buffer.from(impatient, 'latin1'));
      },
    }),
  );
  const { status, headers } = response;
  return new Response(text ?? null, { status, headers });
};

describe('a question', () => {
  it('is answered event by event, to the outcome', async () => {
    const { url } = await start('ticks', {}, ticks);
    const reduce = messageReducer();
    let message = reduce({ kind: 'queue', id: undefined, position: 0 });
    const runs: string[] = [];
    const events: ClaudeEvent[] = [];
    for await (const event of streamClaude(url, { ...hi, onRun: (id) => runs.push(id) })) {
      events.push(event);
      message = reduce(event);
    }
    expect(numbersOf(events)).toEqual(upTo(events.length));
    expect(events.at(-1)).toMatchObject({ kind: 'outcome', outcome: { status: 'success' } });
    expect(wordsOf(message, 'text').trim().split(' ')).toHaveLength(20);
    expect(runs).toEqual([message.runId]);
  });

  it('of another format is answered in it', async () => {
    const { url } = await start('ticks', { format: 'openai' }, ticks);
    const body = { stream: true, messages: [{ role: 'user', content: 'hi' }] };
    const events = await all(streamClaude(url, { body, format: 'openai' }));
    expect(events.at(-1)?.chunk.choices?.[0]?.finish_reason).toBe('stop');
  });

  it('may set any header, however it is written', async () => {
    let headers: Record<string, unknown> = {};
    const url = await answering((request, response) => {
      ({ headers } = request);
      response.writeHead(204).end();
    });
    const own = { 'Content-Type': 'application/json', Accept: 'text/*', 'X-User': 'ada' };
    const reading = all(streamClaude(url, { ...hi, headers: own }));
    await expect(reading).rejects.toMatchObject({ code: 'not_a_stream' });
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      accept: 'text/*',
      'x-user': 'ada',
    });
  });

  it('may bear cookies to another origin, and its end outlives the page', async () => {
    const asked: (RequestInit | undefined)[] = [];
    const { signal, abort } = aborting();
    const ask: typeof fetch = async (_url, init) => {
      asked.push(init);
      if (init?.method === 'DELETE') return new Response();
      const stream = 'event: system\nid: r:1\ndata: {}\n\n';
      const headers = { 'content-type': 'text/event-stream' };
      return new Response(stream, { headers });
    };
    const reading = (async () => {
      const options = { ...hi, signal, fetch: ask, credentials: 'include' } as const;
      for await (const _event of streamClaude('/chat', options)) abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(asked).toMatchObject([
      { method: 'POST', credentials: 'include' },
      { method: 'DELETE', credentials: 'include', keepalive: true },
    ]);
  });

  it('in a format that there is not is not asked', async () => {
    const format = 'xml' as 'claude';
    const reading = all(streamClaude('http://127.0.0.1:1', { ...hi, format }));
    await expect(reading).rejects.toThrow('There is no format "xml".');
  });

  it.each([
    ['openai', {}],
    ['openai', { stream: false }],
    ['anthropic', { stream: null }],
    ['claude', { stream: false }],
    ['ui-message', { stream: false }],
  ] as const)('that asks for no stream (%s, %p) is not asked', async (format, body) => {
    const reading = all(streamClaude('http://127.0.0.1:1', { body, format }));
    await expect(reading).rejects.toThrow(new TypeError('The body has to say "stream": true.'));
  });

  it('may be given any time', async () => {
    const server = await start('ticks', {}, { TICKS: '2', INTERVAL: '10' });
    expect(await all(streamClaude(server.url, { ...hi, idleTimeout: Infinity }))).not.toEqual([]);
  });

  it('that is refused is an error, and asked once', async () => {
    const server = await start('ticks');
    await expect(all(streamClaude(server.url, { body: {} }))).rejects.toMatchObject({
      code: 'http_error',
      status: 400,
      serverCode: 'invalid_prompt',
    });
    expect(server.errors).toHaveLength(1);
  });

  it('to a server that is not there is an error at once', async () => {
    await expect(all(streamClaude('http://127.0.0.1:1/chat', hi))).rejects.toThrow('fetch failed');
  });
});

describe('a line that is cut', () => {
  it('is taken up again, again and again, without losing or repeating an event', async () => {
    const server = await start('ticks', {}, ticks);
    const { url, cuts } = await cutting(server.url, 1_500, 4);
    const waits: number[] = [];
    const events = await all(
      streamClaude(url, { ...hi, fetch: atOnce, onReconnect: (wait) => waits.push(wait) }),
    );
    expect(cuts()).toBe(4);
    expect(waits).toHaveLength(4);
    expect(numbersOf(events)).toEqual(upTo(events.length));
    expect(events.at(-1)).toMatchObject({ kind: 'outcome', outcome: { status: 'success' } });
    expect(server.pids).toHaveLength(1);
  });

  it.each(formatNames)('is taken up again in the format %s', async (format) => {
    const server = await start('ticks', { format }, ticks);
    const { url, cuts } = await cutting(server.url, 1_500, 2);
    const body = { ...bodies[format], stream: true };
    const reduce = messageReducer(format);
    let message = emptyMessage;
    for await (const event of streamClaude(url, { format, body, fetch: atOnce })) {
      message = reduce(event);
    }
    expect(cuts()).toBe(2);
    expect(wordsOf(message, 'text').trim().split(/\s+/)).toHaveLength(20);
    expect(message.outcome).toMatchObject({ status: 'success' });
    expect(server.pids).toHaveLength(1);
  });

  it('is an error where nothing is kept', async () => {
    const server = await start('ticks', { store: undefined }, ticks);
    const { url } = await cutting(server.url, 1_500, 1);
    const waits: number[] = [];
    const reading = all(streamClaude(url, { ...hi, onReconnect: (wait) => waits.push(wait) }));
    await expect(reading).rejects.toThrow();
    expect(waits).toEqual([]);
    expect(server.pids).toHaveLength(1);
  });

  it('is an error after so many attempts in vain', async () => {
    const asked: string[] = [];
    const waits: number[] = [];
    const url = await answering(({ method = '' }, response) => {
      asked.push(method);
      if (method !== 'POST') {
        response.writeHead(503).end('{"error":{"code":"store_unavailable","message":"Not now."}}');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
    });
    const seen: ClaudeEvent[] = [];
    const reading = (async () => {
      const options = { ...hi, retries: 3, onReconnect: (wait: number) => waits.push(wait) };
      for await (const event of streamClaude(url, options)) seen.push(event);
    })();
    await expect(reading).rejects.toMatchObject({ status: 503, serverCode: 'store_unavailable' });
    expect(asked).toEqual(['POST', 'GET', 'GET', 'GET']);
    // Not sooner than after 100 ms, and each wait is twice the one before, give or take a quarter.
    expect(waits).toHaveLength(3);
    for (const [index, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(75 * 2 ** index);
      expect(wait).toBeLessThanOrEqual(125 * 2 ** index);
    }
    expect(seen).toHaveLength(1);
  });

  it('is not better for headers alone', async () => {
    let asked = 0;
    const url = await answering(({ method }, response) => {
      asked += 1;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (method !== 'POST') response.flushHeaders();
      else response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {}\n\n');
    });
    // Longer than what counts as lasting.
    const reading = all(streamClaude(url, { ...hi, retries: 1, idleTimeout: 5_100 }));
    await expect(reading).rejects.toMatchObject({ code: 'stream_cut' });
    expect(asked).toBe(2);
  });

  it('without a word is taken up again, too', async () => {
    const asked: string[] = [];
    const url = await answering(({ method = '', headers }, response) => {
      asked.push(`${method} ${headers['last-event-id'] ?? ''}`);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (method === 'POST') {
        response.write('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
      } else response.end('event: outcome\nid: r:2\ndata: {"status":"success"}\n\n');
    });
    const reasons: unknown[] = [];
    const onReconnect = (_wait: number, reason: unknown) => reasons.push(reason);
    const events = await all(streamClaude(url, { ...hi, idleTimeout: 200, onReconnect }));
    expect(numbersOf(events)).toEqual([1, 2]);
    expect(asked).toEqual(['POST ', 'GET r:1']);
    expect(reasons).toMatchObject([
      {
        code: 'stream_cut',
        message: 'Nothing has come for 0.2 s, not even a keep-alive comment.',
      },
    ]);
  });

  it('is not one that is quiet but for its comments', async () => {
    const url = await answering(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let comment = 0; comment < 12; comment++) {
        response.write(': keep-alive\n\n');
        await delay(100);
      }
      response.end('event: outcome\nid: r:1\ndata: {"status":"success"}\n\n');
    });
    expect(await all(streamClaude(url, { ...hi, idleTimeout: 1_000 }))).toHaveLength(1);
  });

  it('before the answer has begun is an error, and the question is not sent again', async () => {
    let asked = 0;
    const url = await answering(() => {
      asked += 1;
    });
    const reading = all(streamClaude(url, { ...hi, idleTimeout: 100 }));
    await expect(reading).rejects.toMatchObject({ name: 'ClientError', code: 'stream_cut' });
    expect(asked).toBe(1);
  });

  it('is an error when the server has nothing more, and the end has not come', async () => {
    const url = await answering(({ method }, response) => {
      if (method !== 'POST') {
        response.writeHead(204).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
    });
    await expect(all(streamClaude(url, hi))).rejects.toMatchObject({
      code: 'stream_cut',
      status: 204,
    });
  });

  it('has come back in vain when nothing new has come', async () => {
    let asked = 0;
    const url = await answering((_request, response) => {
      asked += 1;
      response.writeHead(200, { 'content-type': 'text/event-stream', 'claude-run-id': 'r' });
      response.end('retry: 1\nid: r:0\n\nevent: failure\ndata: {"code":"store_unavailable"}\n\n');
    });
    await expect(all(streamClaude(url, { ...hi, retries: 2 }))).rejects.toMatchObject({
      code: 'stream_cut',
    });
    expect(asked).toBe(3);
  });

  it.each(['onBytes', 'onRun'])('is not what %s throws', async (name) => {
    let asked = 0;
    const url = await answering((_request, response) => {
      asked += 1;
      response.writeHead(200, { 'content-type': 'text/event-stream', 'claude-run-id': 'r' });
      response.write('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {}\n\n');
    });
    const fail = () => {
      throw new Error('My own.');
    };
    await expect(all(streamClaude(url, { ...hi, [name]: fail }))).rejects.toThrow('My own.');
    expect(asked).toBe(1);
  });

  it.each([
    ['404 of a proxy', 404, 'text/html', '<html>default backend - 404</html>'],
    ['408', 408, 'text/plain', ''],
    ['login page of the network', 200, 'text/html', '<html>Welcome</html>'],
  ])('is taken up again after a %s', async (_what, status, type, page) => {
    const asked: string[] = [];
    const url = await answering(({ method = '' }, response) => {
      asked.push(method);
      if (asked.length === 2) {
        response.writeHead(status, { 'content-type': type }).end(page);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (method === 'POST') {
        response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
      } else response.end('event: outcome\nid: r:2\ndata: {"status":"success"}\n\n');
    });
    expect(numbersOf(await all(streamClaude(url, hi)))).toEqual([1, 2]);
    expect(asked).toEqual(['POST', 'GET', 'GET']);
  });

  it.each([
    [401, '{}'],
    [403, '{}'],
    [400, '{"error":{"code":"invalid_request","message":"No."}}'],
    [410, ''],
  ])('is an error at once when the server says %d', async (status, refusal) => {
    let asked = 0;
    const url = await answering(({ method }, response) => {
      asked += 1;
      if (method !== 'POST') {
        response.writeHead(status).end(refusal);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
    });
    await expect(all(streamClaude(url, hi))).rejects.toMatchObject({ status });
    expect(asked).toBe(2);
  });

  it('is an error at once when the run is gone', async () => {
    let asked = 0;
    const url = await answering(({ method }, response) => {
      asked += 1;
      if (method !== 'POST') {
        response.writeHead(404).end('{"error":{"code":"run_not_found","message":"Gone."}}');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
    });
    await expect(all(streamClaude(url, hi))).rejects.toBeInstanceOf(ClientError);
    expect(asked).toBe(2);
  });
});

describe('a run that has been begun elsewhere', () => {
  it('is gone on with after an event', async () => {
    const server = await start('ticks', {}, ticks);
    const whole = await all(streamClaude(server.url, hi));
    await allKept(server);
    const run = String(whole[4]?.id);
    expect(await all(streamClaude(server.url, { run }))).toEqual(whole.slice(5));
    const [runId = ''] = run.split(':');
    expect(await all(streamClaude(server.url, { run: runId }))).toEqual(whole);
  });

  it('has nothing more after its last event', async () => {
    const server = await start('ticks', {}, ticks);
    const whole = await all(streamClaude(server.url, hi));
    await allKept(server);
    expect(await all(streamClaude(server.url, { run: String(whole.at(-1)?.id) }))).toEqual([]);
    expect(server.pids).toHaveLength(1);
  });

  it.each([
    ['/chat?next=/a?b&token=T', '/chat/r?next=/a?b&token=T'],
    ['/chat/?a', '/chat/r?a'],
  ])('has the query of %s, whole', async (path, expected) => {
    let asked: string | undefined;
    const url = await answering(({ url: asking }, response) => {
      asked = asking;
      response.writeHead(204).end();
    });
    const { origin } = new URL(url);
    expect(await all(streamClaude(`${origin}${path}`, { run: 'r' }))).toEqual([]);
    expect(asked).toBe(expected);
  });

  it.each(['..', '.', '', 'a/b', 'r:x', '\ud800', 'a?b'])('is not asked for as %p', async (run) => {
    let asked = 0;
    const ask: typeof fetch = async () => {
      asked += 1;
      return new Response(null, { status: 204 });
    };
    const reading = all(streamClaude('/chat', { run, fetch: ask }));
    await expect(reading).rejects.toThrow('is no id of a run or an event.');
    expect(asked).toBe(0);
  });

  it.each([
    ['retries', Number.NaN],
    ['retries', -1],
    ['idleTimeout', Number.NaN],
    ['maxEventLength', Number.NaN],
  ])('takes no %s of %d', async (name, value) => {
    const reading = all(streamClaude('http://127.0.0.1:1', { run: 'r', [name]: value }));
    await expect(reading).rejects.toThrow(`${name} must be a number that is not negative`);
  });

  it('is asked for with the query of the URL and the headers', async () => {
    const seen: unknown[] = [];
    const url = await answering((request, response) => {
      seen.push(request.url, request.headers['x-user'], request.headers['last-event-id']);
      response.writeHead(204).end();
    });
    const headers = { 'x-user': 'ada' };
    await all(streamClaude(`${url}/?key=1`, { run: 'a-b:7', headers }));
    expect(seen).toEqual(['/chat/a-b?key=1', 'ada', 'a-b:7']);
  });
});

describe('to abort', () => {
  it('stops the run on the server, and throws the reason', async () => {
    const server = await start('silent', {}, { SILENCE: '60000' });
    const { signal, abort, onCancel, cancelled } = aborting();
    const reading = (async () => {
      for await (const _event of streamClaude(server.url, { ...hi, signal, onCancel })) {
        abort(new Error('The user has stopped it.'));
      }
    })();
    await expect(reading).rejects.toThrow('The user has stopped it.');
    expect(await server.nextOutcome()).toMatchObject({ code: 'cancelled' });
    expect(await cancelled).toEqual([]);
  });

  it('while the line is down stops the run when it is up again', async () => {
    const server = await start('silent', {}, { SILENCE: '60000' });
    let isDown = false;
    const tries: unknown[] = [];
    const down: typeof fetch = async (input, init) => {
      if (init?.method === 'DELETE') tries.push(isDown);
      if (!isDown) return fetch(input, init);
      isDown = false;
      throw new TypeError('fetch failed');
    };
    const { signal, abort, onCancel, cancelled } = aborting();
    const reading = (async () => {
      const options = { ...hi, signal, onCancel, fetch: down };
      for await (const _event of streamClaude(server.url, options)) {
        isDown = true;
        abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await cancelled).toEqual([]);
    expect(tries).toEqual([true, false]);
    expect(await server.nextOutcome()).toMatchObject({ code: 'cancelled' });
  });

  it.each([
    ['is refused', 403, '{"error":{"code":"not_authorized","message":"Not yours."}}', 'Not yours.'],
    ['has no route', 404, 'Cannot DELETE /chat/r', 'Cannot DELETE /chat/r'],
    ['is over', 404, '{"error":{"code":"run_not_found","message":"Gone."}}', undefined],
    ['is not kept', 410, '{"error":{"code":"run_expired","message":"Gone."}}', undefined],
    ['is being stopped', 202, '{}', undefined],
  ])('tells what became of a run that %s', async (_what, status, refusal, message) => {
    const url = await answering(({ method }, response) => {
      if (method === 'DELETE') {
        response.writeHead(status).end(refusal);
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {}\n\n');
    });
    const { signal, abort, onCancel, cancelled } = aborting();
    const reading = (async () => {
      for await (const _event of streamClaude(url, { ...hi, signal, onCancel })) abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    const [told] = await cancelled;
    if (message === undefined) expect(told).toBeUndefined();
    else expect(told).toMatchObject({ code: 'http_error', status, message });
  });

  it('asks for a run that nothing keeps, too, and it is over without a route', async () => {
    const url = await answering(({ method }, response) => {
      if (method === 'DELETE') {
        response.writeHead(404).end('Cannot DELETE /chat/r');
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream', 'claude-run-id': 'r' });
      response.write('event: system\ndata: {}\n\n');
    });
    const { signal, abort, onCancel, cancelled } = aborting();
    const reading = (async () => {
      for await (const _event of streamClaude(url, { ...hi, signal, onCancel })) abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await cancelled).toEqual([]);
  });

  it.each([
    ['is not known before its answer has begun', false],
    ['is not known before its first event', true],
  ])('tells that a run that %s may go on', async (_what, isEarly) => {
    const asked: string[] = [];
    const { signal, abort, onCancel, cancelled } = aborting();
    const url = await answering(({ method = '' }, response) => {
      asked.push(method);
      const begin = () => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(': keep-alive\n\n');
      };
      if (isEarly) begin();
      else {
        abort();
        setImmediate(begin);
      }
    });
    const onBytes = () => abort();
    const reading = all(streamClaude(url, { ...hi, signal, onCancel, onBytes }));
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await cancelled).toMatchObject([{ code: 'run_unknown' }]);
    expect(asked).toEqual(['POST']);
  });

  it('asks for no path that a header names', async () => {
    const asked: unknown[] = [];
    const { signal, abort, onCancel, cancelled } = aborting();
    const url = await answering(({ method, url: path }, response) => {
      asked.push(`${method} ${path}`);
      abort();
      setImmediate(() => {
        const headers = { 'content-type': 'text/event-stream', 'claude-run-id': '../admin?x=' };
        response.writeHead(200, headers).write(': keep-alive\n\n');
      });
    });
    await expect(all(streamClaude(url, { ...hi, signal, onCancel }))).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await cancelled).toMatchObject([{ code: 'run_unknown' }]);
    expect(asked).toEqual(['POST /chat']);
  });

  it.each([
    ['was refused', 429],
    ['is not there', 404],
  ])('tells of no run where the question %s', async (_what, status) => {
    const { signal, abort, onCancel, cancelled } = aborting();
    const url = await answering((_request, response) => {
      abort();
      setImmediate(() => response.writeHead(status).end('{}'));
    });
    await expect(all(streamClaude(url, { ...hi, signal, onCancel }))).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await cancelled).toEqual([]);
  });

  it('does not take the page of another for an answer', async () => {
    let deletes = 0;
    const { signal, abort, onCancel, cancelled } = aborting();
    const url = await answering(({ method }, response) => {
      if (method !== 'DELETE') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write('retry: 1\nid: r:0\n\nevent: system\nid: r:1\ndata: {}\n\n');
        return;
      }
      deletes += 1;
      const type = deletes === 1 ? 'text/html' : 'application/json';
      response.writeHead(200, { 'content-type': type }).end('{}');
    });
    const reading = (async () => {
      for await (const _event of streamClaude(url, { ...hi, signal, onCancel })) abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await cancelled).toEqual([]);
    expect(deletes).toBe(2);
  });

  it.each(['claude', 'openai'] as const)('at the last event is too late (%s)', async (format) => {
    const asked: string[] = [];
    const chunk = 'id: r:1\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n';
    const stream = {
      claude: 'retry: 1\n\nevent: outcome\nid: r:1\ndata: {"status":"success"}\n\n',
      openai: `retry: 1\n\n${chunk}data: [DONE]\n\n`,
    };
    const url = await answering(({ method = '' }, response) => {
      asked.push(method);
      response.writeHead(200, { 'content-type': 'text/event-stream', 'claude-run-id': 'r' });
      response.end(stream[format]);
    });
    const { signal, abort, onCancel, cancelled } = aborting();
    let events = 0;
    const body = { stream: true };
    for await (const _event of streamClaude(url, { body, format, signal, onCancel })) {
      events += 1;
      abort();
    }
    expect(await cancelled).toEqual([]);
    expect(events).toBe(1);
    expect(asked).toEqual(['POST']);
  });

  it('only closes the connection where that was asked for', async () => {
    const server = await start('silent', {}, { SILENCE: '300' });
    const { signal, abort } = aborting();
    const options = { ...hi, signal, cancelOnAbort: false };
    const reading = (async () => {
      for await (const _event of streamClaude(server.url, options)) abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await server.nextOutcome()).toMatchObject({ status: 'success' });
  });

  it('ends the wait for another attempt', async () => {
    const url = await answering(({ method }, response) => {
      if (method === 'DELETE') {
        response.writeHead(200).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('retry: 60000\nid: r:0\n\nevent: system\nid: r:1\ndata: {"type":"system"}\n\n');
    });
    const { signal, abort, onCancel, cancelled } = aborting();
    const onReconnect = () => setImmediate(abort);
    const reading = all(streamClaude(url, { ...hi, signal, onReconnect, onCancel }));
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(await cancelled).toEqual([]);
  });

  it('before the answer has begun throws at once, and stops the run when its id comes', async () => {
    const { signal, abort, onCancel, cancelled } = aborting();
    let tell: (url: string) => void;
    const cancel = new Promise<string>((resolve) => {
      tell = resolve;
    });
    let answer = () => {};
    const url = await answering(({ method, url: path = '' }, response) => {
      if (method === 'DELETE') {
        response.end();
        tell(path);
        return;
      }
      answer = () => {
        response.writeHead(200, { 'content-type': 'text/event-stream', 'claude-run-id': 'late' });
        response.write(': keep-alive\n\n');
      };
      abort();
    });
    await expect(all(streamClaude(url, { ...hi, signal, onCancel }))).rejects.toMatchObject({
      name: 'AbortError',
    });
    answer();
    expect(await cancel).toBe('/chat/late');
    expect(await cancelled).toEqual([]);
  });

  it('ends the loop at that event, whatever has come with it', async () => {
    const url = await answering((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(
        'event: system\nid: r:1\ndata: {}\n\nevent: outcome\nid: r:2\ndata: {"status":"success"}\n\n',
      );
    });
    const { signal, abort, onCancel, cancelled } = aborting();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of streamClaude(url, { ...hi, signal, onCancel })) {
        seen.push(event);
        abort();
      }
    })();
    await expect(reading).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen).toHaveLength(1);
    await cancelled;
  });

  it('before it has begun sends nothing', async () => {
    const server = await start('ticks');
    const signal = AbortSignal.abort();
    await expect(all(streamClaude(server.url, { ...hi, signal }))).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(server.pids).toEqual([]);
  });
});

it('to leave the loop closes the connection, and the run goes on', async () => {
  const server = await start('silent', {}, { SILENCE: '300' });
  for await (const _event of streamClaude(server.url, hi)) break;
  while ((await server.handler.runs())[0]?.clients !== 0) await delay(5);
  expect(await server.nextOutcome()).toMatchObject({ status: 'success' });
});
