import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memoryStore, type Outcome } from 'claude-stream';
import { afterTest } from './afterTest';
import { record } from './figures';
import { Follower, upTo } from './follower';
import { nobodyHome } from './processes';
import { seeded } from './seeded';
import { fixture, type Server, serve } from './serve';

const seconds = 1_000;
const megabyte = 2 ** 20;

const runs = 200;
const ttl = 2 * seconds;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** What a request has come to. */
interface Visit {
  readonly runId: string;
  readonly status: number;
  readonly numbers: readonly (number | undefined)[];
  /** Whether it has seen the end. */
  readonly complete: boolean;
  /** When it was answered, in ms on the clock of `performance.now()`. */
  readonly answered: number;
}

/** A client that leaves at some time; with `undefined` it was gone before it had an answer. */
function visit(url: string, method: 'GET' | 'POST', headers: Record<string, string>) {
  const sent = request(url, { method, agent: false, headers });
  sent.end(method === 'POST' ? '{"prompt":"hi"}' : undefined);
  const response = new Promise<IncomingMessage | undefined>((resolve) => {
    sent.once('response', resolve);
    sent.on('error', () => {});
    sent.once('close', () => resolve(undefined));
  });
  const seen = response.then(async (answer): Promise<Visit | undefined> => {
    if (answer === undefined) return undefined;
    const answered = performance.now();
    const follower = new Follower(answer);
    const complete = await follower.ended;
    const { runId, numbers } = follower;
    const status = Number(answer.statusCode);
    return { runId, status, numbers, complete, answered };
  });
  const leaveAfter = (ms: number) => {
    const timer = setTimeout(() => sent.destroy(), ms);
    void seen.then(() => clearTimeout(timer));
  };
  return { response, seen, leaveAfter };
}

/** Comes back to where it was, for a while. */
async function comeBack({ url, endedAt }: Server, first: Visit, ms: number) {
  const { runId, numbers, complete } = first;
  const last = numbers.length;
  const second = visit(`${url}/${runId}`, 'GET', {
    ...(last > 0 && { 'last-event-id': `${runId}:${last}` }),
  });
  second.leaveAfter(ms);
  const seen = await second.seen;
  if (seen === undefined) return;
  // The client may hear of the end late: while so many processes are started nothing else gets a turn for seconds.
  const end = endedAt(runId);
  if (end === undefined || seen.answered - end < ttl)
    expect(seen.status).toBe(complete ? 204 : 200);
  else expect([200, 204, 410]).toContain(seen.status);
  const all = [...numbers, ...seen.numbers];
  expect(all).toEqual(upTo(all.length));
}

/** Starts many runs at once and leaves them at any time; settles with how they ended, and how often one came back. */
async function beginAndVanish(server: Server, seed: number) {
  const { url, started, outcomeOf } = server;
  const random = seeded(seed);
  const before = started.length;
  const clients = Array.from({ length: runs }, () => {
    const client = visit(url, 'POST', { 'content-type': 'application/json' });
    // Some while so many processes are being started, that nothing else gets much of a turn.
    if (random(1, 4) === 1) client.leaveAfter(random(0, 6 * seconds));
    return client;
  });
  await Promise.all(clients.map(({ response }) => response));
  for (const { leaveAfter } of clients) leaveAfter(random(0, 10 * seconds));
  let returns = 0;
  await Promise.all(
    clients.map(async ({ seen }) => {
      // Some come back too late, when the run has been stopped.
      const [isBack, pause, stay] = [random(1, 2) === 1, random(0, 1_200), random(0, 4 * seconds)];
      const first = await seen;
      if (first === undefined) return;
      expect(first).toMatchObject({ status: 200, numbers: upTo(first.numbers.length) });
      if (!isBack) return;
      await delay(pause);
      returns += 1;
      await comeBack(server, first, stay);
    }),
  );
  const outcomes = await Promise.all(started.slice(before).map(outcomeOf));
  return { outcomes, returns };
}

/** Settles when `check` no longer fails; fails as it does after `ms`. */
async function eventually(check: () => Promise<void> | void, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (problem) {
      if (performance.now() > deadline) throw problem;
    }
    await delay(50);
  }
}

/** What this process holds on to. */
function held() {
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) {
    resources[name] = (resources[name] ?? 0) + 1;
  }
  return {
    resources,
    files: readdirSync('/proc/self/fd').length,
    exitListeners: process.listenerCount('exit'),
  };
}

async function heapAfterCollection(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    collectGarbage();
    await delay(20);
  }
  return process.memoryUsage().heapUsed;
}

const countOf = (outcomes: readonly Outcome[], wanted: (outcome: Outcome) => boolean) =>
  outcomes.filter(wanted).length;

test('of 200 runs whose clients vanish, and some come back, nothing is left', async () => {
  const home = await mkdtemp(join(tmpdir(), 'claude-stream-vanishing-'));
  afterTest(() => rm(home, { recursive: true, force: true }));
  const store = memoryStore({ ttl });
  const server = await serve({
    command: fixture('ticks'),
    env: { TICKS: '100', INTERVAL: '100', HOME: home },
    store,
    disconnectGrace: 500,
  });

  async function round(seed: number) {
    const { outcomes, returns } = await beginAndVanish(server, seed);
    await eventually(async () => expect(await server.chat.runs()).toEqual([]), 5 * seconds);
    await nobodyHome(home, 1 * seconds);
    await delay(ttl);
    await eventually(async () => expect(await store.runs?.list()).toEqual([]), 1 * seconds);
    return { outcomes, returns };
  }

  // What is made once, and stays: compiled code, pools, caches.
  await round(1);
  const heapBefore = await heapAfterCollection();
  const before = held();

  const { outcomes, returns } = await round(2);
  await eventually(() => expect(held()).toEqual(before), 5 * seconds);
  const growth = (await heapAfterCollection()) - heapBefore;
  record('KiB by which the heap has grown', growth / 1_024);
  expect(growth).toBeLessThan(3 * megabyte);

  const complete = countOf(outcomes, ({ status }) => status === 'success');
  const stopped = countOf(
    outcomes,
    (outcome) => outcome.status === 'interrupted' && outcome.reason === 'disconnected',
  );
  record('runs', outcomes.length);
  record('runs that went to their end', complete);
  record('clients that came back', returns);
  expect(complete + stopped).toBe(outcomes.length);
  for (const count of [complete, stopped, returns]) expect(count).toBeGreaterThan(20);
}, 120_000);
