import { killAtExit } from '../../lib/claude/killAtExit';
import {
  endFixtures,
  type FixtureProcess,
  gone,
  isAlive,
  killIfAlive,
  pidsOf,
  startFixture,
} from './fixtureProcess';

const strangers: number[] = [];

afterEach(async () => {
  await endFixtures();
  for (const pid of strangers.splice(0)) killIfAlive(pid);
});

const before = process.listeners('exit');

/** What was registered for the exit of the server. */
const registered = () => process.listeners('exit').filter((one) => !before.includes(one));

/** What happens at an exit: every listener is called, and nothing after that. */
function exit(): void {
  for (const listener of registered()) listener(0);
}

async function end(fixture: FixtureProcess): Promise<void> {
  fixture.kill('SIGKILL');
  await fixture.exited;
  await fixture.ended;
}

test('there is no listener while nothing runs, one for any number of processes, and none after them', async () => {
  expect(registered()).toEqual([]);
  const fixtures = await Promise.all([1, 2, 3].map(() => startFixture('mute')));
  for (const fixture of fixtures) {
    killAtExit(fixture);
    expect(registered()).toHaveLength(1);
  }
  const last = fixtures.pop() as FixtureProcess;
  for (const fixture of fixtures) await end(fixture);
  expect(registered()).toHaveLength(1);
  await end(last);
  expect(registered()).toEqual([]);
});

test('there is a listener again for a process that comes later', async () => {
  for (let time = 1; time <= 2; time++) {
    const fixture = await startFixture('mute');
    killAtExit(fixture);
    expect(registered()).toHaveLength(1);
    await end(fixture);
    expect(registered()).toEqual([]);
  }
});

test('an exit leaves neither a process that ignores every signal nor what it has started', async () => {
  const fixtures = await Promise.all([1, 2].map(() => startFixture('stubborn')));
  const pids = (await Promise.all(fixtures.map(pidsOf))).flat();
  strangers.push(...pids);
  for (const fixture of fixtures) killAtExit(fixture);
  exit();
  await Promise.all(pids.map(gone));
});

test('an exit leaves no process that has left the family', async () => {
  const fixture = await startFixture('orphan');
  const [own, orphan] = await pidsOf(fixture);
  strangers.push(orphan);
  killAtExit(fixture);
  exit();
  await Promise.all([own, orphan].map(gone));
});

test('an exit leaves the processes of others alone', async () => {
  const [mine, other] = await Promise.all([startFixture('mute'), startFixture('mute')]);
  killAtExit(mine);
  exit();
  await mine.exited;
  expect(isAlive(other.pid)).toBe(true);
});
