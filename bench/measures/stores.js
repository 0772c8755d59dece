// @ts-check
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Answer } from '../client.js';
import { oursInMemory, oursInRedis, oursOpenai } from '../contenders.js';
import { figure, percentile } from '../figures.js';
import { startRedis } from '../redisServer.js';
import { now, stampsIn } from '../transcript.js';

const ticking = fileURLToPath(new URL('../fakeCli/ticking.js', import.meta.url));

const STREAMS = 50;
const INTERVAL = 100;

/** While many processes start at once: ms that do not count. */
const SETTLING = 1_500;

/**
 * What it costs to keep runs for those who come back: CPU time of the instance that has them, and the delay of a reader
 * that follows through another instance.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function stores(bench) {
  /** @type {import('../figures.js').Result} */
  const result = { figures: [], checks: [], notes: [] };
  if (bench.quick) return result;
  const redis = await startRedis(bench.file('.'));
  if (redis === undefined) result.notes.push('stores: there is no redis-server on the PATH.');
  try {
    const env = {
      BENCH_INTERVAL: String(INTERVAL),
      BENCH_STAYS: '1',
      BENCH_REDIS: redis?.socket ?? '',
    };
    const contenders = [oursOpenai, oursInMemory, ...(redis ? [oursInRedis] : [])];
    const started = await bench.startAll(contenders, { command: ticking, env });
    /** @type {Map<string, number[]>} */
    const shares = new Map(contenders.map(({ name }) => [name, []]));
    for (let round = 0; round < 2; round++) {
      for (const { contender, server } of started) {
        const answers = await streams(server, contender, STREAMS);
        shares.get(contender.name)?.push(await shareOfCore(server, 4_000));
        for (const answer of answers) answer.destroy();
        await delay(100);
      }
    }
    const name = `CPU of ${STREAMS} streams, ${1_000 / INTERVAL} deltas a second each`;
    result.figures.push(
      ...[...shares].map(([contender, values]) => figure({ name, contender, unit: '%' }, values)),
    );
    await bench.servers.stopAll();
    if (redis === undefined) return result;

    const [first, second] = await bench.startAll([oursInRedis, oursInRedis], {
      command: ticking,
      env: { ...env, BENCH_INTERVAL: '20' },
    });
    if (first === undefined || second === undefined) throw new Error('No two instances.');
    /** @type {number[]} */
    const delays = [];
    const answer = await new Answer(first.server.port, oursInRedis).headers;
    const path = `/chat/${answer.header('claude-run-id')}`;
    let counts = false;
    const follower = new Answer(second.server.port, { method: 'GET', path }, (bytes) => {
      const readAt = now();
      if (counts) delays.push(...stampsIn(bytes).map((writtenAt) => readAt - writtenAt));
    });
    await follower.reached(1);
    await delay(SETTLING);
    counts = true;
    await delay(5_000);
    for (const each of [follower, answer]) each.destroy();
    for (const percent of [50, 99]) {
      const what = { name: `write to read through another instance, p${percent}`, unit: 'ms' };
      const contender = oursInRedis.name;
      result.figures.push(figure({ ...what, contender }, [percentile(delays, percent)]));
    }
    return result;
  } finally {
    await bench.servers.stopAll();
    await redis?.stop();
  }
}

/**
 * Opens streams that say something all the time; settles when they have settled.
 * @param {import('../servers.js').ServerProcess} server @param {import('../contenders.js').Contender} contender
 * @param {number} count
 */
async function streams({ port }, contender, count) {
  const answers = Array.from({ length: count }, () => new Answer(port, contender));
  await Promise.all(answers.map((answer) => answer.reached(1)));
  await delay(SETTLING);
  return answers;
}

/**
 * How busy a server is.
 * @param {import('../servers.js').ServerProcess} server @param {number} window ms
 * @returns {Promise<number>} % of a core
 */
async function shareOfCore(server, window) {
  const since = performance.now();
  const before = await server.usage();
  await delay(window);
  const after = await server.usage();
  return (after.cpu - before.cpu) / (performance.now() - since) / 10;
}
