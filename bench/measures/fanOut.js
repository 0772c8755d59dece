// @ts-check
import { open } from 'node:fs/promises';
import { Answer } from '../client.js';
import { oursClaude, oursOpenai } from '../contenders.js';
import { figure, medianRatio } from '../figures.js';

const DELTAS = 20_000;

/**
 * What more readers of one run cost: they have joined when the run bursts, and each must get every delta.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function fanOut(bench) {
  const contenders = bench.quick ? [oursOpenai] : [oursOpenai, oursClaude];
  const readers = bench.quick ? [1, 100] : [1, 10, 25, 50, 100];
  const rounds = bench.quick ? 3 : 5;
  const gate = bench.gate();
  const env = { ...bench.transcript({ deltas: DELTAS }), BENCH_GATE: gate };
  const started = await bench.startAll(contenders, { env, options: { keepsRuns: 'memory' } });
  /** @type {Map<string, Map<number, number[]>>} */
  const costs = new Map(
    contenders.map(({ name }) => [name, new Map(readers.map((count) => [count, []]))]),
  );
  // For reading as well, or it would wait for a reader that may never come.
  const opener = await open(gate, 'r+');
  try {
    // Round 0 warms the compiler up.
    for (let round = 0; round <= rounds; round++) {
      for (const { contender, server } of started) {
        for (const count of readers) {
          const cpu = await costOf(server, contender, count, () => opener.write('\n'));
          if (round > 0)
            costs
              .get(contender.name)
              ?.get(count)
              ?.push(cpu / 1_000);
        }
      }
    }
  } finally {
    await opener.close();
  }
  await bench.servers.stopAll();
  return {
    figures: [...costs].flatMap(([contender, byCount]) =>
      [...byCount].map(([x, values]) =>
        figure({ name: `CPU for ${DELTAS} deltas by readers`, contender, x, unit: 'ms' }, values),
      ),
    ),
    checks: [...costs].map(([contender, byCount]) => ({
      name: `${contender}, 100 readers against one`,
      value: medianRatio(byCount.get(100) ?? [], byCount.get(1) ?? []),
      unit: '×',
      most: 25,
      tolerated: 40,
    })),
    notes: [],
  };
}

/**
 * @param {import('../servers.js').ServerProcess} server @param {import('../contenders.js').Contender} contender
 * @param {number} count of readers, the one included that starts the run
 * @param {() => Promise<unknown>} openGate
 * @returns {Promise<number>} µs
 */
async function costOf(server, contender, count, openGate) {
  const first = await new Answer(server.port, contender).headers;
  const path = `/chat/${first.header('claude-run-id')}`;
  const answers = [first];
  while (answers.length < count) {
    answers.push(await new Answer(server.port, { method: 'GET', path }).headers);
  }
  await server.collect();
  const before = await server.usage();
  await openGate();
  await Promise.all(answers.map((answer) => answer.whole));
  const after = await server.usage();
  for (const { deltas } of answers) {
    if (deltas !== DELTAS) throw new Error(`A reader got ${deltas} of ${DELTAS} deltas.`);
  }
  return after.cpu - before.cpu;
}
