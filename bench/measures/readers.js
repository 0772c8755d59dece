// @ts-check
import { setTimeout as delay } from 'node:timers/promises';
import { Answer } from '../client.js';
import { figure, percentile } from '../figures.js';
import { now, stampsIn } from '../transcript.js';

const READERS = 500;
const INTERVAL = 20;

/** While the compiler warms up: ms that do not count. */
const SETTLING = 1_500;

/** To take the times out of every answer would cost the client more than the server has to do. */
const TIMED = 50;

/**
 * Whether one core keeps up with many live readers, 50 deltas a second each. The runs are in the server's own process,
 * and so is what feeds them: it is measured alone as well.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function readers(bench) {
  const window = bench.quick ? 2_000 : 8_000;
  /** @type {import('../figures.js').Result} */
  const result = { figures: [], checks: [], notes: [] };
  const generator = await load(bench, window, { sink: true });
  const name = 'CPU of 500 live readers';
  result.figures.push(
    figure({ name, contender: 'the generator alone', unit: '%' }, [generator.cpu]),
  );
  for (const coalesce of bench.quick ? [50] : [0, 50]) {
    const { cpu, delays } = await load(bench, window, { coalesce });
    const contender = `claude-stream openai, coalesce ${coalesce}`;
    const p99 = percentile(delays, 99);
    result.figures.push(
      figure({ name, contender, unit: '%' }, [cpu]),
      figure({ name: 'delta to client, p50', contender, unit: 'ms' }, [percentile(delays, 50)]),
      figure({ name: 'delta to client, p99', contender, unit: 'ms' }, [p99]),
    );
    if (coalesce === 0) continue;
    result.checks.push(
      {
        name: `${contender}, CPU of 500 readers`,
        value: cpu,
        unit: '%',
        most: 100,
        tolerated: 105,
      },
      {
        name: `${contender}, p99 of 500 readers`,
        value: p99,
        unit: 'ms',
        most: 150,
        tolerated: 300,
      },
    );
  }
  return result;
}

/**
 * @param {import('../workbench.js').Workbench} bench @param {number} window ms
 * @param {{ coalesce?: number, sink?: boolean }} options
 * @returns {Promise<{ cpu: number, delays: number[] }>} `cpu` in % of a core, `delays` in ms
 */
async function load(bench, window, options) {
  const deltas = Math.ceil((SETTLING + window + 500) / INTERVAL);
  const contender = { name: 'runs in the server', module: 'inProcessRuns', options: {}, body: {} };
  const [started] = await bench.startAll([contender], {
    options: { ...options, runs: READERS, interval: INTERVAL, deltas },
  });
  if (started === undefined) throw new Error('The runs could not be started.');
  const { server } = started;
  /** @type {number[]} */
  const delays = [];
  let counts = false;
  /** @param {Buffer} bytes */
  const takeTimes = (bytes) => {
    const readAt = now();
    if (counts) delays.push(...stampsIn(bytes).map((writtenAt) => readAt - writtenAt));
  };
  const answers = Array.from(
    { length: READERS },
    (_, index) => new Answer(server.port, contender, index < TIMED ? takeTimes : undefined),
  );
  await Promise.all(answers.map((answer) => answer.headers));
  await delay(SETTLING);
  const since = performance.now();
  const before = await server.usage();
  counts = true;
  await delay(window);
  counts = false;
  const after = await server.usage();
  const elapsed = performance.now() - since;
  await Promise.all(answers.map((answer) => answer.whole));
  await server.stop();
  for (const answer of options.sink ? [] : answers) {
    if (answer.deltas !== deltas) {
      throw new Error(`A reader got ${answer.deltas} of ${deltas} deltas.`);
    }
  }
  return { cpu: (after.cpu - before.cpu) / elapsed / 10, delays };
}
