import { randomUUID } from 'node:crypto';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { memoryStore } from '../../lib/stores/memoryStore';
import { redisStore } from '../../lib/stores/redis/redisStore';
import { type Recording, type RunStore, StoreError } from '../../lib/stores/store';
import {
  connectIoredis,
  connectNodeRedis,
  type RedisConnections,
  type RedisServer,
  startRedisServer,
} from '../redisServer';
import { type FullStore, full } from './fullStore';

interface Limits {
  readonly ttl?: number;
  readonly maxRunBytes?: number;
}

/** A store as two instances see it, which in memory are the same. */
interface Opened {
  readonly store: FullStore;
  readonly another: FullStore;
}

type Open = (limits?: Limits) => Promise<Opened>;

let server: RedisServer;
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  server = await startRedisServer();
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

afterAll(() => server.close());

function openRedis(connect: (port: number) => Promise<RedisConnections>): Open {
  return async (limits) => {
    const prefix = `${randomUUID()}:`;
    const [one, two] = await Promise.all([connect(server.port), connect(server.port)]);
    cleanups.push(one.close, two.close);
    const settings = { ...limits, prefix, ownerTimeout: 800 };
    return {
      store: full(redisStore({ ...one.options, ...settings })),
      another: full(redisStore({ ...two.options, ...settings })),
    };
  };
}

const openMemory: Open = async (limits) => {
  const store = full(memoryStore(limits));
  return { store, another: store };
};

const nodeRedis = openRedis(connectNodeRedis);
const ioredis = openRedis(connectIoredis);
const nodeRedis2 = openRedis((port) => connectNodeRedis(port, 2));

function record(runs: RunStore, runId: string, onCancel: () => void = () => {}): Recording {
  const recording = runs.record({ runId, startedAt: 1_000, user: 'ada' }, onCancel);
  cleanups.push(recording.release);
  return recording;
}

/** Everything after a number, as a client would read it. */
async function readAll(runs: RunStore, runId: string, after = 0): Promise<[number, string][]> {
  const all: [number, string][] = [];
  for (let next = after; ; ) {
    const page = await runs.read(runId, next);
    if (page.kind !== 'frames') return all;
    all.push(...page.frames.map((text, index) => [page.first + index, text] as [number, string]));
    next = page.first + page.frames.length - 1;
  }
}

/** Settles when it is so: for what another instance, or Redis by its own clock, does. */
async function eventually(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await delay(10);
}

function following(): AbortSignal {
  const controller = new AbortController();
  cleanups.push(() => controller.abort(new Error('The test is over.')));
  return controller.signal;
}

/** Begins to follow; settles when the store knows. */
async function follow(runs: RunStore, runId: string, after: number, signal = following()) {
  const page = runs.read(runId, after, signal);
  page.catch(() => {});
  await eventually(() => runs.isAttended(runId));
  await setImmediate();
  return page.then(
    (value) => ({ value }),
    (reason: unknown) => ({ reason }),
  );
}

describe.each([
  ['memory', openMemory],
  ['Redis by node-redis', nodeRedis],
  ['Redis by node-redis with RESP2', nodeRedis2],
  ['Redis by ioredis', ioredis],
] as const)('runs in %s', (_name, open) => {
  test('are read in the order in which they were written, text by text', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    const texts = ['', 'data: 1\n\n', 'é€😀', '\u2028"\\\0', 'x'.repeat(100_000)];
    expect(await run.append(1, texts.slice(0, 2))).toBe(true);
    expect(await run.append(3, texts.slice(2))).toBe(true);
    expect(await readAll(another.runs, 'a')).toEqual(texts.map((text, index) => [index + 1, text]));
  });

  test('are known everywhere once it is said that they are', async () => {
    const { store, another } = await open();
    await record(store.runs, 'a').known;
    expect(await another.runs.find('a')).toMatchObject({
      state: 'running',
      record: { user: 'ada' },
    });
  });

  test('are read after a number', async () => {
    const { store } = await open();
    await record(store.runs, 'a').append(1, ['one', 'two', 'three']);
    expect(await store.runs.read('a', 1)).toEqual({
      kind: 'frames',
      first: 2,
      frames: ['two', 'three'],
    });
    expect(await store.runs.read('a', 3)).toEqual({ kind: 'nothing' });
  });

  test('are read by pages when they are long', async () => {
    const { store } = await open();
    const run = record(store.runs, 'a');
    const texts = Array.from({ length: 1_000 }, (_, index) => `${index}`.padEnd(1_000));
    for (let sent = 0; sent < 1_000; sent += 250) {
      await run.append(sent + 1, texts.slice(sent, sent + 250));
    }
    const page = await store.runs.read('a', 0);
    expect(page.kind === 'frames' && page.frames.length).toBeLessThan(100);
    expect((await readAll(store.runs, 'a')).map(([, text]) => text)).toEqual(texts);
  });

  test('wait for the next frame and end with who follows them', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    const next = another.runs.read('a', 1, following());
    await eventually(() => store.runs.isAttended('a'));
    await run.append(2, ['two', 'three']);
    expect(await next).toEqual({ kind: 'frames', first: 2, frames: ['two', 'three'] });

    const end = another.runs.read('a', 3, following());
    await run.finish(4, [], 'over');
    expect(await end).toEqual({ kind: 'ended', last: 3, end: 'over' });
  });

  test('wake everybody who waits, wherever they are', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    const readers = Array.from({ length: 20 }, (_, index) =>
      (index % 2 === 0 ? store : another).runs.read('a', index % 3 === 0 ? 0 : 1, following()),
    );
    await eventually(() => store.runs.isAttended('a'));
    await run.append(2, ['two']);
    for (const page of await Promise.all(readers)) {
      const last = page.kind === 'frames' ? page.frames.at(-1) : undefined;
      expect(page).toMatchObject({ kind: 'frames' });
      expect(['one', 'two']).toContain(last);
    }
  });

  test('reject who follows and goes', async () => {
    const { store } = await open();
    await record(store.runs, 'a').append(1, ['one']);
    const controller = new AbortController();
    const page = follow(store.runs, 'a', 1, controller.signal);
    await eventually(() => store.runs.isAttended('a'));
    const reason = new Error('gone');
    controller.abort(reason);
    expect(await page).toEqual({ reason });
    await expect(store.runs.read('a', 1, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test('tell how they ended beside their frames', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    expect(await run.finish(2, ['two'], '{"status":"ok"}')).toBe(true);
    expect(await readAll(another.runs, 'a')).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
    const ended = { kind: 'ended', last: 2, end: '{"status":"ok"}' };
    expect(await another.runs.read('a', 2)).toEqual(ended);
    expect(await another.runs.read('a', 2, following())).toEqual(ended);
    expect(await another.runs.read('a', 99)).toEqual(ended);
  });

  test('may end without a frame', async () => {
    const { store } = await open();
    const run = record(store.runs, 'a');
    await run.finish(1, [], 'over');
    run.release();
    expect(await store.runs.read('a', 0)).toEqual({ kind: 'ended', last: 0, end: 'over' });
  });

  test('show a gap by the numbers', async () => {
    const { store } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one', 'two']);
    await run.append(5, ['five']);
    expect(await store.runs.read('a', 0)).toMatchObject({ first: 1, frames: ['one', 'two'] });
    expect(await store.runs.read('a', 2)).toMatchObject({ first: 5, frames: ['five'] });
    await run.finish(9, [], 'over');
    expect(await store.runs.read('a', 5)).toEqual({ kind: 'ended', last: 8, end: 'over' });
  });

  test('lose their first frames when they are too long', async () => {
    const { store } = await open({ maxRunBytes: 1_024 });
    const run = record(store.runs, 'a');
    const texts = Array.from({ length: 30 }, (_, index) => `${index + 1}`.padEnd(100));
    for (const first of [1, 11, 21]) await run.append(first, texts.slice(first - 1, first + 9));
    const kept = await readAll(store.runs, 'a');
    expect(kept[0]?.[0]).toBeGreaterThan(11);
    expect(kept).toEqual(kept.map(([number]) => [number, texts[number - 1]]));
    expect(kept.at(-1)?.[0]).toBe(30);
    expect(await store.runs.find('a')).toMatchObject({ last: 30 });
  });

  test('keep a last frame that is too long by itself', async () => {
    const { store } = await open({ maxRunBytes: 1_024 });
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    await run.append(2, ['x'.repeat(5_000)]);
    expect(await readAll(store.runs, 'a')).toEqual([[2, 'x'.repeat(5_000)]]);
  });

  test('are found while they run and when they have ended', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    const described = { runId: 'a', startedAt: 1_000, user: 'ada' };
    expect(await another.runs.find('a')).toEqual({
      record: described,
      state: 'running',
      last: 1,
      end: undefined,
    });
    await run.finish(2, ['two'], 'over');
    run.release();
    expect(await another.runs.find('a')).toEqual({
      record: described,
      state: 'ended',
      last: 2,
      end: 'over',
    });
  });

  test('may be of nobody in particular', async () => {
    const { store } = await open();
    const run = store.runs.record({ runId: 'a', startedAt: 1, user: undefined }, () => {});
    await run.append(1, ['one']);
    expect((await store.runs.find('a'))?.record).toEqual({
      runId: 'a',
      startedAt: 1,
      user: undefined,
    });
    await run.finish(2, [], 'over');
    run.release();
  });

  test('are known to have expired', async () => {
    const { store } = await open({ ttl: 50 });
    const run = record(store.runs, 'a');
    await run.finish(1, ['one'], 'over');
    run.release();
    await eventually(async () => (await store.runs.find('a'))?.state === 'expired');
    expect(await store.runs.find('a')).toMatchObject({ record: { user: 'ada' }, last: 0 });
    expect(await store.runs.read('a', 0)).toEqual({ kind: 'gone' });
    expect(await store.runs.list()).toEqual([]);
  });

  test.each(['b', '__proto__'])('are not found when there was none: %j', async (runId) => {
    const { store } = await open();
    await record(store.runs, 'a').append(1, ['one']);
    expect(await store.runs.find(runId)).toBeUndefined();
    expect(await store.runs.read(runId, 0)).toEqual({ kind: 'gone' });
    expect(await store.runs.read(runId, 0, following())).toEqual({ kind: 'gone' });
    expect(await store.runs.isAttended('a')).toBe(false);
    await store.runs.cancel(runId);
    await store.runs.remove(runId);
  });

  test('are listed', async () => {
    const { store, another } = await open();
    expect(await store.runs.list()).toEqual([]);
    const one = record(store.runs, 'a');
    await one.finish(1, ['one'], 'over');
    one.release();
    await record(store.runs, 'b').append(1, ['one']);
    const listed = await another.runs.list();
    expect(listed.map(({ record, state }) => [record.runId, state]).sort()).toEqual([
      ['a', 'ended'],
      ['b', 'running'],
    ]);
  });

  test('are forgotten on demand', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.finish(1, ['one'], 'over');
    run.release();
    await another.runs.remove('a');
    expect(await store.runs.find('a')).toBeUndefined();
    expect(await store.runs.list()).toEqual([]);
    expect(await store.runs.read('a', 0)).toEqual({ kind: 'gone' });
  });

  test('are cancelled through any instance, each by itself', async () => {
    const { store, another } = await open();
    const cancelled: string[] = [];
    let seen = () => {};
    const both = new Promise<void>((resolve) => {
      seen = () => cancelled.length === 2 && resolve();
    });
    for (const runId of ['a', 'b', 'c']) {
      const run = record(store.runs, runId, () => {
        cancelled.push(runId);
        seen();
      });
      await run.append(1, ['one']);
    }
    await another.runs.cancel('b');
    await store.runs.cancel('c');
    await both;
    expect(cancelled.sort()).toEqual(['b', 'c']);
  });

  test('are attended as long as somebody follows', async () => {
    const { store, another } = await open();
    await record(store.runs, 'a').append(1, ['one']);
    expect(await store.runs.isAttended('a')).toBe(false);
    const controller = new AbortController();
    const page = another.runs.read('a', 1, controller.signal);
    await eventually(() => store.runs.isAttended('a'));
    controller.abort();
    await expect(page).rejects.toThrow();
    const later = performance.now() + 5_001;
    if (store === another) jest.spyOn(performance, 'now').mockReturnValue(later);
    cleanups.push(() => jest.restoreAllMocks());
    await eventually(async () => !(await store.runs.isAttended('a')));
  });

  test('are not attended by who only looks', async () => {
    const { store } = await open();
    await record(store.runs, 'a').append(1, ['one']);
    await store.runs.read('a', 0);
    await store.runs.find('a');
    await store.runs.list();
    expect(await store.runs.isAttended('a')).toBe(false);
  });
});

describe.each([
  ['memory', openMemory],
  ['Redis by node-redis', nodeRedis],
  ['Redis by node-redis with RESP2', nodeRedis2],
  ['Redis by ioredis', ioredis],
] as const)('sessions in %s', (_name, open) => {
  test('are kept for a while or until they are deleted, once', async () => {
    const { sessions } = (await open()).store;
    expect(await sessions.get('a')).toBeUndefined();
    await sessions.set('a', 'é\n😀', 60_000);
    await sessions.set('b', '', 50);
    expect(await sessions.get('a')).toBe('é\n😀');
    expect(await sessions.get('b')).toBe('');
    const deleted = await Promise.all(Array.from({ length: 10 }, () => sessions.delete('a')));
    expect(deleted.filter(Boolean)).toHaveLength(1);
    expect(await sessions.get('a')).toBeUndefined();
    await eventually(async () => (await sessions.get('b')) === undefined);
    expect(await sessions.delete('b')).toBe(false);
  });
});

test('in memory a run is concluded once, and not when it has gone on', async () => {
  const { runs } = full(memoryStore());
  const run = record(runs, 'a');
  await run.append(1, ['one', 'two']);
  expect(await runs.conclude('a', 2, ['lost'], 'lost')).toBe(false);
  expect(await runs.conclude('b', 1, ['lost'], 'lost')).toBe(false);
  expect(await runs.conclude('a', 3, ['lost'], 'lost')).toBe(true);
  expect(await runs.conclude('a', 4, ['lost'], 'lost')).toBe(false);
  expect(await run.append(3, ['three'])).toBe(false);
  expect(await run.finish(3, ['three'], 'over')).toBe(false);
  expect(await runs.read('a', 2)).toEqual({ kind: 'frames', first: 3, frames: ['lost'] });
  expect(await runs.read('a', 3)).toEqual({ kind: 'ended', last: 3, end: 'lost' });
});

describe.each([
  ['node-redis', nodeRedis],
  ['node-redis with RESP2', nodeRedis2],
  ['ioredis', ioredis],
] as const)('a run in Redis by %s', (_name, open) => {
  test('is not concluded while its owner lives', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    expect(await another.runs.conclude('a', 2, ['lost'], 'lost')).toBe(false);
    expect(await run.append(2, ['two'])).toBe(true);
  });

  test('outlives a quiet owner', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    const page = another.runs.read('a', 1, following());
    // Longer than a dead owner could stay unnoticed.
    await delay(900);
    await run.append(2, ['two']);
    expect(await page).toEqual({ kind: 'frames', first: 2, frames: ['two'] });
  });

  test('is lost with its owner, concluded by one, and not written again by the owner', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one', 'two']);
    run.release();
    const since = performance.now();
    const readers = [store, another].map(({ runs }) => runs.read('a', 2, following()));
    for (const page of await Promise.all(readers)) expect(page).toEqual({ kind: 'lost', last: 2 });
    expect(performance.now() - since).toBeLessThan(800 + 200);

    const late = another.runs.read('a', 2, following());
    const concluded = await Promise.all(
      Array.from({ length: 5 }, () => another.runs.conclude('a', 3, ['lost'], 'gone')),
    );
    expect(concluded.filter(Boolean)).toHaveLength(1);
    expect(await late).toEqual({ kind: 'frames', first: 3, frames: ['lost'] });
    expect(await run.append(3, ['three'])).toBe(false);
    expect(await run.finish(3, ['three'], 'over')).toBe(false);
    expect(await readAll(store.runs, 'a', 2)).toEqual([[3, 'lost']]);
    expect(await store.runs.read('a', 3, following())).toEqual({
      kind: 'ended',
      last: 3,
      end: 'gone',
    });
    expect(await store.runs.find('a')).toMatchObject({ state: 'ended', last: 3, end: 'gone' });
  });

  test('is not concluded when its owner has written after all', async () => {
    const { store, another } = await open();
    const run = record(store.runs, 'a');
    await run.append(1, ['one']);
    run.release();
    expect(await another.runs.read('a', 1, following())).toEqual({ kind: 'lost', last: 1 });
    expect(await run.append(2, ['two'])).toBe(true);
    expect(await another.runs.conclude('a', 2, ['lost'], 'lost')).toBe(false);
    expect(await run.finish(3, [], 'over')).toBe(true);
    expect(await another.runs.conclude('a', 3, ['lost'], 'lost')).toBe(false);
    expect(await readAll(another.runs, 'a')).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
  });

  test('holds once what is written repeatedly', async () => {
    const { store } = await open();
    const run = record(store.runs, 'a');
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await run.append(1, ['one', 'two'])).toBe(true);
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(await run.finish(3, ['three'], 'over')).toBe(true);
    }
    expect((await readAll(store.runs, 'a')).map(([, text]) => text)).toEqual([
      'one',
      'two',
      'three',
    ]);
    expect(await store.runs.read('a', 3)).toEqual({ kind: 'ended', last: 3, end: 'over' });
  });

  test('is of another store under another prefix', async () => {
    const [one, two] = [await open(), await open()];
    await record(one.store.runs, 'a').append(1, ['one']);
    expect(await two.store.runs.find('a')).toBeUndefined();
    expect(await two.store.runs.list()).toEqual([]);
  });
});

describe.each([
  ['node-redis', connectNodeRedis],
  ['ioredis', connectIoredis],
] as const)('when Redis starts anew, by %s', (_name, connect) => {
  test('the run goes on after a gap', async () => {
    const own = await startRedisServer();
    cleanups.push(own.close);
    const connections = await connect(own.port);
    cleanups.push(connections.close);
    const settings = { ownerTimeout: 2_000, commandTimeout: 300 };
    const { runs } = full(redisStore({ ...connections.options, ...settings }));
    const run = record(runs, 'a');
    await run.append(1, ['one', 'two']);
    const waiting = runs.read('a', 2, following());
    await eventually(() => runs.isAttended('a'));

    await own.stop();
    await expect(waiting).rejects.toThrow(StoreError);
    await expect(run.append(3, ['three'])).rejects.toThrow(StoreError);
    await expect(runs.find('a')).rejects.toThrow(StoreError);

    await own.start();
    const next = patiently(() => runs.read('a', 2, following()));
    await patiently(() => run.append(4, ['four']));
    // A client may have sent what was given up, once it was connected again.
    const page = await next;
    const all = [
      page,
      ...(page.kind === 'frames' && page.first === 3 ? [await runs.read('a', 3)] : []),
    ];
    expect(all.at(-1)).toMatchObject({ kind: 'frames' });
    expect((await readAll(runs, 'a')).at(-1)).toEqual([4, 'four']);
    await eventually(async () => (await runs.find('a'))?.record.user === 'ada');
    await run.finish(5, [], 'over');
  });
});

async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      await delay(20);
    }
  }
}
