import { isResult } from '../../lib/claude/messages';
import { shutdown } from '../../lib/claude/shutdown';
import {
  endFixtures,
  type FixtureProcess,
  isAlive,
  killIfAlive,
  pidsOf,
  startFixture,
} from './fixtureProcess';

/** There is no `ps` here; only Linux, which does not need it, has a process table. */
jest.mock('node:child_process', () => ({
  ...jest.requireActual('node:child_process'),
  execFile: (_file: string, _args: string[], done: (error: Error) => void) =>
    done(new Error('spawn ps ENOENT')),
}));

const strangers: number[] = [];

async function startFamily(name: 'stubborn' | 'orphan'): Promise<[FixtureProcess, number]> {
  const fixture = await startFixture(name);
  const [, other] = await pidsOf(fixture);
  strangers.push(other);
  return [fixture, other];
}

/** Shuts a fixture down and tells how long that took, in ms. */
async function shutdownTime(fixture: FixtureProcess): Promise<number> {
  const started = performance.now();
  await shutdown(fixture);
  return performance.now() - started;
}

const { platform } = process;

afterEach(async () => {
  Object.defineProperty(process, 'platform', { value: platform });
  await endFixtures();
  for (const pid of strangers.splice(0)) killIfAlive(pid);
});

test('an interrupt is enough for a process that listens: it ends its turn with a result', async () => {
  const silent = await startFixture('silent');
  await silent.message(({ subtype }) => subtype === 'init');
  await shutdown(silent);
  expect(silent.exit).toEqual({ code: 1, signal: null });
  await silent.ended;
  expect(await silent.message(isResult)).toMatchObject({ terminal_reason: 'aborted_streaming' });
});

test('closed stdin is enough for a process that waits for it', async () => {
  const mute = await startFixture('mute');
  await shutdown(mute);
  expect(mute.exit).toEqual({ code: 0, signal: null });
});

test('SIGTERM ends a process that does not listen', async () => {
  const lingering = await startFixture('lingering');
  await lingering.message(isResult);
  await shutdown(lingering);
  expect(lingering.exit).toEqual({ code: null, signal: 'SIGTERM' });
});

test('SIGTERM comes at once when stdin is closed already, as after an answer', async () => {
  const lingering = await startFixture('lingering');
  await lingering.message(isResult);
  lingering.closeStdin();
  expect(await shutdownTime(lingering)).toBeLessThan(1_000);
  expect(lingering.exit).toEqual({ code: null, signal: 'SIGTERM' });
});

test('SIGKILL ends a process that ignores everything, and its child in another session', async () => {
  const [stubborn, tool] = await startFamily('stubborn');
  expect(await shutdownTime(stubborn)).toBeLessThan(8_000);
  expect(stubborn.exit).toEqual({ code: null, signal: 'SIGKILL' });
  expect(isAlive(stubborn.pid)).toBe(false);
  expect(isAlive(tool)).toBe(false);
});

test('SIGKILL ends a process that was stopped', async () => {
  const silent = await startFixture('silent');
  silent.kill('SIGSTOP');
  expect(await shutdownTime(silent)).toBeLessThan(8_000);
  expect(silent.exit?.signal).toBe('SIGKILL');
});

test('a process that left the family is found and ended', async () => {
  const [orphan, sleeper] = await startFamily('orphan');
  expect(isAlive(sleeper)).toBe(true);
  await shutdown(orphan);
  expect(isAlive(orphan.pid)).toBe(false);
  expect(isAlive(sleeper)).toBe(false);
});

test('survivors of a process that has died are ended', async () => {
  const [stubborn, tool] = await startFamily('stubborn');
  stubborn.kill('SIGKILL');
  await stubborn.exited;
  expect(isAlive(tool)).toBe(true);
  expect(await shutdownTime(stubborn)).toBeLessThan(1_000);
  expect(isAlive(tool)).toBe(false);
});

test('a process that is gone without a trace takes no time', async () => {
  const ended = await startFixture('stderr-only');
  await ended.exited;
  expect(await shutdownTime(ended)).toBeLessThan(1_000);
  expect(ended.exit).toEqual({ code: 1, signal: null });
});

test('two at once are harmless', async () => {
  const [stubborn, tool] = await startFamily('stubborn');
  await Promise.all([shutdown(stubborn), shutdown(stubborn)]);
  expect(stubborn.exit?.signal).toBe('SIGKILL');
  expect(isAlive(tool)).toBe(false);
});

test('the processes of another run live on', async () => {
  const mute = await startFixture('mute');
  const other = await startFixture('mute');
  await shutdown(mute);
  other.closeStdin();
  expect(await other.exited).toEqual({ code: 0, signal: null });
});

test('without a process table the process itself is still ended step by step', async () => {
  const silent = await startFixture('silent');
  await silent.message(({ subtype }) => subtype === 'init');
  Object.defineProperty(process, 'platform', { value: 'darwin' });
  await shutdown(silent);
  expect(silent.exit).toEqual({ code: 1, signal: null });
});
