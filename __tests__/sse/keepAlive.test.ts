import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { KEEP_ALIVE_COMMENT } from '../../lib/sse/frames';
import { GuardedWriter } from '../../lib/sse/guard';
import { KeepAlive } from '../../lib/sse/keepAlive';

/** A response that holds what is written until `take`; after that it takes everything. */
class FakeResponse extends Writable {
  readonly written: string[] = [];
  #taking = false;
  #done: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 100 });
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(String(bytes));
    if (this.#taking) done();
    else this.#done = done;
  }

  take(): void {
    this.#taking = true;
    this.#done?.();
  }
}

const event = Buffer.from('data: x\n\n');

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
});

afterEach(() => {
  jest.useRealTimers();
});

function start({ taking = true } = {}) {
  const response = new FakeResponse();
  if (taking) response.take();
  const writer = new GuardedWriter(response as unknown as ServerResponse, false, {
    onDrain: () => {},
    onStall: () => {},
  });
  const keepAlive = new KeepAlive(writer, 15_000);
  const comments = () => response.written.filter((text) => text === KEEP_ALIVE_COMMENT).length;
  return { response, writer, keepAlive, comments };
}

test('a silent stream gets a comment after every interval', () => {
  const { comments } = start();
  jest.advanceTimersByTime(14_999);
  expect(comments()).toBe(0);
  jest.advanceTimersByTime(1);
  expect(comments()).toBe(1);
  jest.advanceTimersByTime(150_000);
  expect(comments()).toBe(11);
});

test('a stream that is not silent gets none', () => {
  const { writer, comments } = start();
  for (let time = 0; time < 100; time++) {
    jest.advanceTimersByTime(10_000);
    writer.write(event);
  }
  expect(comments()).toBe(0);
});

test('the interval counts from the last byte, not from the last comment', () => {
  const { writer, comments } = start();
  jest.advanceTimersByTime(10_000);
  writer.write(event);
  jest.advanceTimersByTime(14_998);
  expect(comments()).toBe(0);
  jest.advanceTimersByTime(2);
  expect(comments()).toBe(1);
});

test('a blocked stream gets none, and one soon after it is unblocked', async () => {
  const { response, writer, comments } = start({ taking: false });
  writer.write(Buffer.alloc(200, 'x'));
  expect(writer.blocked).toBe(true);
  jest.advanceTimersByTime(1_000_000);
  expect(comments()).toBe(0);
  const drained = once(response, 'drain');
  response.take();
  await drained;
  expect(writer.blocked).toBe(false);
  jest.advanceTimersByTime(15_000);
  expect(comments()).toBe(1);
});

test('it has one timer, and a write arms none', () => {
  const { writer } = start();
  const set = jest.spyOn(globalThis, 'setTimeout');
  for (let time = 0; time < 1_000; time++) writer.write(event);
  expect(set).not.toHaveBeenCalled();
  expect(jest.getTimerCount()).toBe(1);
  set.mockRestore();
});

test('stopped, it writes nothing more and leaves no timer', () => {
  const { keepAlive, comments } = start();
  jest.advanceTimersByTime(15_000);
  keepAlive.stop();
  expect(jest.getTimerCount()).toBe(0);
  jest.advanceTimersByTime(100_000);
  expect(comments()).toBe(1);
});
