// @ts-check
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { Answer } from '../client.js';
import { oursClaude, oursOpenai, pipe } from '../contenders.js';
import { figure, percentile } from '../figures.js';

/** Streams that are being opened at a time: each starts a process. */
const AT_ONCE = 20;

/** More often than by default, so that a short time holds whole periods. What is measured is comments, so it scales. */
const KEEP_ALIVE = 5_000;
const DEFAULT_KEEP_ALIVE = 15_000;

/** What a stream says before it falls silent. */
const DELTAS = 5;

/** Of the server for each stream: its socket, and three pipes of the process. */
const DESCRIPTORS = 4;

/**
 * What a stream costs on which nothing happens: memory, and the CPU time of its keep-alive comments.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function idle(bench) {
  /** @type {import('../figures.js').Result} */
  const result = { figures: [], checks: [], notes: [] };
  const limit = openFilesLimit();
  const counts = (bench.quick ? [300] : [1, 100, 1_000]).filter(
    (count) => count * DESCRIPTORS + 100 < limit,
  );
  const most = counts.at(-1) ?? 0;
  const wanted = bench.quick ? 300 : 1_000;
  if (most < wanted) {
    result.notes.push(`idle: a limit of ${limit} open files (ulimit -n) is too low for ${wanted}.`);
  }
  const contenders = bench.quick ? [pipe, oursOpenai] : [pipe, oursOpenai, oursClaude];
  for (const contender of contenders) {
    for (const count of counts) {
      // Of one stream alone what it takes is less than what comes and goes beside it.
      const rounds = count === 1 ? 9 : 1;
      const { rss, heap, cpu } = await costOfSilence(bench, contender, {
        count,
        rounds,
        isTimed: count === most,
      });
      const { name } = contender;
      const perStream = (/** @type {string} */ what) => ({
        name: `${what} per idle stream`,
        contender: name,
        x: count,
        unit: 'KB',
      });
      result.figures.push(figure(perStream('heap'), heap), figure(perStream('RSS'), rss));
      if (cpu !== undefined) {
        const period = `a comment every ${KEEP_ALIVE / 1_000} s`;
        const what = {
          name: `CPU of idle streams, ${period}`,
          contender: name,
          x: count,
          unit: '%',
        };
        result.figures.push(figure(what, [cpu]));
      }
      if (contender === pipe || count !== most) continue;
      result.checks.push({
        name: `${name}, heap of each of ${count} idle streams`,
        value: percentile(heap, 50),
        unit: 'KB',
        most: 40,
        tolerated: 50,
      });
      if (cpu === undefined) continue;
      result.checks.push({
        name: `${name}, CPU of ${count} idle streams at the default of a comment every 15 s`,
        value: (cpu * KEEP_ALIVE) / DEFAULT_KEEP_ALIVE,
        unit: '%',
        most: 2,
        tolerated: 4,
      });
    }
  }
  return result;
}

/**
 * @param {import('../workbench.js').Workbench} bench @param {import('../contenders.js').Contender} contender
 * @param {{ count: number, rounds: number, isTimed: boolean }} size whether CPU time is measured as well
 * @returns {Promise<{ rss: number[], heap: number[], cpu: number | undefined }>} KB of each stream by round, and % of a core
 */
async function costOfSilence(bench, contender, { count, rounds, isTimed }) {
  const options = contender === pipe ? {} : { keepAlive: KEEP_ALIVE };
  const env = { ...bench.transcript({ deltas: DELTAS, ends: false }), BENCH_STAYS: '1' };
  const [started] = await bench.startAll([contender], { env, options });
  if (started === undefined) throw new Error(`${contender.name} could not be started.`);
  const { server } = started;
  // What is loaded and compiled for the first stream belongs to none.
  for (const answer of await opened(server, contender, 5)) answer.destroy();
  /** @type {Answer[]} */
  let answers = [];
  const [rss, heap] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
  for (let round = 0; round < rounds; round++) {
    for (const answer of answers) answer.destroy();
    answers = [];
    await delay(500);
    await server.collect();
    const before = await server.usage();
    while (answers.length < count) {
      const next = Math.min(AT_ONCE, count - answers.length);
      answers.push(...(await opened(server, contender, next)));
    }
    await delay(300);
    await server.collect();
    const after = await server.usage();
    rss.push((after.rss - before.rss) / count / 1_000);
    heap.push((after.heap - before.heap) / count / 1_000);
  }
  let cpu;
  if (isTimed) {
    // Whole periods: the streams say something at different times.
    const window = bench.quick ? KEEP_ALIVE : 3 * KEEP_ALIVE;
    const since = performance.now();
    const from = await server.usage();
    await delay(window);
    const to = await server.usage();
    cpu = (to.cpu - from.cpu) / (performance.now() - since) / 10;
  }
  if (answers.some(({ endedAt }) => endedAt > 0)) {
    throw new Error(`${contender.name}: streams have ended that were to be idle.`);
  }
  for (const answer of answers) answer.destroy();
  await server.stop();
  return { rss, heap, cpu };
}

/**
 * Opens streams; settles when each of them has fallen silent.
 * @param {import('../servers.js').ServerProcess} server @param {import('../contenders.js').Contender} contender
 * @param {number} count
 */
function opened({ port }, contender, count) {
  const answers = Array.from({ length: count }, () => new Answer(port, contender));
  return Promise.all(answers.map((answer) => answer.reached(DELTAS)));
}

/** Of one process; the servers inherit it. */
function openFilesLimit() {
  const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit);
}
