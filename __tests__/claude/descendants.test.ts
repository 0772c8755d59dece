import { spawn } from 'node:child_process';
import files from 'node:fs/promises';
import { descendantsOf, killProcesses } from '../../lib/claude/descendants';
import {
  endFixtures,
  type FixtureProcess,
  gone,
  killIfAlive,
  pidsOf,
  startFixture,
} from './fixtureProcess';

const strangers: number[] = [];

/** A fixture that has started another process, which the test's end will not leave behind. */
async function startFamily(name: 'stubborn' | 'orphan'): Promise<[FixtureProcess, number]> {
  const fixture = await startFixture(name);
  const [, other] = await pidsOf(fixture);
  strangers.push(other);
  return [fixture, other];
}

async function descendantPids({ pid, id }: FixtureProcess): Promise<number[]> {
  return (await descendantsOf(pid, id)).map((one) => one.pid);
}

const { platform } = process;
const setPlatform = (value: string) => Object.defineProperty(process, 'platform', { value });

afterEach(async () => {
  setPlatform(platform);
  jest.restoreAllMocks();
  await endFixtures();
  for (const pid of strangers.splice(0)) killIfAlive(pid);
});

describe('the descendants of a process', () => {
  test('are none when it has started nothing', async () => {
    expect(await descendantPids(await startFixture('mute'))).toEqual([]);
  });

  test('include a child in a session of its own, but not the process itself', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    expect(await descendantPids(stubborn)).toEqual([tool]);
  });

  test('include grandchildren', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    const found = await descendantsOf(process.pid, 'no-such-run');
    expect(found.map(({ pid }) => pid)).toEqual(expect.arrayContaining([stubborn.pid, tool]));
  });

  test('include one whose parent has died, by the variable that it inherited', async () => {
    const [orphan, sleeper] = await startFamily('orphan');
    expect(await descendantPids(orphan)).toEqual([sleeper]);
    expect(await descendantsOf(orphan.pid, 'another')).toEqual([]);
  });

  test('are found by the whole variable, not by its beginning', async () => {
    const [orphan] = await startFamily('orphan');
    expect(await descendantsOf(orphan.pid, orphan.id.slice(0, -1))).toEqual([]);
  });

  test('are still found when the process itself is gone', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    stubborn.kill('SIGKILL');
    await stubborn.exited;
    expect(await descendantPids(stubborn)).toEqual([tool]);
  });

  test('include one that is still loading its program, and has no environment yet', async () => {
    const [orphan, sleeper] = await startFamily('orphan');
    const { readFile } = files;
    let looks = 0;
    jest.spyOn(files, 'readFile').mockImplementation(async (path, options) => {
      const isItsEnvironment = path === `/proc/${sleeper}/environ`;
      if (isItsEnvironment) looks += 1;
      return isItsEnvironment && looks < 3 ? '' : readFile(path, options);
    });
    expect(await descendantPids(orphan)).toEqual([sleeper]);
    expect(looks).toBe(3);
  });

  test('are told soon when another process has no environment at all', async () => {
    const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], {
      env: {},
      stdio: 'ignore',
    });
    strangers.push(Number(bare.pid));
    const began = performance.now();
    await descendantsOf(undefined, 'no-such-run');
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  test('do not include those of another run', async () => {
    const [one, toolOfOne] = await startFamily('stubborn');
    const [other, toolOfOther] = await startFamily('stubborn');
    expect(await descendantPids(one)).toEqual([toolOfOne]);
    expect(await descendantPids(other)).toEqual([toolOfOther]);
  });
});

describe('killing processes', () => {
  test('ends them, whatever signals they ignore', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    await killProcesses(await descendantsOf(stubborn.pid, stubborn.id));
    await gone(tool);
  });

  test('spares one that has only the pid of the one that was meant', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    const [identity] = await descendantsOf(stubborn.pid, stubborn.id);
    const kill = jest.spyOn(process, 'kill');
    await killProcesses([{ pid: tool, startTime: `${identity?.startTime}1` }]);
    expect(kill).not.toHaveBeenCalled();
  });

  test('does not mind that one is gone', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    const found = await descendantsOf(stubborn.pid, stubborn.id);
    killIfAlive(tool);
    await gone(tool);
    await killProcesses(found);
  });

  test('goes on with the others when one of them may not be killed', async () => {
    const [one, toolOfOne] = await startFamily('stubborn');
    const [other, toolOfOther] = await startFamily('stubborn');
    const found = [
      ...(await descendantsOf(one.pid, one.id)),
      ...(await descendantsOf(other.pid, other.id)),
    ];
    const { kill } = process;
    jest.spyOn(process, 'kill').mockImplementation((pid, signal) => {
      if (pid === toolOfOne && signal === 'SIGKILL')
        throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
      return kill.call(process, pid, signal);
    });
    await killProcesses(found);
    await gone(toolOfOther);
  });
});

describe('without /proc', () => {
  test('ps tells the tree', async () => {
    const [stubborn, tool] = await startFamily('stubborn');
    setPlatform('darwin');
    const found = await descendantsOf(stubborn.pid, stubborn.id);
    expect(found.map(({ pid }) => pid)).toEqual([tool]);
    const kill = jest.spyOn(process, 'kill');
    await killProcesses([{ pid: tool, startTime: 'Thu Jan  1 00:00:00 1970' }]);
    expect(kill).not.toHaveBeenCalled();
    await killProcesses(found);
    await gone(tool);
  });

  test('a process that has left the tree is not found', async () => {
    const [orphan] = await startFamily('orphan');
    setPlatform('darwin');
    expect(await descendantPids(orphan)).toEqual([]);
  });
});
