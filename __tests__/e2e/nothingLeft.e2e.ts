import { once } from 'node:events';
import { request } from 'node:http';
import type { ClaudeStreamOptions } from 'claude-stream';
import { post, readStream, runIdOf } from './client';
import { claudeAnswer } from './eventStream';
import { record } from './figures';
import { nothingLeft, processesOf, processWith } from './processes';
import { startRealCli, versions } from './realCli';
import { fixture, serve } from './serve';

const seconds = 1_000;

/** A shell loop that runs for ever, and the words by which its processes are known. */
function endlessLoop() {
  const marker = `1.${Math.floor(Math.random() * 1e9)}`;
  return { marker, prompt: `bash: while true; do command sleep ${marker}; done` };
}

/**
 * Nothing of the run is alive `ms` after its cause to stop.
 *
 * @param since when that was: ms on the clock of `performance.now()`
 */
async function expectNothingLeft(runId: string, since: number, ms: number, marker?: string) {
  await nothingLeft(runId, ms, marker);
  const elapsed = performance.now() - since;
  record('ms until nothing was left', elapsed);
  expect(elapsed).toBeLessThan(ms);
}

describe.each(versions)('while the Bash tool of %s runs', (version) => {
  async function startLoop(more: ClaudeStreamOptions = {}) {
    const { options } = await startRealCli(version);
    const server = await serve({ ...options, ...more });
    const { marker, prompt } = endlessLoop();
    const response = await post(server.url, { prompt });
    const runId = runIdOf(response);
    await processWith(runId, marker);
    return { server, response, runId, marker };
  }

  test('the client leaves', async () => {
    const { server, response, runId, marker } = await startLoop();
    response.destroy();
    await expectNothingLeft(runId, performance.now(), 3 * seconds, marker);
    expect(await server.outcomeOf(runId)).toMatchObject({
      status: 'interrupted',
      reason: 'disconnected',
    });
  });

  test('the CLI is silent for too long', async () => {
    const idle = 2 * seconds;
    const { response, runId, marker } = await startLoop({ timeout: { idle } });
    const deadline = performance.now() + idle;
    const { ending } = claudeAnswer(await readStream(response));
    await expectNothingLeft(runId, deadline, 3 * seconds, marker);
    expect(ending).toBe('idle_timeout');
  });

  test('the middleware is closed', async () => {
    const { server, response, runId, marker } = await startLoop();
    const answer = readStream(response);
    const started = performance.now();
    await server.chat.close();
    expect(processesOf(runId, marker)).toEqual([]);
    await expectNothingLeft(runId, started, 3 * seconds, marker);
    expect(claudeAnswer(await answer).ending).toBe('shutting_down');
  });
});

const total = 1_500;

/** Starts a fixture and waits until it has said the pids of its processes. */
async function startFamily(name: string, more: ClaudeStreamOptions = {}) {
  const server = await serve({ command: fixture(name), ...more });
  const response = await post(server.url, { prompt: 'hi' });
  const runId = runIdOf(response);
  const said = await new Promise<string>((resolve) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      const pids = /"text":"(\[\d+,\d+\])"/.exec(text)?.[1];
      if (pids !== undefined) resolve(pids);
    });
  });
  const pids = processesOf(runId).map(({ pid }) => pid);
  expect(pids).toEqual(expect.arrayContaining(JSON.parse(said)));
  return { server, response, runId };
}

describe('a family that ignores signals', () => {
  test('the client leaves', async () => {
    const { response, runId } = await startFamily('stubborn');
    response.destroy();
    await expectNothingLeft(runId, performance.now(), 8 * seconds);
  });

  test('the middleware is closed', async () => {
    const { server, runId } = await startFamily('stubborn');
    const started = performance.now();
    await server.chat.close();
    expect(processesOf(runId)).toEqual([]);
    await expectNothingLeft(runId, started, 8 * seconds);
  });

  test('the run takes too long', async () => {
    const deadline = performance.now() + total;
    const { server, runId } = await startFamily('stubborn', { timeout: { total } });
    expect(await server.outcomeOf(runId)).toMatchObject({ status: 'timeout', deadline: 'total' });
    await expectNothingLeft(runId, deadline, 8 * seconds);
  });
});

describe('a process that has left the family', () => {
  test('the client leaves', async () => {
    const { response, runId } = await startFamily('orphan');
    response.destroy();
    await expectNothingLeft(runId, performance.now(), 8 * seconds);
  });

  test('the run takes too long', async () => {
    const deadline = performance.now() + total;
    const { server, runId } = await startFamily('orphan', { timeout: { total } });
    expect(await server.outcomeOf(runId)).toMatchObject({ status: 'timeout', deadline: 'total' });
    await expectNothingLeft(runId, deadline, 8 * seconds);
  });
});

test.each(['orphan', 'silent', 'stubborn'])(
  'the client of an answer that is not streamed leaves: %s',
  async (name) => {
    const server = await serve({ command: fixture(name) });
    const sent = request(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    sent.end(JSON.stringify({ prompt: 'hi', stream: false }));
    const runId = await server.firstToSpeak();
    sent.destroy();
    const left = performance.now();
    await once(sent, 'error');
    await expectNothingLeft(runId, left, 8 * seconds);
    expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'disconnected' });
  },
);

test.each([
  { name: 'mute', deadline: 'firstMessage', ending: 'first_message_timeout' },
  { name: 'silent', deadline: 'idle', ending: 'idle_timeout' },
])('a process that says nothing for too long: $deadline', async ({ name, deadline, ending }) => {
  const server = await serve({ command: fixture(name), timeout: { [deadline]: 1_000 } });
  const response = await post(server.url, { prompt: 'hi' });
  const passes = performance.now() + 1_000;
  expect(claudeAnswer(await readStream(response)).ending).toBe(ending);
  await expectNothingLeft(runIdOf(response), passes, 3 * seconds);
});

test('the client stalls', async () => {
  const stallTimeout = 1_000;
  const server = await serve({
    command: fixture('flood'),
    env: { BYTES: '80000000' },
    stallTimeout,
  });
  const response = await post(server.url, { prompt: 'hi' });
  const deadline = performance.now() + stallTimeout;
  const runId = runIdOf(response);
  expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'stalled' });
  await expectNothingLeft(runId, deadline, 3 * seconds);
  // What was on its way arrives; the end does not.
  await expect(readStream(response)).rejects.toThrow('aborted');
});
