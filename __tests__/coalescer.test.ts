import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { ClaudeMessage } from '../lib/claude/messages';
import { Coalescer } from '../lib/coalescer';
import { blockStart, system, text, textStart, thinking } from './formats/support';

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
});

afterEach(() => {
  jest.useRealTimers();
});

const WINDOW = 50;

function start() {
  const passed: ClaudeMessage[] = [];
  const texts: string[] = [];
  const coalescer = new Coalescer(WINDOW, (message, line) => {
    passed.push(message);
    texts.push(line);
  });
  /** Messages that come in one chunk of stdout. */
  const chunk = async (...messages: ClaudeMessage[]) => {
    for (const message of messages) coalescer.message(message, JSON.stringify(message));
    await Promise.resolve();
  };
  return { coalescer, passed, texts, chunk };
}

const tokens = (estimated_tokens: number, estimated_tokens_delta: number) =>
  system('thinking_tokens', { estimated_tokens, estimated_tokens_delta, uuid: estimated_tokens });

test('the first delta leaves at once', async () => {
  const { passed, chunk } = start();
  await chunk(text('a'));
  expect(passed).toEqual([text('a')]);
});

test('deltas of one chunk leave at once, as one', async () => {
  const { passed, texts, chunk } = start();
  await chunk(text('a'), text('b'), text('c'));
  expect(passed).toEqual([text('abc')]);
  expect(texts).toEqual([JSON.stringify(text('abc'))]);
});

test('what comes within the window leaves as one at its end', async () => {
  const { passed, chunk } = start();
  await chunk(text('a'));
  jest.advanceTimersByTime(10);
  await chunk(text('b'));
  jest.advanceTimersByTime(20);
  await chunk(text('c'));
  jest.advanceTimersByTime(19);
  expect(passed).toEqual([text('a')]);
  jest.advanceTimersByTime(1);
  expect(passed).toEqual([text('a'), text('bc')]);
});

test('a window follows upon a window only while something comes', async () => {
  const { passed, chunk } = start();
  await chunk(text('a'));
  await chunk(text('b'));
  jest.advanceTimersByTime(WINDOW);
  await chunk(text('c'));
  jest.advanceTimersByTime(WINDOW);
  expect(passed).toEqual([text('a'), text('b'), text('c')]);
  jest.advanceTimersByTime(WINDOW);
  expect(jest.getTimerCount()).toBe(0);
  await chunk(text('d'));
  expect(passed.at(-1)).toEqual(text('d'));
});

test('a steady stream has one event for each window, and none is later than that', async () => {
  const { passed, chunk } = start();
  const delays: number[] = [];
  for (let now = 0; now < 1_000; now += 5) {
    await chunk(text(`${now} `));
    delays.push(...passed.splice(0).flatMap((message) => delaysOf(message, now)));
    jest.advanceTimersByTime(5);
    delays.push(...passed.splice(0).flatMap((message) => delaysOf(message, now + 5)));
  }
  expect(delays.length).toBeGreaterThan(180);
  expect(Math.max(...delays)).toBeLessThanOrEqual(WINDOW);

  function delaysOf(message: ClaudeMessage, now: number): number[] {
    const { text } = (message as ReturnType<typeof textOf>).event.delta;
    return text
      .trim()
      .split(' ')
      .map((written) => now - Number(written));
  }
});

const textOf = () => text('') as ClaudeMessage & { event: { delta: { text: string } } };

test('another message takes what is held with it, in order', async () => {
  const { passed, chunk } = start();
  const result = { type: 'result' };
  await chunk(text('a'));
  await chunk(text('b'), text('c'), result, text('d'));
  expect(passed).toEqual([text('a'), text('bc'), result]);
  jest.advanceTimersByTime(WINDOW);
  expect(passed.at(-1)).toEqual(text('d'));
});

test.each([
  ['another kind', thinking('b')],
  ['another block', { ...text('b'), event: { ...(text('b').event as object), index: 1 } }],
  ['a subagent', text('b', 'toolu_1')],
])('a delta of %s is not joined', async (_, other) => {
  const { passed, chunk } = start();
  await chunk(text('a'), other, text('c'));
  expect(passed).toEqual([text('a'), other, text('c')]);
});

test('a block that begins is not joined over', async () => {
  const { passed, chunk } = start();
  await chunk(text('a'), textStart, text('b'), blockStart({ type: 'tool_use' }));
  expect(passed).toEqual([text('a'), textStart, text('b'), blockStart({ type: 'tool_use' })]);
});

test('thinking is joined across the token counts that come between its deltas, which add up', async () => {
  const { passed, chunk } = start();
  await chunk(tokens(1, 1), thinking('The '), tokens(3, 2), thinking('user '), tokens(6, 3));
  await chunk(text('a'));
  expect(passed).toEqual([{ ...tokens(6, 6) }, thinking('The user ')]);
  jest.advanceTimersByTime(WINDOW);
  expect(passed.at(-1)).toEqual(text('a'));
});

test('a message keeps the fields that were abridged', async () => {
  const { coalescer, texts } = start();
  for (const word of ['a', 'b']) {
    coalescer.message(text(word), JSON.stringify({ ...text(word), uuid: `uuid of ${word}` }));
  }
  coalescer.flush();
  expect(JSON.parse(texts.join())).toEqual({ ...text('ab'), uuid: 'uuid of a' });
});

describe('a message of a shape that nobody knows leaves by itself', () => {
  const worded = (words: unknown) => ({
    ...text(''),
    event: { ...(text('').event as object), delta: { type: 'text_delta', text: words } },
  });

  test.each([5, null, undefined, { toString: 1 }, ['b']])('text that is %p', async (words) => {
    const { passed, chunk } = start();
    await chunk(text('a'), worded(words), text('c'));
    expect(passed).toEqual([text('a'), worded(words), text('c')]);
  });

  test('a token count that is no number', async () => {
    const { passed, chunk } = start();
    const odd = system('thinking_tokens', { estimated_tokens_delta: { valueOf: 1, toString: 1 } });
    await chunk(tokens(1, 1), odd, tokens(3, 2));
    expect(passed).toEqual([tokens(1, 1), odd, tokens(3, 2)]);
  });
});

test('of what is joined only the words are kept', async () => {
  const { coalescer } = start();
  const references = Array.from({ length: 5 }, (_, number) => {
    const message = tokens(number, 1);
    coalescer.message(message, JSON.stringify(message));
    return new WeakRef(message);
  });
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  // A WeakRef holds what it refers to until the end of the turn in which it was made.
  await new Promise(jest.requireActual('node:timers').setImmediate);
  collect();
  const kept = references.map((reference) => reference.deref() !== undefined);
  expect(kept.slice(1, -1)).toEqual([false, false, false]);
});

test('one that is alone is the line of the CLI, to the letter', async () => {
  const { coalescer, texts } = start();
  const line = JSON.stringify(text('a')).replace('{', '{ ');
  coalescer.message(text('a'), line);
  coalescer.flush();
  expect(texts).toEqual([line]);
});

test('much text does not wait for the end of the window', async () => {
  const { passed, chunk } = start();
  await chunk(text('a'));
  for (let count = 0; count < 10; count++) await chunk(text('x'.repeat(4_000)));
  expect(passed.length).toBeGreaterThan(1);
  expect(passed.length).toBeLessThan(5);
});

test('at the end nothing is held, and no timer is left', async () => {
  const { coalescer, passed, chunk } = start();
  await chunk(text('a'));
  await chunk(text('b'));
  coalescer.end();
  expect(passed).toEqual([text('a'), text('b')]);
  expect(jest.getTimerCount()).toBe(0);
});

test('whatever comes when, each text is passed once and in order, and no block is crossed', async () => {
  const others = [textStart, { type: 'result' }, tokens(1, 1)];
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.string({ minLength: 1, maxLength: 5 }).map((word) => text(word)) },
    {
      weight: 3,
      arbitrary: fc.string({ minLength: 1, maxLength: 5 }).map((word) => thinking(word)),
    },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
    { weight: 3, arbitrary: fc.nat(60) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step), async (steps) => {
      const { coalescer, passed, chunk } = start();
      for (const one of steps) {
        if (typeof one === 'number') jest.advanceTimersByTime(one);
        else await chunk(one);
      }
      coalescer.end();
      const said = steps.filter((one): one is ClaudeMessage => typeof one !== 'number');
      expect(joined(passed)).toEqual(joined(said));
      expect(jest.getTimerCount()).toBe(0);
    }),
  );

  /** Neighbours of one kind as one; token counts apart, whose place among the thinking is free. */
  function joined(messages: readonly ClaudeMessage[]) {
    const all: string[] = [];
    let last = '';
    for (const message of messages) {
      if (message.subtype === 'thinking_tokens') continue;
      const { delta } = (message.event ?? {}) as {
        delta?: { type: string } & Record<string, string>;
      };
      const words = delta && (delta.text ?? delta.thinking);
      if (delta && delta.type === last) all.push(all.pop() + String(words));
      else all.push(delta ? `${delta.type} ${words}` : JSON.stringify(message));
      last = delta?.type ?? '';
    }
    return all;
  }
});
