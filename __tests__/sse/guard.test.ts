import type { ServerResponse } from 'node:http';
import { GuardedWriter } from '../../lib/sse/guard';
import { endExchanges, startExchange } from './streamServer';

afterEach(endExchanges);

/** A writer to a client that reads nothing until it is told to, and what the writer called. */
async function start(stallTimeout: number | false = false) {
  const exchange = await startExchange();
  exchange.client.pause();
  const onDrain = jest.fn();
  const drained = new Promise<void>((resolve) => {
    onDrain.mockImplementation(resolve);
  });
  const onStall = jest.fn();
  const stalled = new Promise<void>((resolve) => {
    onStall.mockImplementation(resolve);
  });
  const writer = new GuardedWriter(exchange.response, stallTimeout, { onDrain, onStall });
  return { ...exchange, writer, onDrain, drained, onStall, stalled };
}

/** Writes more than Node and the kernel hold for a client. */
function fill(writer: GuardedWriter): void {
  writer.write(Buffer.alloc(32 * 2 ** 20, 'x'));
  expect(writer.blocked).toBe(true);
}

test('a client that keeps up is not blocked', async () => {
  const { writer, read } = await start();
  writer.write(Buffer.from('data: a\n\n'));
  expect(writer.blocked).toBe(false);
  expect(await read((text) => text.includes('data: a\n\n'))).toContain('data: a');
});

test('a client that does not read is blocked until it does', async () => {
  const { writer, client, onDrain, drained } = await start();
  fill(writer);
  expect(onDrain).not.toHaveBeenCalled();
  client.resume();
  await drained;
  expect(writer.blocked).toBe(false);
  expect(onDrain).toHaveBeenCalledTimes(1);
});

test('a client that reads nothing for stallTimeout is given up on, once', async () => {
  const { writer, onStall, stalled } = await start(100);
  const started = performance.now();
  fill(writer);
  await stalled;
  expect(performance.now() - started).toBeGreaterThan(95);
  expect(onStall).toHaveBeenCalledTimes(1);
});

test('a client that reads a long text slowly, but steadily, is not given up on', async () => {
  const { writer, client, onStall, drained } = await start(400);
  fill(writer);
  const started = performance.now();
  // About 30 MiB in 1.2 s: no longer pause than 50 ms, while the whole takes three times the stall timeout.
  const sips = setInterval(() => client.read(1_300_000), 50);
  await drained;
  clearInterval(sips);
  expect(performance.now() - started).toBeGreaterThan(800);
  expect(onStall).not.toHaveBeenCalled();
  writer.release();
});

test('a client that does not take the end of its answer is given up on', async () => {
  const { writer, onStall, stalled } = await start(100);
  writer.end();
  await stalled;
  expect(onStall).toHaveBeenCalledTimes(1);
});

test('the end waits for the rest of a long text, which arrives to the byte', async () => {
  const { writer, response, client, read } = await start();
  // Two bytes before, so that the slices cut characters of four.
  const text = `é${'🌍'.repeat(400_000)}`;
  writer.write(Buffer.from(text));
  writer.end();
  expect(response.writableEnded).toBe(false);
  client.resume();
  const received = await read((all) => all.endsWith('0\r\n\r\n'));
  const arrived = received.match(/[é🌍]/gu)?.join('');
  expect(arrived === text).toBe(true);
});

describe('a long text', () => {
  const LONGEST = 2 ** 16;

  /** The slices in which a client that keeps up gets it. */
  async function slicesOf(text: string): Promise<string[]> {
    const { writer, response } = await start();
    const slices: string[] = [];
    response.write = ((slice: Buffer) => slices.push(String(slice)) > 0) as ServerResponse['write'];
    writer.write(Buffer.from(text));
    return slices;
  }

  const frame = (length: number) => `data: ${'x'.repeat(length - 8)}\n\n`;

  test('goes out in slices that end where a frame ends', async () => {
    const frames = [10, 40_000, 30_000, LONGEST - 30_000, 20, LONGEST, 10].map(frame);
    const slices = await slicesOf(frames.join(''));
    expect(slices.map(({ length }) => length)).toEqual([40_010, LONGEST, 20, LONGEST, 10]);
    for (const slice of slices) expect(slice.endsWith('\n\n')).toBe(true);
    expect(slices.join('') === frames.join('')).toBe(true);
  });

  test('is cut within a frame only when that is longer than a slice', async () => {
    const frames = [10, 2 * LONGEST + 5, 10].map(frame);
    const slices = await slicesOf(frames.join(''));
    expect(slices.map(({ length }) => length)).toEqual([10, LONGEST, LONGEST, 15]);
    expect(slices.join('') === frames.join('')).toBe(true);
  });

  test('of one slice is not cut', async () => {
    const text = frame(10).repeat(6_000);
    expect(await slicesOf(text)).toEqual([text]);
  });
});

test('without stallTimeout there is no clock', async () => {
  const { writer } = await start(false);
  const set = jest.spyOn(globalThis, 'setTimeout');
  fill(writer);
  expect(set).not.toHaveBeenCalled();
  set.mockRestore();
});

describe('middleware that wraps write and forgets its answer', () => {
  function forgetAnswers(response: ServerResponse): void {
    const write = response.write.bind(response) as (text: string) => boolean;
    const forgetful = (text: string): void => {
      write(text);
    };
    response.write = forgetful as unknown as ServerResponse['write'];
  }

  test('does not make a client look blocked', async () => {
    const { writer, response } = await start();
    forgetAnswers(response);
    writer.write(Buffer.from('data: a\n\n'));
    expect(writer.blocked).toBe(false);
  });

  test('does not make a blocked client look free', async () => {
    const { writer, response, client, drained } = await start();
    forgetAnswers(response);
    fill(writer);
    client.resume();
    await drained;
    expect(writer.blocked).toBe(false);
  });
});

test('writing to a response that is closed or ended does nothing', async () => {
  const ended = await start();
  ended.response.end();
  ended.writer.write(Buffer.from('late'));
  const destroyed = await start();
  destroyed.response.destroy();
  destroyed.writer.write(Buffer.from('late'));
  expect([ended.writer.blocked, destroyed.writer.blocked]).toEqual([false, false]);
  ended.client.resume();
  expect(await ended.read((text) => text.includes('0\r\n'))).not.toContain('late');
});

test('released, it leaves no listener', async () => {
  const { writer, response } = await start();
  const before = response.listenerCount('drain');
  writer.release();
  expect(response.listenerCount('drain')).toBe(before - 1);
});

test('the clock of the last byte moves with every write', async () => {
  const { writer } = await start();
  const before = writer.lastWrite;
  await new Promise((resolve) => setImmediate(resolve));
  writer.write(Buffer.from('data: a\n\n'));
  expect(writer.lastWrite).toBeGreaterThan(before);
});
