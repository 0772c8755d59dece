// @ts-check
import { setTimeout as delay } from 'node:timers/promises';
import { Answer } from '../client.js';
import { agentSdk, loop, maxApiProxy, oursClaude, oursOpenai, pipe } from '../contenders.js';
import { figure } from '../figures.js';

/** About 80 MB of output. */
const DELTAS = 240_000;

/** Deltas that a server has served before it is measured. */
const WARM = 5_000;

/** How often a server is asked for its memory, in ms. */
const INTERVAL = 50;

/**
 * How much memory a server takes for a client that has stopped reading; afterwards the client goes on, and must get
 * everything.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function stalled(bench) {
  const contenders = bench.quick ? [pipe, oursOpenai] : [pipe, loop, oursOpenai, oursClaude];
  if (bench.peers && !bench.quick) contenders.push(agentSdk, maxApiProxy);
  const rounds = bench.quick ? 1 : 2;
  const env = bench.transcript({ deltas: DELTAS });
  /** @type {Map<string, number[]>} */
  const growths = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      const growth = await growthFor(bench, contender, env);
      growths.set(contender.name, [...(growths.get(contender.name) ?? []), growth / 1e6]);
    }
  }
  const figures = [...growths].map(([contender, values]) =>
    figure({ name: 'RSS more for a client that does not read', contender, unit: 'MB' }, values),
  );
  return {
    figures,
    checks: figures
      .filter(({ contender }) => [oursOpenai.name, oursClaude.name].includes(contender))
      .map(({ contender, median }) => ({
        name: `${contender}, RSS more for a client that does not read`,
        value: median,
        unit: 'MB',
        most: 16,
        tolerated: 30,
      })),
    notes: [],
  };
}

/**
 * @param {import('../workbench.js').Workbench} bench @param {import('../contenders.js').Contender} contender
 * @param {Record<string, string>} env
 * @returns {Promise<number>} bytes
 */
async function growthFor(bench, contender, env) {
  const [started] = await bench.startAll([contender], { env });
  if (started === undefined) throw new Error(`${contender.name} could not be started.`);
  const { server } = started;
  // What is loaded and compiled for the first stream counts for none; a whole one would hide what the next takes.
  const first = await new Answer(server.port, contender).reached(WARM);
  first.destroy();
  await delay(500);
  await server.collect();
  const { rss } = await server.usage();
  const answer = new Answer(server.port, contender);
  await answer.headers;
  answer.pause();
  let peak = rss;
  for (let waited = 0; waited < (bench.quick ? 1_500 : 3_000); waited += INTERVAL) {
    await delay(INTERVAL);
    peak = Math.max(peak, (await server.usage()).rss);
  }
  answer.resume();
  const { deltas } = await answer.whole;
  if (deltas !== DELTAS) throw new Error(`${contender.name}: ${deltas} of ${DELTAS} deltas came.`);
  await server.stop();
  return peak - rss;
}
