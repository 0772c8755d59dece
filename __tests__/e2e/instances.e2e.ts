import type { ClaudeStreamOptions } from 'claude-stream';
import { afterTest } from './afterTest';
import { record } from './figures';
import { begin, follow, upTo } from './follower';
import { startInstance } from './instances';
import { killAll, nothingLeft, processesOf } from './processes';
import { startRealCli } from './realCli';
import { startRedis } from './redis';
import { fixture } from './serve';

const seconds = 1_000;
const ownerTimeout = 2 * seconds;

const ticks = {
  command: fixture('ticks'),
  env: { TICKS: '40', INTERVAL: '50' },
};

const endless = { ...ticks, env: { TICKS: '4000', INTERVAL: '50' } };

/** Two instances of an application that share nothing but a Redis, each with another client for it. */
async function startTwo(options: ClaudeStreamOptions) {
  const { port } = await startRedis();
  const [a, b] = await Promise.all([
    startInstance('redis', port, ownerTimeout, options),
    startInstance('ioredis', port, ownerTimeout, options),
  ]);
  return { a, b };
}

/** Settles with the status of a request for what follows an event. */
async function statusAfter(url: string, after: number): Promise<number> {
  const response = await fetch(`${url}?after=${after}`);
  await response.body?.cancel();
  return response.status;
}

test('a run that was begun on one instance is followed on another, from where it was', async () => {
  const { a, b } = await startTwo(ticks);
  const first = await begin(a.url);
  const { runId } = first;
  await first.seen(12);
  first.leave();
  await first.ended;
  const rest = await follow(`${b.url}/${runId}`, first.last.number);
  expect(await rest.ended).toBe(true);
  expect(rest.last.event).toBe('outcome');
  expect(JSON.parse(rest.last.data)).toMatchObject({ status: 'success', runId });
  // init, the beginning of the message, the ticks, the result, the state and the outcome.
  expect([...first.numbers, ...rest.numbers]).toEqual(upTo(45));
  for (const { url } of [a, b]) {
    const whole = await follow(`${url}/${runId}`);
    expect(await whole.ended).toBe(true);
    expect(whole.text).toBe(first.text + rest.text);
    expect(await statusAfter(`${url}/${runId}`, 45)).toBe(204);
  }
});

test('a run is cancelled through another instance', async () => {
  const { a, b } = await startTwo(endless);
  const own = await begin(a.url);
  const { runId } = own;
  await own.seen(5);
  expect(processesOf(runId)).not.toEqual([]);
  const cancelled = performance.now();
  const response = await fetch(`${b.url}/${runId}`, { method: 'DELETE' });
  record('ms until the answer', performance.now() - cancelled);
  expect(response.status).toBe(200);
  const summary = await response.json();
  expect(summary).toMatchObject({ runId, status: 'interrupted', code: 'cancelled' });
  await nothingLeft(runId, 1 * seconds);
  expect(await own.ended).toBe(true);
  expect(JSON.parse(own.last.data)).toMatchObject({ status: 'interrupted', reason: 'cancelled' });
  for (const { url } of [a, b]) {
    const again = await fetch(`${url}/${runId}`, { method: 'DELETE' });
    expect({ status: again.status, body: await again.json() }).toEqual({
      status: 200,
      body: summary,
    });
  }
});

async function expectOwnerLost(options: ClaudeStreamOptions, prompt: string, turn: number) {
  const { a, b } = await startTwo(options);
  const own = await begin(a.url, prompt);
  const { runId } = own;
  // Only a test that has failed leaves something to kill.
  afterTest(() => killAll(runId));
  const reader = await follow(`${b.url}/${runId}`);
  await reader.seen(4);
  const died = performance.now();
  await a.kill();
  const gone = nothingLeft(runId, turn);
  expect(await own.ended).toBe(false);
  expect(await reader.ended).toBe(true);
  const told = reader.last.at - died;
  record('ms until the reader was told', told);
  expect(told).toBeLessThan(ownerTimeout + 200);
  expect(reader.last.event).toBe('outcome');
  expect(JSON.parse(reader.last.data)).toMatchObject({
    status: 'crashed',
    code: 'owner_lost',
    runId,
  });
  expect(reader.numbers).toEqual(upTo(reader.frames.length));
  // What its own client has had, another one has had too; but for what was on its way when it died.
  record('events that only the own client has had', own.frames.length - reader.frames.length + 1);
  const second = await follow(`${b.url}/${runId}`);
  expect(await second.ended).toBe(true);
  expect(second.text).toBe(reader.text);
  expect(await statusAfter(`${b.url}/${runId}`, Number(reader.last.number))).toBe(204);
  record('ms until the process was gone', await gone);
}

test('the readers of a run are told when its instance was killed', async () => {
  await expectOwnerLost(endless, 'hi', 1 * seconds);
});

test('the real CLI does not outlive the turn that its instance was killed in', async () => {
  const { options } = await startRealCli('2.1.330');
  await expectOwnerLost(options, 'tick 5 300', 5 * 0.3 * seconds + 3 * seconds);
});
