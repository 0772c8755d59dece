import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type CommandOptions, commandFor, spareFor } from '../../lib/claude/command';
import { Pool, type PoolOptions, type TakenProcess } from '../../lib/claude/pool';
import { fixturePath, gone, isAlive, killIfAlive } from './fixtureProcess';

let folder: string;
const pools: Pool[] = [];
const taken: TakenProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claude-stream-'));
});

afterEach(async () => {
  for (const process of taken.splice(0)) {
    process.kill('SIGKILL');
    await process.exited;
  }
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
  for (const { child } of await logged('child')) if (child) killIfAlive(child);
  expect((await started()).filter(isAlive)).toEqual([]);
  await rm(folder, { recursive: true });
});

interface Logged {
  readonly pid: number;
  readonly event: string;
  readonly child?: number;
}

async function logged(event: string): Promise<Logged[]> {
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
  const lines = log.split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line)).filter((line) => line.event === event);
}

/** The processes that were started so far, in their order. */
const started = async () => (await logged('start')).map(({ pid }) => pid);

/** Settles with what is found, once there is something; fails after 10 s. */
async function until<Found>(
  find: () => Found | false | undefined | Promise<Found | false | undefined>,
): Promise<Found> {
  const deadline = performance.now() + 10_000;
  while (performance.now() < deadline) {
    const found = await find();
    if (found) return found;
    await delay(5);
  }
  throw new Error('It does not come.');
}

/** Settles with the processes once so many have been started. */
const atLeast = (count: number) =>
  until(async () => {
    const pids = await started();
    return pids.length >= count && pids;
  });

const options = (env: Record<string, string>): CommandOptions => ({
  command: fixturePath('waiting'),
  env: { ...env, LOG: join(folder, 'log') },
});

/** A pool of the fixture `waiting`, and the command of a request that it fits. */
function createPool(
  size: number,
  env: Record<string, string> = {},
  more: Partial<PoolOptions> = {},
) {
  let ids = 0;
  const pool = new Pool({
    size,
    createCommand: () => spareFor(options(env), `${folder}-${ids++}`, process.env, false),
    pause: 50,
    ...more,
  });
  pools.push(pool);
  const command = commandFor(options(env), { content: 'hi' }, 'run', process.env);
  /** Takes a process as soon as there is one. */
  const take = async () => {
    const process = await until(() => pool.take(command));
    taken.push(process);
    return process;
  };
  return { pool, command, take };
}

/** All that a process says, to the end of its answer. */
async function answerOf({ stdout }: TakenProcess): Promise<string> {
  let text = '';
  stdout.on('data', (chunk: Buffer) => {
    text += chunk;
  });
  while (!text.includes('"session_state_changed"')) await once(stdout, 'data');
  return text;
}

test('a process that waits says everything to whoever takes it, from the beginning', async () => {
  const { take } = createPool(1);
  const answer = await answerOf(await take());
  expect(answer).toMatch(/^{"type":"control_response"/);
  expect(answer.match(/"control_response"/g)).toHaveLength(1);
  expect(answer).toContain('"subtype":"init"');
});

test('as many wait as are wanted, started one after the other, and none before the pool is there', async () => {
  createPool(3);
  expect(await started()).toEqual([]);
  const pids = await atLeast(3);
  await delay(200);
  expect(await started()).toEqual(pids);
});

test('each is taken once, the oldest first, and another takes its place', async () => {
  const { take } = createPool(2);
  const [one, two, three] = [await take(), await take(), await take()];
  expect([one.pid, two.pid, three.pid]).toEqual((await started()).slice(0, 3));
  expect(new Set([one.id, two.id, three.id]).size).toBe(3);
});

test('no other is started while the request that took one needs the processor', async () => {
  const { take } = createPool(1, {}, { pause: 400 });
  const process = await take();
  const began = performance.now();
  await answerOf(process);
  await atLeast(2);
  expect(performance.now() - began).toBeGreaterThan(390);
});

test('one that is not ready is not taken, nor one that does not fit', async () => {
  const { pool, command, take } = createPool(1, { MODE: 'slow' });
  await atLeast(1);
  expect(pool.take(command)).toBeUndefined();
  await take();
  const other = commandFor({ command: 'other' }, { content: 'hi' }, 'run', process.env);
  expect(pool.take(other)).toBeUndefined();
});

test('one that has become old is ended, and a new one takes its place', async () => {
  createPool(1, {}, { maxAge: 100 });
  const [first = 0] = await atLeast(2);
  await gone(first);
  expect((await logged('end'))[0]?.pid).toBe(first);
});

test('one that waits is no reason for the server to stay; one that was taken is', async () => {
  const held = () =>
    process.getActiveResourcesInfo().filter((type) => /^(Process|Pipe)Wrap$/.test(type)).length;
  const before = held();
  const { take } = createPool(1, {}, { pause: 60_000 });
  await until(async () => (await logged('ready')).length > 0);
  expect(held()).toBe(before);
  await take();
  expect(held()).toBe(before + 4);
});

describe('a process that goes wrong', () => {
  test('is started again, but less and less often', async () => {
    createPool(1, { MODE: 'fails' });
    await atLeast(2);
    const began = performance.now();
    await atLeast(3);
    expect(performance.now() - began).toBeGreaterThan(1_500);
  });

  test('the same when it dies while it waits; it is never taken then', async () => {
    const { pool, command } = createPool(1, { MODE: 'dies' });
    const [first = 0] = await atLeast(1);
    await gone(first);
    const began = performance.now();
    // It is dead a moment before Node hears of it; whoever takes it then starts again.
    await delay(50);
    expect(pool.take(command)).toBeUndefined();
    await atLeast(2);
    expect(performance.now() - began).toBeGreaterThan(500);
  });

  test('cannot be started at all: nothing throws', async () => {
    let asked = 0;
    const pool = new Pool({
      size: 1,
      createCommand: () => {
        asked += 1;
        return spareFor({ command: '/nowhere/claude' }, 'none', process.env, false);
      },
    });
    await until(() => asked > 1);
    await pool.close();
  });

  test('leaves nothing that it has started by itself', async () => {
    const { take } = createPool(1, { MODE: 'family' });
    const process = await take();
    const [{ child = 0 } = {}] = await logged('child');
    expect(isAlive(child)).toBe(true);
    process.kill('SIGKILL');
    await process.exited;
    const again = await process.startAgain();
    await gone(child);
    expect(again.id).toBe('run');
    again.kill('SIGKILL');
    await again.exited;
  });
});

describe('close', () => {
  test('ends those that wait in order, with what they have started', async () => {
    const { pool, take } = createPool(2, { MODE: 'family' });
    await atLeast(2);
    await take();
    const before = await started();
    await pool.close();
    const children = (await logged('child')).slice(1).map(({ child = 0 }) => child);
    expect((await started()).length).toBe(before.length);
    expect((await logged('end')).length).toBe(before.length - 1);
    expect(children.filter(isAlive)).toEqual([]);
  });

  test('does not wait for one that is still being started, and leaves none', async () => {
    const { pool } = createPool(3, { MODE: 'never' });
    const [first = 0] = await atLeast(1);
    const began = performance.now();
    await pool.close();
    expect(performance.now() - began).toBeLessThan(1_000);
    expect(isAlive(first)).toBe(false);
  });

  test('right away starts none', async () => {
    const { pool } = createPool(1);
    await pool.close();
    await delay(100);
    expect(await started()).toEqual([]);
  });

  test('kills one that clings to life', async () => {
    const { pool } = createPool(1, { MODE: 'clings' });
    const [first = 0] = await atLeast(1);
    await delay(100);
    await pool.close();
    expect(isAlive(first)).toBe(false);
  });

  test('takes nothing and starts nothing afterwards', async () => {
    const { pool, command, take } = createPool(2);
    const process = await take();
    await pool.close();
    const count = (await started()).length;
    expect(pool.take(command)).toBeUndefined();
    expect(isAlive(process.pid)).toBe(true);
    await delay(200);
    expect(await started()).toHaveLength(count);
  });
});
