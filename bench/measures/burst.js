// @ts-check
import { Answer } from '../client.js';
import {
  agentSdk,
  loop,
  maxApiProxy,
  naive,
  oursClaude,
  oursCoalesced,
  oursOpenai,
  pipe,
} from '../contenders.js';
import { figure, medianRatio } from '../figures.js';

/** Deltas that a server has served before it is measured. */
const WARM = 50_000;

/** Longer and shorter runs: their deltas, and how many of them are measured as one. @type {[number, number][]} */
const SERIES = [
  [1_000, 20],
  [10_000, 4],
  [1_000_000, 1],
];

/**
 * What a delta costs when many come at once: CPU time of the server, and deltas per second. The stand-in writes each
 * line by itself, as the CLI does; in blocks, which the CLI never writes, the bare pipe costs a fifth, so that figure
 * shows what the library does to a line when reading costs next to nothing.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function burst(bench) {
  const contenders = [pipe, loop, oursOpenai, naive, oursClaude, oursCoalesced];
  if (bench.peers) contenders.push(agentSdk, maxApiProxy);
  const deltas = bench.quick ? 50_000 : 100_000;
  const rounds = bench.quick ? 4 : 9;
  const costs = await costsOfRun(bench, contenders, { deltas, repeats: 1, rounds });
  /** @type {{ name: string, costs: Map<string, Costs> }[]} */
  const variants = [];
  if (!bench.quick) {
    const size = { deltas, repeats: 1, rounds: 5 };
    const ascii = [pipe, loop, oursOpenai, naive, oursClaude];
    variants.push(
      {
        name: 'CPU per delta, in blocks',
        costs: await costsOfRun(bench, ascii, { ...size, writes: 'blocks' }),
      },
      {
        name: 'CPU per delta, text beyond ASCII',
        costs: await costsOfRun(bench, [loop, oursOpenai], { ...size, words: 'other' }),
      },
    );
  }
  const series = [];
  // Of a short run many, since its few deltas share what it costs to start a process.
  for (const [length, repeats] of bench.quick ? [] : SERIES) {
    const size = { deltas: length, repeats, rounds: 3 };
    series.push(...(await costsOfRun(bench, [pipe, loop, oursOpenai, oursClaude], size)).values());
  }
  const of = (/** @type {import('../contenders.js').Contender} */ { name }) =>
    costs.get(name)?.cpu ?? [];
  const ours = of(oursOpenai);
  return {
    figures: [
      ...[...costs.values(), ...series].map(({ contender, deltas, cpu }) =>
        figure({ name: 'CPU per delta', contender, x: deltas, unit: 'µs' }, cpu),
      ),
      ...variants.flatMap(({ name, costs }) =>
        [...costs.values()].map(({ contender, cpu }) =>
          figure({ name, contender, unit: 'µs' }, cpu),
        ),
      ),
      ...[...costs.values()].map(({ contender, rate }) =>
        figure({ name: 'deltas per second', contender, unit: '/s' }, rate),
      ),
    ],
    checks: [
      check('openai against the hand-written loop', medianRatio(ours, of(loop)), 1.15, 1.35),
      check('openai against the naive pipeline', medianRatio(ours, of(naive)), 0.8, 0.95),
      check('claude against the bare pipe', medianRatio(of(oursClaude), of(pipe)), 3.5, 4.5),
    ],
    notes: [],
  };
}

/** @param {string} name @param {number} value @param {number} most @param {number} tolerated */
const check = (name, value, most, tolerated) => ({ name, value, unit: '×', most, tolerated });

/**
 * @typedef {{ contender: string, deltas: number, cpu: number[], rate: number[] }} Costs `cpu` in µs per delta, `rate`
 * in deltas per second, both by round
 */

/**
 * Contenders take turns, so that a disturbance meets all of them.
 * @param {import('../workbench.js').Workbench} bench @param {import('../contenders.js').Contender[]} contenders
 * @param {{ deltas: number, repeats: number, rounds: number, words?: 'ascii' | 'other', writes?: 'lines' | 'blocks' }} size
 * @returns {Promise<Map<string, Costs>>} by the contender's name
 */
async function costsOfRun(bench, contenders, { deltas, repeats, rounds, words = 'ascii', writes }) {
  const env = bench.transcript({ deltas, words }, writes);
  const started = await bench.startAll(contenders, { env });
  /** @type {Map<string, Costs>} */
  const costs = new Map(
    started.map(({ contender: { name } }) => [
      name,
      { contender: name, deltas, cpu: [], rate: [] },
    ]),
  );
  // Round 0 warms the compiler up, for which a short run alone is too short.
  for (let round = 0; round <= rounds; round++) {
    for (const { contender, server } of started) {
      const before = await server.usage();
      let elapsed = 0;
      for (let runs = round === 0 ? Math.max(repeats, WARM / deltas) : repeats; runs > 0; runs--) {
        const answer = await new Answer(server.port, contender).whole;
        if (answer.deltas !== deltas) {
          throw new Error(`${contender.name}: ${answer.deltas} of ${deltas} deltas came.`);
        }
        elapsed += answer.endedAt - answer.sentAt;
      }
      const after = await server.usage();
      if (round === 0) continue;
      const cost = costs.get(contender.name);
      cost?.cpu.push((after.cpu - before.cpu) / (deltas * repeats));
      cost?.rate.push((deltas * repeats * 1_000) / elapsed);
    }
  }
  await bench.servers.stopAll();
  return costs;
}
