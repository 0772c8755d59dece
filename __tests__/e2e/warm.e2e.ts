import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { format } from 'node:util';
import type { ClaudeStreamOptions } from 'claude-stream';
import createDebug from 'debug';
import { afterTest } from './afterTest';
import { ask, post, readStream } from './client';
import { record } from './figures';
import { nobodyHome, type Process, processesWith, residentBytes } from './processes';
import { type RealCli, startRealCli, versions } from './realCli';
import { serve } from './serve';

const homeOf = ({ env }: ClaudeStreamOptions) => String(env?.HOME);

/** The processes of which a pool of this process has said that they are ready. */
const ready = new Set<number>();

beforeAll(() => {
  createDebug.enable('claude-stream:process');
  createDebug.log = (...line) => {
    const [, pid] = /(\d+) is ready/.exec(format(...line)) ?? [];
    if (pid !== undefined) ready.add(Number(pid));
  };
});

afterAll(() => createDebug.disable());

/** Settles when one process is there, and waits for its request. */
async function waiting(home: string): Promise<Process> {
  for (;;) {
    const [first, ...others] = processesWith(`HOME=${home}`);
    if (first && others.length === 0 && ready.delete(first.pid)) return first;
    await delay(50);
  }
}

/** Settles when so many have been there for as long as one takes to start. */
async function started(home: string, count: number): Promise<void> {
  for (let since = performance.now(); performance.now() - since < 2_500; ) {
    if (processesWith(`HOME=${home}`).length !== count) since = performance.now();
    await delay(50);
  }
}

/** The ms from a request to the first text of its answer. */
async function firstText(url: string): Promise<number> {
  const began = Date.now();
  let first: number | undefined;
  const response = await post(url, { prompt: 'hello' });
  await readStream(response, (part, at) => {
    if (JSON.stringify(part).includes('text_delta')) first ??= at - began;
  });
  if (first === undefined) throw new Error('There was no text.');
  return first;
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** What the model was sent with the last question, as text. */
const lastQuestion = ({ requests }: RealCli) => JSON.stringify(requests.at(-1)?.messages);

describe.each(versions)('%s waits for a request', (version) => {
  test('and answers as one that was started for it; the next request gets another', async () => {
    const cli = await startRealCli(version);
    const server = await serve({ ...cli.options, warm: 1 });
    const first = await waiting(homeOf(cli.options));
    const cold = await serve(cli.options);
    const [one, two] = [
      await ask(server.url, { prompt: 'tool' }),
      await ask(cold.url, { prompt: 'tool' }),
    ];
    for (const { text } of [one, two]) expect(text).toContain('Buy milk.');
    expect((await server.outcomeOf(one.runId)).status).toBe('success');
    const shape = (text: string) => [...text.matchAll(/^event: (.+)$/gm)].map(([, event]) => event);
    expect(shape(one.text)).toEqual(shape(two.text));
    const second = await waiting(homeOf(cli.options));
    expect(second.pid).not.toBe(first.pid);
    record('MiB that one holds while it waits', residentBytes(second.pid) / 2 ** 20);
    await server.chat.close();
    await nobodyHome(homeOf(cli.options), 0);
  });

  test('and gets the model and the permission mode of the request', async () => {
    const cli = await startRealCli(version);
    const server = await serve({
      ...cli.options,
      allowedTools: [],
      warm: 1,
      models: ['haiku'],
      request: () => ({ permissionMode: 'acceptEdits' }),
    });
    const process = await waiting(homeOf(cli.options));
    const response = await post(server.url, { prompt: 'bash: touch made.txt', model: 'haiku' });
    const text = await readStream(response);
    const [, init = ''] = /^data: (.*"subtype":"init".*)$/m.exec(text) ?? [];
    expect(JSON.parse(init)).toMatchObject({
      permissionMode: 'acceptEdits',
      model: expect.stringMatching(/^claude-haiku/),
    });
    expect(cli.requests.at(-1)?.model).toMatch(/^claude-haiku/);
    // Allowed by the mode, and by nothing else.
    expect(await readdir(cli.cwd)).toContain('made.txt');
    expect(processesWith(`HOME=${homeOf(cli.options)}`).map(({ pid }) => pid)).not.toContain(
      process.pid,
    );
    // 2.1.197 tells the model that it was changed.
    expect(lastQuestion(cli).includes('Set model to')).toBe(version === '2.1.197');
  });

  test('and saves more than half of the time to the first text', async () => {
    const cli = await startRealCli(version);
    const [warm, cold] = [await serve({ ...cli.options, warm: 1 }), await serve(cli.options)];
    const [warmTimes, coldTimes]: [number[], number[]] = [[], []];
    for (let round = 0; round < 5; round++) {
      await waiting(homeOf(cli.options));
      warmTimes.push(await firstText(warm.url));
      // The next one is being started, which would slow this one down.
      await waiting(homeOf(cli.options)).then(({ pid }) => ready.add(pid));
      coldTimes.push(await firstText(cold.url));
    }
    record('ms to the first text, warm', median(warmTimes));
    record('ms to the first text, cold', median(coldTimes));
    record('% of the time that is left', (100 * median(warmTimes)) / median(coldTimes));
    expect(median(warmTimes)).toBeLessThanOrEqual(median(coldTimes) / 2);
  });

  test('and is gone when the server exits', async () => {
    const { options } = await startRealCli(version);
    const server = fork(
      join(__dirname, 'exitingServer.js'),
      [JSON.stringify({ ...options, warm: 2 })],
      { execArgv: [], env: { PATH: process.env.PATH, HOME: process.env.HOME } },
    );
    const exited = once(server, 'exit');
    afterTest(() => exited);
    await once(server, 'message');
    await started(homeOf(options), 2);
    server.send('exit');
    expect(await exited).toEqual([1, null]);
    await nobodyHome(homeOf(options), 1_000);
  });
});
