import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ClaudeStreamError } from '../../lib/errors';
import { memoryStore } from '../../lib/stores/memoryStore';
import type { RunStore } from '../../lib/stores/store';
import { full } from './fullStore';

const HOUR = 60 * 60 * 1_000;

describe('an entry', () => {
  test('is there until it is deleted, and one deletion finds it', async () => {
    const { sessions } = memoryStore();
    expect(await sessions.get('a')).toBeUndefined();
    await sessions.set('a', 'one', HOUR);
    expect(await sessions.get('a')).toBe('one');
    expect(await sessions.delete('a')).toBe(true);
    expect(await sessions.delete('a')).toBe(false);
    expect(await sessions.get('a')).toBeUndefined();
  });

  test('is replaced by another under its key', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    await sessions.set('a', 'two', HOUR);
    expect(await sessions.get('a')).toBe('two');
  });

  test('may be empty', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', '', HOUR);
    expect(await sessions.get('a')).toBe('');
    expect(await sessions.delete('a')).toBe(true);
  });

  test('is deleted by exactly one of those who try at once', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    const deleted = await Promise.all(Array.from({ length: 20 }, () => sessions.delete('a')));
    expect(deleted.filter(Boolean)).toHaveLength(1);
  });

  test.each(['__proto__', 'constructor', ''])('may have the key %j', async (key) => {
    const { sessions } = memoryStore();
    expect(await sessions.get(key)).toBeUndefined();
    await sessions.set(key, 'one', HOUR);
    expect(await sessions.get(key)).toBe('one');
  });

  test('is gone when it is of no use any more', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', 20);
    await sessions.set('b', 'two', HOUR);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await sessions.get('a')).toBeUndefined();
    expect(await sessions.delete('a')).toBe(false);
    expect(await sessions.get('b')).toBe('two');
  });

  test('does not keep the server alive', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    expect(after).toBe(before);
  });
});

describe('a full store', () => {
  test('forgets what was unused for longest', async () => {
    const { sessions } = memoryStore({ maxSessionBytes: 1_024 });
    const value = 'x'.repeat(350);
    await sessions.set('a', value, HOUR);
    await sessions.set('b', value, HOUR);
    await sessions.get('a');
    await sessions.set('c', value, HOUR);
    const kept = await Promise.all(['a', 'b', 'c'].map((key) => sessions.get(key)));
    expect(kept).toEqual([value, undefined, value]);
  });

  test('holds 32 MiB when nothing else is said, whatever the size of its entries', async () => {
    const { sessions } = memoryStore();
    const megabyte = 'x'.repeat(2 ** 20 - 200);
    for (let entry = 0; entry <= 32; entry++) await sessions.set(`${entry}`, megabyte, HOUR);
    expect(await sessions.get('0')).toBeUndefined();
    expect(await sessions.get('1')).toBe(megabyte);
  });

  test('does not take what is larger than itself', async () => {
    const { sessions } = memoryStore({ maxSessionBytes: 1_024 });
    await sessions.set('a', 'x'.repeat(2_000), HOUR);
    expect(await sessions.get('a')).toBeUndefined();
  });
});

test('two stores know nothing of each other', async () => {
  const one = memoryStore().sessions;
  await one.set('a', 'one', HOUR);
  expect(await memoryStore().sessions.get('a')).toBeUndefined();
});

describe.each([
  ['ttl', 'milliseconds', 1, 2 ** 31 - 1],
  ['maxRuns', 'runs', 1, 1_000_000],
  ['maxBytes', 'bytes', 1_024, 2 ** 40],
  ['maxRunBytes', 'bytes', 1_024, 2 ** 30],
  ['maxSessionBytes', 'bytes', 1_024, 2 ** 40],
])('%s', (name, unit, min, max) => {
  test.each([
    ...[0, -1, min - 1, max + 1, min + 0.5, Number.NaN, Number.POSITIVE_INFINITY],
    ...[`${min}`, null, true],
  ])('must not be %p', (value) => {
    const create = () => memoryStore({ [name]: value });
    expect(create).toThrow(ClaudeStreamError);
    expect(create).toThrow(`"${name}" must be a whole number of ${unit} from ${min} to ${max}.`);
  });

  test.each([min, max, undefined])('may be %p', (value) => {
    expect(() => memoryStore({ [name]: value })).not.toThrow();
  });
});

test.each(['maxRun', 'prefix', 'toString'])('there is no option %s', (name) => {
  const create = () => memoryStore({ [name]: 1 });
  expect(create).toThrow(ClaudeStreamError);
  expect(create).toThrow(`memoryStore has no option "${name}".`);
});

describe('a run that has ended', () => {
  /** What must not be collected before the end of a test. */
  const kept: unknown[] = [];

  afterEach(() => {
    kept.length = 0;
  });

  test('expires by itself, however often it is looked at', async () => {
    const { runs } = full(memoryStore({ ttl: 100 }));
    await finishRun(runs, 'a', ['one']);
    const since = performance.now();
    while ((await runs.find('a'))?.state !== 'expired') {
      expect(performance.now() - since).toBeLessThan(1_000);
      await runs.read('a', 0);
      await delay(5);
    }
    expect(performance.now() - since).toBeGreaterThan(90);
    expect(await runs.find('a')).toMatchObject({ state: 'expired', last: 0, end: undefined });
    expect(await runs.read('a', 0)).toEqual({ kind: 'gone' });
    expect(await runs.list()).toEqual([]);
  });

  test('is known at the moment at which it expires', async () => {
    const { runs } = full(memoryStore({ ttl: 20 }));
    await finishRun(runs, 'a', ['one']);
    // Its time is over, and no timer has had a chance to run.
    for (const since = performance.now(); performance.now() - since < 30; );
    expect(await runs.find('a')).toBeDefined();
  });

  test('expires by itself when nobody looks', async () => {
    const dropped = new Promise<void>((resolve) => {
      const registry = new FinalizationRegistry(() => resolve());
      const { runs } = full(memoryStore({ ttl: 20 }));
      // Only the timer is left to know the run, and only the run knows its callback.
      const onCancel = () => {};
      registry.register(onCancel, undefined);
      const recording = runs.record({ runId: 'a', startedAt: 1, user: undefined }, onCancel);
      void recording.finish(1, ['one'], 'over').then(recording.release);
      kept.push(runs, registry);
    });
    const collect = garbageCollector();
    let isDropped = false;
    void dropped.then(() => {
      isDropped = true;
    });
    while (!isDropped) {
      await delay(10);
      collect();
    }
  });

  test('expires no earlier than after its end', async () => {
    const { runs } = full(memoryStore({ ttl: 100 }));
    const running = runs.record({ runId: 'a', startedAt: 1, user: undefined }, () => {});
    await running.append(1, ['one']);
    await delay(200);
    expect(await runs.read('a', 0)).toMatchObject({ kind: 'frames', frames: ['one'] });
    await running.finish(2, [], 'over');
    running.release();
    expect(await runs.find('a')).toMatchObject({ state: 'ended' });
  });

  test('does not keep the process alive', async () => {
    const timers = () =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    await finishRun(full(memoryStore()).runs, 'a', ['one']);
    expect(timers()).toBe(before);
  });

  test('makes room for those that end after it', async () => {
    const { runs } = full(memoryStore({ maxRuns: 2 }));
    for (const runId of ['a', 'b', 'c']) {
      await finishRun(runs, runId, ['one']);
      // Being read does not keep a run.
      await runs.read('a', 0);
    }
    const states = await Promise.all(['a', 'b', 'c'].map((runId) => runs.find(runId)));
    expect(states.map((kept) => kept?.state)).toEqual(['expired', 'ended', 'ended']);
    expect((await runs.list()).map(({ record }) => record.runId)).toEqual(['b', 'c']);
  });

  test('makes room by its size too, and is not kept when it is larger than all may be', async () => {
    const { runs } = full(memoryStore({ maxBytes: 4_096 }));
    for (const runId of ['a', 'b', 'c']) await finishRun(runs, runId, ['x'.repeat(1_000)]);
    expect((await runs.list()).map(({ record }) => record.runId)).toEqual(['b', 'c']);
    await finishRun(runs, 'd', ['x'.repeat(5_000)]);
    expect(await runs.find('d')).toMatchObject({ state: 'expired' });
    expect(await runs.read('d', 0)).toEqual({ kind: 'gone' });
    expect((await runs.list()).map(({ record }) => record.runId)).toEqual(['b', 'c']);
  });
});

test('50 000 runs take no more memory than 10 000', async () => {
  const collect = garbageCollector();
  const { runs } = full(memoryStore({ maxRuns: 1_000, maxBytes: 4 * 2 ** 20, ttl: 60_000 }));
  const heapAfter = async (from: number, to: number) => {
    for (let index = from; index < to; index++) {
      const frames = Array.from({ length: 5 }, (_, frame) => `${index}:${frame}:`.padEnd(200));
      await finishRun(runs, `${index}`, frames);
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  const early = await heapAfter(0, 10_000);
  const late = await heapAfter(10_000, 50_000);
  expect(late - early).toBeLessThan(5 * 2 ** 20);

  expect((await runs.list()).length).toBeLessThanOrEqual(1_000);
  expect(await runs.find('49999')).toMatchObject({ state: 'ended' });
  expect(await runs.find('48000')).toMatchObject({ state: 'expired' });
  expect(await runs.find('100')).toBeUndefined();
}, 30_000);

async function finishRun(runs: RunStore, runId: string, frames: readonly string[]): Promise<void> {
  const recording = runs.record({ runId, startedAt: 1, user: undefined }, () => {});
  await recording.append(1, frames);
  await recording.finish(frames.length + 1, [], 'over');
  recording.release();
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
