import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { type EventStreamOptions, sendEventStream } from '../../lib/sse/eventStream';
import { FrameLog } from '../../lib/sse/frameLog';
import { activeTimers, type Exchange, endExchanges, startExchange } from './streamServer';

afterEach(endExchanges);

const COMMENT = ': keep-alive\n\n';

const quiet: EventStreamOptions = { keepAlive: false, stallTimeout: false };

/** A source that the test writes to. */
function source(): PassThrough {
  return new PassThrough();
}

/** The headers and the body of a response with chunked transfer coding. */
function parse(text: string): { status: string; headers: Record<string, string>; body: string } {
  const end = text.indexOf('\r\n\r\n');
  const [status = '', ...fields] = text.slice(0, end).split('\r\n');
  const headers = Object.fromEntries(
    fields.map((field) => field.split(/: (.*)/s, 2) as [string, string]),
  );
  const body = text.slice(end + 4).replace(/[0-9a-f]+\r\n([\s\S]*?)\r\n(?=[0-9a-f]|$)/g, '$1');
  return { status, headers, body: body.replace(/\r\n$/, '') };
}

const complete = (text: string) => text.endsWith('0\r\n\r\n');

describe('the response', () => {
  test('has exactly the headers of an event stream', async () => {
    const { response, read } = await startExchange();
    sendEventStream(response, Readable.from([]), quiet, () => {});
    const { status, headers } = parse(await read(complete));
    expect(status).toBe('HTTP/1.1 200 OK');
    const { Date: _, ...rest } = headers;
    expect(rest).toEqual({
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache, no-transform',
      'X-Accel-Buffering': 'no',
      Connection: 'keep-alive',
      'Keep-Alive': 'timeout=5',
      'Transfer-Encoding': 'chunked',
    });
  });

  test('keeps the headers that were set before', async () => {
    const { response, read } = await startExchange();
    response.setHeader('X-Earlier', 'kept');
    sendEventStream(response, Readable.from([]), quiet, () => {});
    expect(parse(await read(complete)).headers).toMatchObject({ 'X-Earlier': 'kept' });
  });

  test('begins at once, with a comment, before there is a frame', async () => {
    const { response, read } = await startExchange();
    sendEventStream(response, source(), quiet, () => {});
    expect(parse(await read((text) => text.includes('keep-alive\n\n'))).body).toBe(COMMENT);
  });

  test('tells the position when it is given, before any frame', async () => {
    const { response, read } = await startExchange();
    const frames = Readable.from([Buffer.from('data: a\n\n')]);
    sendEventStream(
      response,
      frames,
      { ...quiet, position: { id: 'run:7', retry: 1_000 } },
      () => {},
    );
    expect(parse(await read(complete)).body).toBe(
      `${COMMENT}retry: 1000\nid: run:7\n\ndata: a\n\n`,
    );
  });

  test('tells none when none is given', async () => {
    const { response, read } = await startExchange();
    sendEventStream(response, Readable.from([Buffer.from('data: a\n\n')]), quiet, () => {});
    expect(parse(await read(complete)).body).toBe(`${COMMENT}data: a\n\n`);
  });

  test('passes the frames on as they come', async () => {
    const { response, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, quiet, () => {});
    frames.write('data: a\n\n');
    await read((text) => text.includes('data: a\n\n'));
    frames.write('data: Grüße 🌍\n\n');
    await read((text) => text.includes('🌍\n\n'));
    frames.end('data: c\n\n');
    expect(parse(await read(complete)).body).toBe(
      `${COMMENT}data: a\n\ndata: Grüße 🌍\n\ndata: c\n\n`,
    );
  });

  test('ends right after the last frame', async () => {
    const { response, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, { keepAlive: 60_000, stallTimeout: 60_000 }, () => {});
    const started = performance.now();
    frames.end('data: last\n\n');
    await read(complete);
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(response.writableFinished).toBe(true);
  });

  test('gets a keep-alive comment between two frames while nothing comes', async () => {
    const { response, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, { ...quiet, keepAlive: 20 }, () => {});
    frames.write('data: a\n\n');
    await read((text) => text.split(COMMENT).length > 3);
    frames.end('data: b\n\n');
    expect(parse(await read(complete)).body).toMatch(
      /^: keep-alive\n\ndata: a\n\n(: keep-alive\n\n){2,}data: b\n\n$/,
    );
  });
});

describe('a client that never reads', () => {
  /** Frames that hardly end, and how many bytes of them were taken. */
  function endless() {
    const counter = { taken: 0 };
    const text = `data: ${'x'.repeat(64 * 1024)}\n\n`;
    const frames = new Readable({
      read() {
        counter.taken += text.length;
        this.push(counter.taken < 64 * 2 ** 20 ? text : null);
      },
    });
    return { frames, counter };
  }

  test('is cut off after stallTimeout, and the source with it', async () => {
    const { response, client } = await startExchange();
    client.pause();
    const { frames, counter } = endless();
    const onStall = jest.fn();
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 200 }, onStall);
    await once(frames, 'close');
    expect(onStall).toHaveBeenCalledTimes(1);
    expect(response.destroyed).toBe(true);
    expect(counter.taken).toBeLessThan(16 * 2 ** 20);
    expectNothingLeft({ response });
  });

  test('is cut off also when it is only the end that it does not read', async () => {
    const { response, client } = await startExchange();
    client.pause();
    const onStall = jest.fn();
    const frames = Readable.from([Buffer.from(`data: ${'x'.repeat(32 * 2 ** 20)}\n\n`)]);
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 200 }, onStall);
    await once(response, 'close');
    expect(onStall).toHaveBeenCalledTimes(1);
    expectNothingLeft({ response });
  });

  test('but goes on in time loses nothing', async () => {
    const { response, client, read } = await startExchange();
    client.pause();
    const log = new FrameLog('run', { maxBytes: 2 ** 30, onDrain: () => {} });
    const frames = log.reader(65_536);
    for (let number = 1; number <= 200; number++) log.append('x'.repeat(64 * 1024));
    log.end();
    sendEventStream(response, frames, { keepAlive: 5, stallTimeout: 60_000 }, () => {});
    await once(frames, 'pause');
    const text = await read(complete);
    const numbers = [...text.matchAll(/^id: run:(\d+)$/gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  });
});

describe('nothing is left', () => {
  test('after the last frame', async () => {
    const { response, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 10 }, () => {});
    frames.end('data: a\n\n');
    await Promise.all([read(complete), once(response, 'close')]);
    expectNothingLeft({ response });
  });

  test('of a client that goes away, nor of its source', async () => {
    const { response, client, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 10 }, () => {});
    await read((text) => text.includes(COMMENT));
    client.destroy();
    await once(frames, 'close');
    expectNothingLeft({ response });
  });

  test('of a response that is destroyed already, nor of its source', async () => {
    const { response, client } = await startExchange();
    client.destroy();
    await once(response, 'close');
    const frames = source();
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 10 }, () => {});
    expect(frames.destroyed).toBe(true);
    expectNothingLeft({ response });
  });

  test('when the source fails: the client sees that the stream was cut', async () => {
    const { response, read } = await startExchange();
    const frames = source();
    sendEventStream(response, frames, { keepAlive: 10, stallTimeout: 10 }, () => {});
    await read((text) => text.includes(COMMENT));
    frames.destroy(new Error('The log is gone.'));
    expect(complete(await read(() => false))).toBe(false);
    expectNothingLeft({ response });
  });

  test('of the clocks: none keeps the server alive', async () => {
    const { response, read } = await startExchange();
    const timers = activeTimers();
    sendEventStream(response, source(), { keepAlive: 60_000, stallTimeout: 60_000 }, () => {});
    await read((text) => text.includes(COMMENT));
    expect(activeTimers()).toBe(timers);
  });
});

/** A late error must still find a listener; everything else is gone. */
function expectNothingLeft({ response }: Pick<Exchange, 'response'>): void {
  expect(response.listenerCount('drain')).toBe(0);
  expect(response.listenerCount('close')).toBe(0);
}
