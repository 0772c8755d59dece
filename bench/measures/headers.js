// @ts-check
import { Answer } from '../client.js';
import { oursClaude, oursOpenai, pipe } from '../contenders.js';
import { figure } from '../figures.js';

/**
 * How long a client waits, from its request, for the headers, the first byte of the body, and the first delta. The bare
 * pipe sends its headers with the first byte, and that with the CLI's first word, for which the real CLI takes 350 ms
 * or more.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function headers(bench) {
  const env = bench.transcript({ deltas: 10 });
  const started = await bench.startAll([pipe, oursOpenai, oursClaude], { env });
  const rounds = bench.quick ? 15 : 60;
  /** @type {Map<string, { headers: number, firstByte: number, firstDelta: number }[]>} */
  const waits = new Map(started.map(({ contender }) => [contender.name, []]));
  for (let round = -5; round < rounds; round++) {
    for (const { contender, server } of started) {
      const answer = new Answer(server.port, contender);
      await Promise.all([answer.reached(1), answer.whole]);
      const { sentAt, headersAt = 0, firstByteAt = 0, firstDeltaAt = 0 } = answer;
      if (round < 0) continue;
      waits.get(contender.name)?.push({
        headers: headersAt - sentAt,
        firstByte: firstByteAt - sentAt,
        firstDelta: firstDeltaAt - sentAt,
      });
    }
  }
  await bench.servers.stopAll();
  /** @type {{ name: string, key: 'headers' | 'firstByte' | 'firstDelta' }[]} */
  const names = [
    { name: 'request to headers', key: 'headers' },
    { name: 'request to first byte', key: 'firstByte' },
    { name: 'request to first delta', key: 'firstDelta' },
  ];
  return {
    figures: names.flatMap(({ name, key }) =>
      [...waits].map(([contender, all]) =>
        figure(
          { name, contender, unit: 'ms' },
          all.map((wait) => wait[key]),
        ),
      ),
    ),
    checks: [],
    notes: [],
  };
}
