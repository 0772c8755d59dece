// @ts-check
import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Answer } from '../client.js';
import { oursClaude, oursOpenai, pipe } from '../contenders.js';
import { figure, medianDifference, percentile } from '../figures.js';
import { now, stampsIn } from '../transcript.js';

const ticking = fileURLToPath(new URL('../fakeCli/ticking.js', import.meta.url));

/** While many processes start at once, they disturb each other and everything else: ms that do not count. */
const SETTLING = 1_000;

/** Deltas that a server has served before it is measured: at 50 a second the compiler would take minutes to get to it. */
const WARM = 20_000;

/**
 * How long a delta takes from the CLI's write to the client's read, with few and with many streams at once. The rate is
 * low enough that the machine has time for all of them, or the measure would be of a queue.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function latency(bench) {
  const { quick } = bench;
  /** @type {{ streams: number, interval: number, window: number, rounds: number }[]} */
  const sizes = quick
    ? [
        { streams: 1, interval: 20, window: 1_500, rounds: 2 },
        { streams: 50, interval: 100, window: 1_500, rounds: 2 },
      ]
    : [
        { streams: 1, interval: 20, window: 2_000, rounds: 9 },
        { streams: 10, interval: 100, window: 2_500, rounds: 2 },
        { streams: 25, interval: 100, window: 2_500, rounds: 2 },
        { streams: 50, interval: 100, window: 3_000, rounds: 4 },
      ];
  const contenders = quick ? [pipe, oursOpenai] : [pipe, oursOpenai, oursClaude];
  /** @type {import('../figures.js').Result} */
  const result = { figures: [], checks: [], notes: [] };
  for (const size of sizes) {
    const { streams, interval } = size;
    const { delays, busy } = await delaysOf(bench, contenders, size);
    result.notes.push(
      `latency: with ${streams} streams, one delta each about every ${interval} ms, the machine was ${Math.round(busy * 100)} % busy.`,
    );
    for (const [contender, rounds] of delays) {
      for (const percent of [50, 99]) {
        const values = rounds.map((round) => percentile(round, percent));
        const name = `write to read, p${percent}`;
        result.figures.push(figure({ name, contender, x: streams, unit: 'ms' }, values));
        const bare = delays.get(pipe.name) ?? [];
        if (contender === pipe.name || (streams !== 1 && streams !== 50)) continue;
        const [most, tolerated] = percent === 50 ? [0.15, 0.4] : [2, 6];
        const value = medianDifference(
          values,
          bare.map((round) => percentile(round, percent)),
        );
        result.checks.push({
          name: `${contender}, p${percent} more than the bare pipe, ${streams} at once`,
          value,
          unit: 'ms',
          most,
          tolerated,
        });
      }
    }
  }
  return result;
}

/**
 * Contenders take turns.
 * @param {import('../workbench.js').Workbench} bench @param {import('../contenders.js').Contender[]} contenders
 * @param {{ streams: number, interval: number, window: number, rounds: number }} size
 * @returns {Promise<{ delays: Map<string, number[][]>, busy: number }>} ms by contender and round, and how busy the
 * machine was at most, of 1
 */
async function delaysOf(bench, contenders, { streams, interval, window, rounds }) {
  const env = {
    BENCH_INTERVAL: String(interval),
    BENCH_PRELUDE: String(Math.ceil(WARM / streams)),
    BENCH_STAYS: '1',
  };
  const started = await bench.startAll(contenders, { command: ticking, env });
  /** @type {Map<string, number[][]>} */
  const delays = new Map(started.map(({ contender }) => [contender.name, []]));
  let busy = 0;
  for (let round = 0; round < rounds; round++) {
    for (const { contender, server } of started) {
      /** @type {number[]} */
      const measured = [];
      let counts = false;
      const answers = Array.from({ length: streams }, () => {
        return new Answer(server.port, contender, (bytes) => {
          const readAt = now();
          if (counts) measured.push(...stampsIn(bytes).map((writtenAt) => readAt - writtenAt));
        });
      });
      await Promise.all(answers.map((answer) => answer.reached(1)));
      await delay(SETTLING);
      const before = cpuTimes();
      counts = true;
      await delay(window);
      counts = false;
      busy = Math.max(busy, busyShare(before, cpuTimes()));
      for (const answer of answers) answer.destroy();
      delays.get(contender.name)?.push(measured);
      // The processes of this round must be gone before the next.
      await delay(100);
    }
  }
  await bench.servers.stopAll();
  return { delays, busy };
}

/** The work of all cores so far, in ms. */
function cpuTimes() {
  const times = cpus().map((cpu) => cpu.times);
  const idle = times.reduce((sum, time) => sum + time.idle, 0);
  const all = times.reduce(
    (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
    0,
  );
  return { idle, all };
}

/** @param {ReturnType<typeof cpuTimes>} before @param {ReturnType<typeof cpuTimes>} after */
function busyShare(before, after) {
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
}
