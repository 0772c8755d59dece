// @ts-check
import { Answer } from '../client.js';
import { loop, naive, oursClaude, oursOpenai } from '../contenders.js';
import { figure, medianRatio } from '../figures.js';

/**
 * How the cost of one long line grows: a line of the CLI can be many megabytes (a tool's result, an image), and a
 * reader that searches it again with every chunk blocks the server for seconds.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function lines(bench) {
  /** @type {import('../figures.js').Result} */
  const result = { figures: [], checks: [], notes: [] };
  const sizes = bench.quick ? [20, 40] : [5, 10, 20, 40];
  const ours = [oursOpenai, oursClaude];
  /** CPU time of each contender by size. @type {Map<string, Map<number, number[]>>} */
  const times = new Map();
  for (const megabytes of sizes) {
    const costs = await costsOf(bench, ours, megabytes, bench.quick ? 2 : 7);
    // It takes many seconds, and one round tells.
    if (!bench.quick) costs.push(...(await costsOf(bench, [loop, naive], megabytes, 1)));
    for (const { contender, cpu, pause } of costs) {
      const of = times.get(contender) ?? new Map();
      times.set(contender, of.set(megabytes, cpu));
      result.figures.push(
        figure(
          { name: 'CPU per MB of a line', contender, x: megabytes, unit: 'ms' },
          cpu.map((ms) => ms / megabytes),
        ),
        figure(
          { name: 'longest pause of the event loop', contender, x: megabytes, unit: 'ms' },
          pause,
        ),
      );
    }
  }
  for (const { name } of ours) {
    const of = times.get(name);
    result.checks.push({
      name: `${name}, a line of 40 MB against one of 20 MB`,
      value: medianRatio(of?.get(40) ?? [], of?.get(20) ?? []),
      unit: '×',
      most: 2.3,
      tolerated: 3,
    });
  }
  return result;
}

/**
 * @param {import('../workbench.js').Workbench} bench @param {import('../contenders.js').Contender[]} contenders
 * @param {number} megabytes @param {number} rounds
 */
async function costsOf(bench, contenders, megabytes, rounds) {
  const env = bench.transcript({ longLine: megabytes * 1e6, deltas: 1 }, 'blocks');
  const started = await bench.startAll(contenders, { env });
  const costs = started.map(({ contender: { name } }) => ({
    contender: name,
    cpu: /** @type {number[]} */ ([]),
    pause: /** @type {number[]} */ ([]),
  }));
  // Round 0 warms up, unless one round is all there is.
  for (let round = rounds === 1 ? 1 : 0; round <= rounds; round++) {
    for (const [index, { contender, server }] of started.entries()) {
      await server.collect();
      await server.watchPauses();
      const before = await server.usage();
      const answer = await new Answer(server.port, contender).whole;
      const after = await server.usage();
      if (answer.bytes < megabytes * 1e6) {
        throw new Error(`${contender.name}: only ${answer.bytes} bytes of ${megabytes} MB came.`);
      }
      if (round === 0) continue;
      costs[index]?.cpu.push((after.cpu - before.cpu) / 1_000);
      costs[index]?.pause.push(after.longestPause);
    }
  }
  await bench.servers.stopAll();
  return costs;
}
