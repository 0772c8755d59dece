import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { FrameLog } from '../../lib/sse/frameLog';

function logOf(maxBytes = 1_000_000, onDrain: () => void = () => {}): FrameLog {
  return new FrameLog('run', { maxBytes, onDrain });
}

/** Everything that a reader reads, by chunk. */
async function chunksOf(reader: Readable): Promise<string[]> {
  const chunks: string[] = [];
  for await (const chunk of reader) chunks.push(String(chunk));
  return chunks;
}

function frame(number: number, data: string, event?: string): string {
  return `${event === undefined ? '' : `event: ${event}\n`}id: run:${number}\ndata: ${data}\n\n`;
}

describe('a reader', () => {
  test('gets every frame, numbered from 1, and ends', async () => {
    const log = logOf();
    const reader = log.reader(65_536);
    log.append('a');
    log.append('b', 'name');
    log.end();
    expect((await chunksOf(reader)).join('')).toBe(frame(1, 'a') + frame(2, 'b', 'name'));
  });

  test('ends at once when there is nothing and nothing will come', async () => {
    const log = logOf();
    log.end();
    expect(await chunksOf(log.reader(65_536))).toEqual([]);
  });

  test('gets what comes in one go as one chunk: one write to the socket, not many', async () => {
    const log = logOf();
    const chunks: string[] = [];
    const reader = log.reader(65_536).on('data', (chunk) => chunks.push(String(chunk)));
    await setImmediate();
    for (let number = 1; number <= 100; number++) log.append(`${number}`);
    await setImmediate();
    expect(chunks).toHaveLength(1);
    log.append('101');
    log.end();
    await once(reader, 'end');
    expect(chunks).toEqual([expect.stringContaining('run:100'), frame(101, '101')]);
  });

  test('takes no more than highWaterMark at once, and never cuts a frame', async () => {
    const log = logOf();
    const reader = log.reader(1_024);
    for (let number = 1; number <= 200; number++) log.append('x'.repeat(number));
    log.end();
    const chunks = await chunksOf(reader);
    expect(chunks.length).toBeGreaterThan(10);
    for (const chunk of chunks) {
      expect(chunk).toMatch(/^id: run:\d+\n/);
      expect(chunk).toMatch(/\n\n$/);
      expect(chunk.length).toBeLessThanOrEqual(1_024);
    }
  });

  test('takes a frame that is longer than highWaterMark by itself', async () => {
    const log = logOf();
    const reader = log.reader(16);
    const long = 'x'.repeat(100);
    for (const data of [long, 'a', long]) log.append(data);
    log.end();
    expect(await chunksOf(reader)).toEqual([frame(1, long), frame(2, 'a'), frame(3, long)]);
  });

  test('that keeps up with another one shares its bytes', async () => {
    const log = logOf();
    const chunks: Buffer[] = [];
    for (let readers = 0; readers < 3; readers++) {
      log.reader(65_536).on('data', (chunk) => chunks.push(chunk));
    }
    await setImmediate();
    log.append('a');
    await setImmediate();
    expect(chunks).toHaveLength(3);
    expect(new Set(chunks).size).toBe(1);
  });

  test('is not given again what others have taken before', async () => {
    const log = logOf();
    log.reader(16).resume();
    const second = log.reader(16);
    log.append('a');
    await setImmediate();
    log.append('b');
    log.end();
    expect(await chunksOf(second)).toEqual([frame(1, 'a'), frame(2, 'b')]);
  });

  test('gets whole characters', async () => {
    const log = logOf();
    const reader = log.reader(16);
    log.append('Grüße 🌍');
    log.append('€');
    log.end();
    expect(await chunksOf(reader)).toEqual([frame(1, 'Grüße 🌍'), frame(2, '€')]);
  });

  test('that comes later begins with the first frame that is still held', async () => {
    const log = logOf();
    const slow = log.reader(16);
    const fast = log.reader(16);
    log.append('a');
    log.append('b');
    fast.resume();
    await setImmediate();
    const late = log.reader(16);
    log.end();
    expect((await chunksOf(late)).join('')).toBe((await chunksOf(slow)).join(''));
  });

  test('may be destroyed at any time, and the log goes on', async () => {
    const log = logOf();
    const gone = log.reader(16);
    const stays = log.reader(16);
    log.append('a');
    gone.destroy();
    log.append('b');
    await once(gone, 'close');
    log.append('c');
    log.end();
    expect((await chunksOf(stays)).join('')).toBe(frame(1, 'a') + frame(2, 'b') + frame(3, 'c'));
  });
});

describe('without readers', () => {
  test('frames are counted and not kept', async () => {
    const log = logOf(100);
    for (let number = 1; number <= 1_000; number++) log.append('x'.repeat(100));
    expect(log.full).toBe(false);
    const reader = log.reader(65_536);
    log.append('a');
    log.end();
    expect(await chunksOf(reader)).toEqual([frame(1_001, 'a')]);
  });
});

describe('a full log', () => {
  const kilobyte = 'x'.repeat(1_000);

  test('is one that holds maxBytes', () => {
    const log = logOf(3_000);
    log.reader(1_024);
    log.append(kilobyte);
    log.append(kilobyte);
    expect(log.full).toBe(false);
    log.append(kilobyte);
    expect(log.full).toBe(true);
  });

  test('drains once, when half of it has been read', async () => {
    const drained = jest.fn();
    const log = logOf(10_000, drained);
    const reader = log.reader(1);
    for (let number = 0; number < 10; number++) log.append(kilobyte);
    let taken = 0;
    while (log.full) {
      expect(taken).toBeLessThan(5_000);
      await once(reader, 'readable');
      taken += String(reader.read()).length;
    }
    expect(taken).toBeGreaterThan(2_000);
    reader.resume();
    await setImmediate();
    expect(drained).toHaveBeenCalledTimes(1);
  });

  test('waits for the slowest reader', async () => {
    const drained = jest.fn();
    const log = logOf(10_000, drained);
    log.reader(1).resume();
    log.reader(1);
    for (let number = 0; number < 10; number++) log.append(kilobyte);
    await setImmediate();
    expect(log.full).toBe(true);
    expect(drained).not.toHaveBeenCalled();
  });

  test('is freed when the slowest reader goes', async () => {
    const drained = jest.fn();
    const log = logOf(10_000, drained);
    const fast = log.reader(1).resume();
    const slow = log.reader(1);
    for (let number = 0; number < 10; number++) log.append(kilobyte);
    await setImmediate();
    slow.destroy();
    await once(slow, 'close');
    expect(log.full).toBe(false);
    expect(drained).toHaveBeenCalledTimes(1);
    log.end();
    await once(fast, 'end');
  });

  test('is freed when its only reader goes', async () => {
    const drained = jest.fn();
    const log = logOf(1_000, drained);
    const reader = log.reader(1);
    log.append(kilobyte);
    reader.destroy();
    await once(reader, 'close');
    expect(log.full).toBe(false);
    expect(drained).toHaveBeenCalledTimes(1);
  });
});

describe('frames that everybody has read', () => {
  const kilobyte = 'x'.repeat(1_000);

  /** A log that keeps some of what was read, and a reader that has read everything so far. */
  function keepingLog(keepBytes: number, maxBytes = 1_000_000) {
    const onDrain = jest.fn();
    const log = new FrameLog('run', { maxBytes, keepBytes, onDrain });
    return { log, onDrain, reader: log.reader(65_536).resume() };
  }

  test('are kept for those who come back', async () => {
    const { log } = keepingLog(10_000);
    for (const data of ['a', 'b', 'c']) log.append(data);
    await setImmediate();
    const back = log.reader(65_536, 1);
    expect(back.next).toBe(2);
    log.end();
    expect((await chunksOf(back)).join('')).toBe(frame(2, 'b') + frame(3, 'c'));
  });

  test('are kept when there is nobody at all', async () => {
    const log = new FrameLog('run', { maxBytes: 1_000, keepBytes: 500, onDrain: () => {} });
    log.append('a');
    log.append('b');
    log.end();
    expect((await chunksOf(log.reader(65_536))).join('')).toBe(frame(1, 'a') + frame(2, 'b'));
  });

  test('go, the oldest first, when there are more than keepBytes of them', async () => {
    const { log } = keepingLog(5_000);
    for (let number = 1; number <= 100; number++) log.append(kilobyte);
    await setImmediate();
    const back = log.reader(65_536);
    log.end();
    const text = (await chunksOf(back)).join('');
    expect(text.length).toBeLessThanOrEqual(5_000);
    expect(text.length).toBeGreaterThan(3_900);
    expect(text).toMatch(/^id: run:97\n/);
    expect(text).toContain('id: run:100\n');
  });

  test('take at most half of maxBytes: a run does not stop for those who are not there', async () => {
    const { log, onDrain } = keepingLog(1_000_000, 10_000);
    for (let number = 1; number <= 100; number++) {
      log.append(kilobyte);
      await setImmediate();
      expect(log.full).toBe(false);
    }
    expect(onDrain).not.toHaveBeenCalled();
    const back = log.reader(65_536);
    log.end();
    expect((await chunksOf(back)).join('').length).toBeLessThanOrEqual(5_000);
  });

  test('never make it full when there is nobody', () => {
    const log = new FrameLog('run', { maxBytes: 10_000, keepBytes: 5_000, onDrain: () => {} });
    for (let number = 1; number <= 100; number++) {
      log.append(kilobyte);
      expect(log.full).toBe(false);
    }
  });

  test('leave a slow reader its room: it makes the log full, gets everything, and drains it', async () => {
    const { log, onDrain } = keepingLog(5_000, 10_000);
    const slow = log.reader(1);
    let expected = '';
    for (let number = 1; !log.full; number++) {
      log.append(kilobyte);
      expected += frame(number, kilobyte);
      await setImmediate();
    }
    expect(expected.length).toBeGreaterThanOrEqual(10_000);
    expect(onDrain).not.toHaveBeenCalled();
    log.end();
    expect((await chunksOf(slow)).join('')).toBe(expected);
    expect(log.full).toBe(false);
    expect(onDrain).toHaveBeenCalledTimes(1);
  });

  test('are not kept unless it is asked for', async () => {
    const { log } = keepingLog(0);
    log.append('a');
    await setImmediate();
    expect(log.reader(65_536).next).toBe(2);
  });
});

describe('a reader after a number', () => {
  test('begins with the next frame', async () => {
    const log = logOf();
    log.reader(1);
    for (const data of ['a', 'b', 'c']) log.append(data);
    const reader = log.reader(65_536, 2);
    expect(reader.next).toBe(3);
    log.end();
    expect(await chunksOf(reader)).toEqual([frame(3, 'c')]);
  });

  test('waits for what comes when it has read everything', async () => {
    const log = logOf();
    log.append('a');
    const reader = log.reader(65_536, 1);
    log.append('b');
    log.end();
    expect(await chunksOf(reader)).toEqual([frame(2, 'b')]);
  });

  test('ends at once when that was the last of all', async () => {
    const log = logOf();
    log.append('a');
    log.end();
    expect(await chunksOf(log.reader(65_536, 1))).toEqual([]);
  });

  test('that is not held any more tells by its "next" where it begins', async () => {
    const log = logOf();
    for (const data of ['a', 'b', 'c']) log.append(data);
    expect(log.reader(65_536, 1).next).toBe(4);
  });

  test('that has not been is refused', () => {
    const log = logOf();
    log.append('a');
    expect(() => log.reader(65_536, 2)).toThrow(new RangeError('There is no frame 2 yet.'));
    expect(() => log.reader(65_536, 1)).not.toThrow();
  });
});

describe('onFrame', () => {
  test.each([0, 1_000])(
    'gets every frame, readers or not, with keepBytes %d',
    async (keepBytes) => {
      const seen: [number, string][] = [];
      const log = new FrameLog('run', {
        maxBytes: 10_000,
        keepBytes,
        onDrain: () => {},
        onFrame: (number, text) => void seen.push([number, text]),
      });
      log.append('a');
      const reader = log.reader(65_536).resume();
      log.append('b', 'name');
      await setImmediate();
      reader.destroy();
      await once(reader, 'close');
      log.append('c');
      expect(seen).toEqual([
        [1, frame(1, 'a')],
        [2, frame(2, 'b', 'name')],
        [3, frame(3, 'c')],
      ]);
    },
  );
});

test('"last" counts frames, whether they are held or not', async () => {
  const log = logOf();
  expect(log.last).toBe(0);
  log.append('a');
  expect(log.last).toBe(1);
  const reader = log.reader(65_536).resume();
  log.append('b');
  expect(log.last).toBe(2);
  await setImmediate();
  expect(log.last).toBe(2);
  log.end();
  await once(reader, 'end');
  expect(log.last).toBe(2);
});

test.each([1, 2, 3, 4, 5])(
  'readers at their own pace get every frame once and in order, and the log stays bounded (seed %d)',
  async (seed) => {
    const random = seeded(seed);
    const maxBytes = 4_096;
    let resume = () => {};
    const log = logOf(maxBytes, () => resume());
    const readers = Array.from({ length: 4 }, () => log.reader(1 + Math.floor(random() * 500)));
    const texts = Promise.all(
      readers.map(async (reader) => {
        const text: string[] = [];
        for await (const chunk of reader) {
          text.push(String(chunk));
          for (let turns = Math.floor(random() * 4); turns > 0; turns--) await setImmediate();
        }
        return text.join('');
      }),
    );

    let expected = '';
    let fullTimes = 0;
    for (let number = 1; number <= 2_000; number++) {
      const data = 'x'.repeat(Math.floor(random() * 200));
      expected += frame(number, data);
      log.append(data);
      if (log.full) {
        fullTimes += 1;
        await new Promise<void>((resolve) => {
          resume = resolve;
        });
        expect(log.full).toBe(false);
      }
      if (random() < 0.1) await setImmediate();
    }
    log.end();

    expect(fullTimes).toBeGreaterThan(10);
    for (const text of await texts) expect(text).toBe(expected);
  },
);

/** Numbers from 0 to 1 that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}
