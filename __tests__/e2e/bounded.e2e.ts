import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClaudeStreamOptions, Outcome } from 'claude-stream';
import { afterTest } from './afterTest';
import { ask, post, readStream, runIdOf } from './client';
import { record } from './figures';
import { nothingLeft, processesOf, residentBytes } from './processes';
import { fixture } from './serve';

const flood = 80_000_000;
const limit = 24 * 2 ** 20;
const stallTimeout = 4_000;

/** Starts the server in a process of its own; the test's end stops it. */
async function startServer(options: ClaudeStreamOptions) {
  const server = fork(join(__dirname, 'floodedServer.js'), [
    fixture('flood'),
    JSON.stringify(options),
  ]);
  const exited = once(server, 'exit');
  afterTest(async () => {
    if (server.connected) server.disconnect();
    await exited;
  });
  const [{ port }] = (await once(server, 'message')) as [{ port: number }];
  return {
    pid: Number(server.pid),
    url: `http://127.0.0.1:${port}/chat`,
    /** Settles with the end of the next run and the number of clients that are left then. */
    async nextEnd() {
      const [end] = await once(server, 'message');
      return end as { ended: Outcome; connections: number };
    },
  };
}

test('a client that never reads costs the server no more than 24 MB, and is cut off', async () => {
  const server = await startServer({ stallTimeout });
  const warm = server.nextEnd();
  await ask(server.url, { prompt: 'hi', bytes: 2_000_000 });
  await warm;
  const base = residentBytes(server.pid);

  const end = server.nextEnd();
  const started = performance.now();
  const response = await post(server.url, { prompt: 'hi', bytes: flood });
  const runId = runIdOf(response);
  let most = 0;
  let stalled = false;
  void end.then(() => {
    stalled = true;
  });
  let held = false;
  while (!stalled) {
    most = Math.max(most, residentBytes(server.pid));
    held ||= processesOf(runId).length > 0;
    await delay(20);
  }
  record('MB that the server grew by', (most - base) / 1e6);
  record('ms until the run had ended', performance.now() - started);
  expect(held).toBe(true);
  expect(most - base).toBeLessThan(limit);

  const { ended, connections } = await end;
  expect(ended).toMatchObject({ status: 'interrupted', reason: 'stalled' });
  expect(connections).toBe(0);
  expect(performance.now() - started).toBeGreaterThan(stallTimeout);
  record('ms until nothing was left', await nothingLeft(runId, 3_000));
  // What was on its way arrives; the end does not.
  await expect(readStream(response)).rejects.toThrow('aborted');
});
