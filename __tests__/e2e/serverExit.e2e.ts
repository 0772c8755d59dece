import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ClaudeStreamOptions } from 'claude-stream';
import { afterTest } from './afterTest';
import { post, runIdOf } from './client';
import { record } from './figures';
import { killAll, nothingLeft, processesOf, processWith } from './processes';
import { startRealCli, versions } from './realCli';
import { fixture } from './serve';

const seconds = 1_000;

/** Starts a server in a process of its own; the test's end stops it, if it has not exited by then. */
async function startServer(options: ClaudeStreamOptions) {
  const server = fork(join(__dirname, 'exitingServer.js'), [JSON.stringify(options)], {
    // Jest's own settings are nobody else's.
    execArgv: [],
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
  });
  const exited = once(server, 'exit');
  afterTest(async () => {
    if (server.connected) server.disconnect();
    await exited;
  });
  const [{ url }] = await Promise.race([
    once(server, 'message'),
    exited.then(([code]) => {
      throw new Error(`The server exits with ${code} before it listens.`);
    }),
  ]);
  return {
    url: String(url),
    /** Settles with when it was told to: ms on the clock of `performance.now()`. */
    async exit() {
      const told = performance.now();
      server.send('exit');
      expect(await exited).toEqual([1, null]);
      return told;
    },
  };
}

/** Starts a run; settles when one of its processes has `words` among its arguments. */
async function begin(url: string, prompt: string, words: string) {
  const response = await post(url, { prompt });
  const runId = runIdOf(response);
  // Only a test that has failed leaves something to kill.
  afterTest(() => killAll(runId));
  response.on('error', () => {}).resume();
  await processWith(runId, words);
  return runId;
}

async function expectNothingLeft(runId: string, since: number, marker?: string) {
  await nothingLeft(runId, 2 * seconds, marker);
  const elapsed = performance.now() - since;
  record('ms until nothing was left', elapsed);
  expect(elapsed).toBeLessThan(2 * seconds);
}

describe('the server exits without closing the middleware', () => {
  test.each(versions)('while the Bash tool of %s runs', async (version) => {
    const { options } = await startRealCli(version);
    const { url, exit } = await startServer(options);
    const marker = `300.${Math.floor(Math.random() * 1e9)}`;
    // 2.1.330 refuses a command that only sleeps.
    const prompt = `bash: while true; do command sleep ${marker}; done`;
    const runId = await begin(url, prompt, `sleep ${marker}`);
    await expectNothingLeft(runId, await exit(), marker);
  });

  test.each([
    { name: 'stubborn', family: 'a family ignores signals', words: 'setInterval' },
    { name: 'orphan', family: 'a process has left the family', words: 'sleep 60' },
  ])('while $family', async ({ name, words }) => {
    const { url, exit } = await startServer({ command: fixture(name) });
    const runId = await begin(url, 'hi', words);
    expect(processesOf(runId).length).toBeGreaterThanOrEqual(2);
    await expectNothingLeft(runId, await exit());
  });

  test('while several runs go on', async () => {
    const { url, exit } = await startServer({ command: fixture('stubborn') });
    const runIds = await Promise.all(
      Array.from({ length: 8 }, () => begin(url, 'hi', 'setInterval')),
    );
    const told = await exit();
    await Promise.all(runIds.map((runId) => expectNothingLeft(runId, told)));
  });
});
