import { readEvents } from '../../lib/client.js';
import { all, formatNames, responseOf, streamOf } from './support.js';

describe.each(formatNames)('a stream of the format %s', (format) => {
  it.each(['hello', 'read', 'think', 'not-logged-in'])(
    '%s: has the data of every event',
    async (name) => {
      const stream = streamOf(name, format);
      const events = await all(readEvents(responseOf([stream]), { format }));
      const datas = stream
        .split('\n')
        .filter((line) => line.startsWith('data: {'))
        .map((line) => JSON.parse(line.slice('data: '.length)));
      expect(events).toHaveLength(datas.length);
      events.forEach((event, index) => {
        const { id, ...rest } = event;
        expect(id).toBe(`run:${index + 1}`);
        expect(Object.values(rest)).toContainEqual(datas[index]);
      });
    },
  );

  it('is the same wherever it is cut into pieces', async () => {
    const stream = Buffer.from(`: keep-alive\n\n${streamOf('hello', format)}`);
    const whole = await all(readEvents(responseOf([stream]), { format }));
    const bytes = Array.from(stream, (_byte, index) => stream.subarray(index, index + 1));
    expect(await all(readEvents(responseOf(bytes), { format }))).toEqual(whole);
  });

  it.each(['{"half', 'null', '"words"'])('of which an event is %s is an error', async (data) => {
    const stream = `event: outcome\ndata: ${data}\n\n`;
    const reading = all(readEvents(responseOf([stream]), { format }));
    await expect(reading).rejects.toMatchObject({
      name: 'ClientError',
      code: 'malformed_event',
      message: `An event is no JSON object: ${data}`,
    });
  });

  it('tells when the last event has come', async () => {
    const seen: unknown[] = [];
    const told: number[] = [];
    const options = { format, onLast: () => told.push(seen.length) };
    const stream = streamOf('hello', format);
    for await (const event of readEvents(responseOf([stream]), options)) seen.push(event);
    expect(told).toEqual([seen.length - 1]);
  });

  it('has what came before a last event that is none', async () => {
    const stream = streamOf('hello', format);
    const last = stream.lastIndexOf('data: ');
    const broken = `${stream.slice(0, last)}data: {"half\n\n`;
    const seen: unknown[] = [];
    const whole = await all(readEvents(responseOf([stream]), { format }));
    const reading = (async () => {
      for await (const event of readEvents(responseOf([broken]), { format })) seen.push(event);
    })();
    await expect(reading).rejects.toMatchObject({ code: 'malformed_event' });
    // Where the end is no event, all of them have come.
    expect(whole.length - seen.length).toBe(stream.includes('[DONE]') ? 0 : 1);
  });

  it('that ends before its last event is an error, after what it had', async () => {
    const stream = streamOf('hello', format);
    const cut = stream.slice(0, stream.lastIndexOf('\n\n', stream.length - 3) + 2);
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of readEvents(responseOf([cut]), { format })) seen.push(event);
    })();
    await expect(reading).rejects.toMatchObject({ name: 'ClientError', code: 'stream_cut' });
    expect(seen.length).toBeGreaterThan(5);
  });
});

describe('the events of the format claude', () => {
  const read = (stream: string) => all(readEvents(responseOf([stream])));
  const end = 'event: outcome\nid: r:9\ndata: {"status":"success"}\n\n';

  it('are told apart by what they are', async () => {
    const stream = [
      'event: queue\nid: r:1\ndata: {"position":2}\n\n',
      'event: system\nid: r:2\ndata: {"type":"system","subtype":"init"}\n\n',
      'event: gap\ndata: {"code":"events_lost","message":"Gone.","first":3,"last":8}\n\n',
      'event: failure\ndata: {"code":"store_unavailable","message":"Not now."}\n\n',
      end,
    ].join('');
    expect(await read(stream)).toEqual([
      { kind: 'queue', id: 'r:1', position: 2 },
      { kind: 'message', id: 'r:2', message: { type: 'system', subtype: 'init' } },
      { kind: 'gap', code: 'events_lost', message: 'Gone.', first: 3, last: 8 },
      { kind: 'failure', code: 'store_unavailable', message: 'Not now.' },
      { kind: 'outcome', id: 'r:9', outcome: { status: 'success' } },
    ]);
  });

  it('end with the outcome, whatever follows', async () => {
    expect(await read(`${end}event: system\ndata: {"type":"late"}\n\n`)).toHaveLength(1);
  });

  it.each([
    ['ends the connection in order', 1, false],
    ['closes a connection that stays open', 0, true],
  ])('after the outcome it %s', async (_what, ends, isClosed) => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(Buffer.from(end));
        if (ends) controller.close();
      },
      cancel: () => {
        cancelled = true;
      },
    });
    const began = performance.now();
    expect(await all(readEvents(body))).toHaveLength(1);
    expect(cancelled).toBe(isClosed);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

describe('the line', () => {
  it('tells of everything that comes, comments too', async () => {
    const seen: number[] = [];
    const response = responseOf([': keep-alive\n\n', streamOf('hello', 'claude')]);
    await all(readEvents(response, { onBytes: (bytes) => seen.push(bytes) }));
    expect(seen[0]).toBe(14);
    expect(seen.length).toBeGreaterThan(1);
  });

  it('tells when to come back', async () => {
    const waits: number[] = [];
    const response = responseOf([`retry: 250\nid: run:0\n\n${streamOf('hello', 'claude')}`]);
    await all(readEvents(response, { onRetry: (ms) => waits.push(ms) }));
    expect(waits).toEqual([250]);
  });

  it('is closed when the loop is left', async () => {
    let isClosed = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) =>
        controller.enqueue(Buffer.from('event: system\ndata: {"type":"a"}\n\n')),
      cancel: () => {
        isClosed = true;
      },
    });
    for await (const event of readEvents(body)) {
      expect(event).toMatchObject({ kind: 'message' });
      break;
    }
    expect(isClosed).toBe(true);
  });

  it.each([
    ['event without an end', 'data: {"type":"a"}\ndata: '],
    ['line without an end', 'data: '],
  ])('of which an %s comes is closed, after what came before', async (_what, begin) => {
    let isClosed = false;
    let pulls = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const first = pulls === 0 ? `event: system\ndata: {"type":"a"}\n\n${begin}` : '';
        pulls += 1;
        controller.enqueue(Buffer.from(`${first}${'x'.repeat(1_000)}`));
      },
      cancel: () => {
        isClosed = true;
      },
    });
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of readEvents(body, { maxEventLength: 10_000 })) seen.push(event);
    })();
    await expect(reading).rejects.toMatchObject({
      code: 'malformed_event',
      message: 'An event is longer than 10000 characters (maxEventLength).',
    });
    expect(seen).toHaveLength(1);
    expect(isClosed).toBe(true);
    expect(pulls).toBeLessThan(20);
  });

  it('that breaks is an error of its own', async () => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new TypeError('terminated')),
    });
    await expect(all(readEvents(body))).rejects.toThrow('terminated');
  });
});

describe('an answer that is no stream', () => {
  const json = { 'content-type': 'application/json' };

  it('with 204 has no events', async () => {
    expect(await all(readEvents(new Response(null, { status: 204 })))).toEqual([]);
  });

  it.each([
    ['{"error":{"code":"queue_full","message":"Too many."}}', 'Too many.', 'queue_full'],
    ['{"error":{"message":"No key.","type":"x","code":null}}', 'No key.', undefined],
    ['<html>Bad gateway</html>', '<html>Bad gateway</html>', undefined],
    ['{}', '{}', undefined],
    ['', '503 Nope', undefined],
  ])('but an error says what the server says: %s', async (body, message, serverCode) => {
    const response = new Response(body, { status: 503, statusText: 'Nope', headers: json });
    await expect(all(readEvents(response))).rejects.toMatchObject({
      code: 'http_error',
      status: 503,
      message,
      serverCode,
    });
  });

  it.each([
    ['goes on for ever', false],
    ['stops in the middle', true],
  ])('but an error whose text %s is closed', async (_what, isSilent) => {
    let isClosed = false;
    let bytes = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (isSilent && bytes > 0) return new Promise<void>(() => {});
        bytes += 10_000;
        controller.enqueue(Buffer.from('No. '.repeat(2_500)));
      },
      cancel: () => {
        isClosed = true;
      },
    });
    const response = new Response(body, { status: 502 });
    await expect(all(readEvents(response, { idleTimeout: 50 }))).rejects.toMatchObject({
      code: 'http_error',
      message: expect.stringMatching(/^No\. No/),
    });
    expect(isClosed).toBe(true);
    expect(bytes).toBeLessThan(100_000);
  });

  it('but something else is no stream', async () => {
    const response = new Response('{}', { headers: json });
    await expect(all(readEvents(response))).rejects.toMatchObject({
      code: 'not_a_stream',
      message: expect.stringContaining('application/json'),
    });
  });
});
