import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { GuardedWriter } from '../../lib/sse/guard';
import { endExchanges, startExchange } from './streamServer';

afterEach(endExchanges);

/** A writer to a client that reads nothing until it is told to, and what the writer called. */
async function start(stallTimeout: number | false = false) {
  const exchange = await startExchange();
  exchange.client.pause();
  const onDrain = jest.fn();
  const onStall = jest.fn();
  const stalled = new Promise<void>((resolve) => {
    onStall.mockImplementation(resolve);
  });
  const writer = new GuardedWriter(exchange.response, stallTimeout, { onDrain, onStall });
  return { ...exchange, writer, onDrain, onStall, stalled };
}

/** Writes more than Node and the kernel hold for a client. */
function fill(writer: GuardedWriter): void {
  writer.write('x'.repeat(32 * 2 ** 20));
  expect(writer.blocked).toBe(true);
}

test('a client that keeps up is not blocked', async () => {
  const { writer, read } = await start();
  writer.write('data: a\n\n');
  expect(writer.blocked).toBe(false);
  expect(await read((text) => text.includes('data: a\n\n'))).toContain('data: a');
});

test('a client that does not read is blocked until it does', async () => {
  const { writer, response, client, onDrain } = await start();
  fill(writer);
  expect(onDrain).not.toHaveBeenCalled();
  client.resume();
  await once(response, 'drain');
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

test('a client that drains in time is not given up on', async () => {
  const { writer, response, client, onStall } = await start(60_000);
  const clear = jest.spyOn(globalThis, 'clearTimeout');
  fill(writer);
  clear.mockClear();
  client.resume();
  await once(response, 'drain');
  expect(clear).toHaveBeenCalledTimes(1);
  expect(onStall).not.toHaveBeenCalled();
  clear.mockRestore();
  writer.release();
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
    writer.write('data: a\n\n');
    expect(writer.blocked).toBe(false);
  });

  test('does not make a blocked client look free', async () => {
    const { writer, response, client } = await start();
    forgetAnswers(response);
    fill(writer);
    client.resume();
    await once(response, 'drain');
    expect(writer.blocked).toBe(false);
  });
});

test('writing to a response that is closed or ended does nothing', async () => {
  const ended = await start();
  ended.response.end();
  ended.writer.write('late');
  const destroyed = await start();
  destroyed.response.destroy();
  destroyed.writer.write('late');
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
  writer.write('data: a\n\n');
  expect(writer.lastWrite).toBeGreaterThan(before);
});
