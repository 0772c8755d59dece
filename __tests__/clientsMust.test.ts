import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import express from 'express';
import { type ClaudeStreamOptions, claudeStream } from '../lib';
import {
  allGone,
  type ChatServer,
  eventsOf,
  fixture,
  open,
  post,
  startChatServer,
} from './chatServer';

/** What CLIENTS.md demands of every format, row by row, as far as it takes a server and no real CLI. */
const formats = ['claude', 'openai'] as const;

let server: ChatServer | undefined;

afterEach(async () => {
  await server?.close();
  await allGone(server?.pids ?? [], 0);
  server = undefined;
});

const ask = { prompt: 'hi', stream: true };

/** A request of its own connection, whose answer is taken off the wire as it comes: headers, and the chunks of the body. */
async function wire(url: string, body: object): Promise<{ head: string; chunks: string[] }> {
  const { hostname, port, pathname } = new URL(url);
  const text = JSON.stringify(body);
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST ${pathname} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  const all = Buffer.concat(parts);
  const end = all.indexOf('\r\n\r\n');
  const chunks: string[] = [];
  for (let at = end + 4; ; ) {
    const lineEnd = all.indexOf('\r\n', at);
    const length = Number.parseInt(all.toString('latin1', at, lineEnd), 16);
    if (!(length > 0)) break;
    chunks.push(all.toString('utf8', lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
  return { head: all.toString('latin1', 0, end), chunks };
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

const delta = (text: string) => ({
  type: 'stream_event',
  parent_tool_use_id: null,
  event: { type: 'content_block_delta', delta: { type: 'text_delta', text } },
});

/** The text of a stream's deltas, in either format. */
function answerOf(stream: string): string {
  return eventsOf(stream)
    .filter(({ data }) => data !== '[DONE]')
    .map(({ data }) => JSON.parse(data))
    .map(({ choices, event }) => choices?.[0]?.delta?.content ?? event?.delta?.text ?? '')
    .join('');
}

describe.each(formats)('in the %s format', (format) => {
  const start = (
    name: string,
    options: ClaudeStreamOptions = {},
    env: Record<string, string> = {},
  ) => startChatServer(name, { format, ...options }, env);

  it('row 1: headers are flushed at the spawn, and a first comment at once', async () => {
    server = await start('mute');
    const response = await open(server.url, ask);
    expect(response.statusCode).toBe(200);
    expect(server.pids).toHaveLength(1);
    const [chunk] = await once(response, 'data');
    expect(String(chunk)).toBe(': keep-alive\n\n');
    response.destroy();
  });

  it('row 2: the headers are those that every hop needs, and no Content-Length', async () => {
    server = await start('ticks', {}, { TICKS: '1', INTERVAL: '1' });
    const { head } = await wire(server.url, ask);
    const lines = head.toLowerCase().split('\r\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        'http/1.1 200 ok',
        'content-type: text/event-stream; charset=utf-8',
        'cache-control: no-cache, no-transform',
        'x-accel-buffering: no',
        'transfer-encoding: chunked',
      ]),
    );
    expect(lines.filter((line) => /^(content-length|content-encoding|etag):/.test(line))).toEqual(
      [],
    );
  });

  it('row 3: silence is filled with comments, and never with data', async () => {
    server = await start('silent', { keepAlive: 40 }, { SILENCE: '500' });
    const { chunks } = await wire(server.url, ask);
    const text = chunks.join('');
    expect(text.split(': keep-alive\n\n').length).toBeGreaterThan(5);
    const events = eventsOf(text).filter(({ data }) => data !== '[DONE]');
    expect(events.map(({ data }) => data)).not.toContain('');
    for (const { data } of events) {
      if (format === 'openai') expect(JSON.parse(data)).toHaveProperty('choices');
      else expect(JSON.parse(data)).toEqual(expect.objectContaining({}));
    }
    const every = format === 'openai' ? /^data: / : /^event: [\w.-]+\nid: .+\ndata: /;
    for (const block of text.split('\n\n').filter((one) => one && one !== ': keep-alive')) {
      expect(block.replace(/^id: .+\n(?=data)/, '')).toMatch(every);
    }
  });

  it('row 4: every write ends on an event boundary, and data is one line', async () => {
    const said = 'one\ntwo\r\nthree\rfour\u2028five\u2029six\u0085seven';
    const MESSAGES = JSON.stringify([delta(said), delta('x'.repeat(400))]);
    server = await start('odd', { keepAlive: 5 }, { MESSAGES });
    const { chunks } = await wire(server.url, ask);
    expect(chunks.filter((chunk) => !chunk.endsWith('\n\n'))).toEqual([]);
    const text = chunks.join('');
    expect(text).not.toMatch(/[\r\u2028\u2029\u0085]/);
    for (const block of text.split('\n\n')) {
      expect(block.split('\n').filter((line) => line.startsWith('data:')).length).toBeLessThan(2);
    }
    expect(answerOf(text).startsWith(said)).toBe(true);
  });

  it('row 4: every write ends on an event boundary, also when there is much to write', async () => {
    server = await start('flood', {}, { BYTES: '3000000' });
    const { chunks } = await wire(server.url, ask);
    expect(chunks.join('').length).toBeGreaterThan(3_000_000);
    expect(chunks.filter((chunk) => !chunk.endsWith('\n\n'))).toHaveLength(0);
  });

  it('row 6: a client that leaves ends its run, streamed or not', async () => {
    server = await start('silent');
    const { url, pids, outcomes } = server;
    const streamed = await open(url, ask);
    await once(streamed, 'data');
    streamed.destroy();
    await allGone(pids, 3_000);

    const controller = new AbortController();
    const answer = fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...ask, stream: false }),
      signal: controller.signal,
    }).catch((error: Error) => error.name);
    while (pids.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    expect(await answer).toBe('AbortError');
    await allGone(pids, 3_000);
    while (outcomes.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(outcomes).toMatchObject([{ reason: 'disconnected' }, { reason: 'disconnected' }]);
  });

  it('row 6: a client that has read its body to the end has not left', async () => {
    server = await start('ticks', {}, { TICKS: '3', INTERVAL: '50' });
    await post(server.url, ask);
    await post(server.url, { ...ask, stream: false });
    expect(server.outcomes.map(({ status }) => status)).toEqual(['success', 'success']);
  });

  it('row 7: before the headers an error is a status and a JSON body in the shape of the format', async () => {
    server = await start('mute');
    const { status, headers, text } = await post(server.url, { ...ask, prompt: '' });
    expect(status).toBe(400);
    expect(headers.get('content-type')).toContain('application/json');
    const message = '"prompt" must not be empty.';
    expect(JSON.parse(text)).toEqual({
      error:
        format === 'openai'
          ? { message, type: 'invalid_request_error', param: 'prompt', code: 'invalid_prompt' }
          : { message, code: 'invalid_prompt' },
    });
  });

  it.each([
    ['dies', 'half-answer', {}],
    ['is killed', 'half-answer', { SIGNAL: 'SIGKILL' }],
    ['says nothing but stderr', 'stderr-only', {}],
  ])(
    'row 7: after them it is the event of the format, then the end: a process that %s',
    async (_what, name, env) => {
      server = await start(name, {}, env);
      const { head, chunks } = await wire(server.url, ask);
      expect(head).toMatch(/^HTTP\/1.1 200 /);
      const events = eventsOf(chunks.join(''));
      if (format === 'openai') {
        expect(events.at(-1)?.data).toBe('[DONE]');
        expect(JSON.parse(events.at(-2)?.data ?? '')).toEqual({
          error: expect.objectContaining({ code: 'crashed' }),
        });
      } else {
        expect(events.at(-1)?.event).toBe('outcome');
        expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({ status: 'crashed' });
      }
      expect(chunks.join('')).not.toMatch(/"finish_reason":"|"status":"success"/);
    },
  );

  it('row 8: the response ends at once after the last event', async () => {
    server = await start('lingering', { exitGrace: 150 });
    const response = await open(server.url, ask);
    let last = 0;
    response.on('data', (chunk: Buffer) => {
      if (/\[DONE\]|event: outcome/.test(String(chunk))) last = performance.now();
    });
    await once(response, 'end');
    expect(last).toBeGreaterThan(0);
    // The process is still there and has to be ended.
    expect(performance.now() - last).toBeLessThan(150);
  });

  it('row 9: a GET with Last-Event-ID never runs the prompt, and stops an EventSource', async () => {
    const pids: number[] = [];
    const handler = claudeStream({
      format,
      command: fixture('ticks'),
      request: () => ({ prompt: 'hi', stream: true }),
      onStart: ({ pid }) => void pids.push(pid),
    });
    const listening = express().get('/chat', handler).listen(0, '127.0.0.1');
    await once(listening, 'listening');
    const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}/chat`;
    for (const id of ['run:3', '', '0']) {
      const response = await fetch(url, { headers: { 'last-event-id': id } });
      expect([response.status, await response.text()]).toEqual([204, '']);
    }
    await handler.close();
    listening.closeAllConnections();
    await new Promise((resolve) => listening.close(resolve));
    expect(pids).toEqual([]);
  });
});

it.each([
  ['letters', 'x'.repeat(100_000)],
  ['surrogate pairs', `x${'🌍'.repeat(25_000)}`],
  ['control characters', '\u0001'.repeat(18_000)],
  ['line separators', '\u2028'.repeat(30_000)],
])(
  'row 5: in a chat format every line stays under 64 KiB, and no character is cut: %s',
  async (_what, said) => {
    const MESSAGES = JSON.stringify([delta(said)]);
    server = await startChatServer('odd', { format: 'openai' }, { MESSAGES });
    const text = await textOf(await open(server.url, ask));
    const longest = Math.max(...text.split('\n').map((line) => Buffer.byteLength(line)));
    expect(longest).toBeLessThan(65_536);
    expect(answerOf(text)).toBe(said);
  },
);
