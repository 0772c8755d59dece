// @ts-check
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startScriptedModel } from '../../examples/scriptedModel.js';
import { Answer } from '../client.js';
import { oursOpenai, oursWarm, pipe } from '../contenders.js';
import { figure, medianRatio } from '../figures.js';
import { now } from '../transcript.js';

const require = createRequire(import.meta.url);
const manifest = require.resolve('@anthropic-ai/claude-code/package.json');
const claude = join(dirname(manifest), require(manifest).bin.claude);

/** How the scripted model begins its answer. */
const FIRST_WORD = 'Grüße';

/** How long a process that waits needs to get ready, in ms. */
const REFILL = 2_000;

/**
 * How long the first word of the real CLI takes, when a process is started for the request and when one waits for it.
 * The model is a scripted one, which answers at once.
 * @param {import('../workbench.js').Workbench} bench
 * @returns {Promise<import('../figures.js').Result>}
 */
export async function firstToken(bench) {
  const rounds = bench.quick ? 3 : 9;
  const model = await startScriptedModel();
  const home = await mkdtemp(join(tmpdir(), 'claude-stream-bench-home-'));
  try {
    const env = {
      ANTHROPIC_BASE_URL: model.url,
      ANTHROPIC_API_KEY: 'scripted',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_AUTOUPDATER: '1',
      HOME: home,
      // The bare pipe would close stdin, and lose output.
      BENCH_STAYS: '1',
    };
    const setting = { command: claude, env };
    const started = await bench.startAll([pipe, oursOpenai, oursWarm], setting);
    /** @type {Map<string, number[]>} */
    const waits = new Map(started.map(({ contender }) => [contender.name, []]));
    // Round 0 fills the CLI's caches and the pool.
    for (let round = 0; round <= rounds; round++) {
      for (const { contender, server } of started) {
        if (contender === oursWarm) await delay(REFILL);
        const wait = await waitForWord(server.port, contender);
        if (round > 0) waits.get(contender.name)?.push(wait);
      }
    }
    const cold = waits.get(oursOpenai.name) ?? [];
    const warm = waits.get(oursWarm.name);
    return {
      figures: [...waits].map(([contender, values]) =>
        figure({ name: 'request to first token', contender, unit: 'ms' }, values),
      ),
      checks: warm
        ? [
            {
              name: 'first token, warm against cold',
              value: medianRatio(warm, cold),
              unit: '×',
              most: 0.4,
              tolerated: 0.6,
            },
          ]
        : [],
      notes: [],
    };
  } finally {
    await bench.servers.stopAll();
    await model.close();
    // The CLI may still write its last files while the directory is being removed.
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * @param {number} port @param {import('../contenders.js').Contender} contender
 * @returns {Promise<number>} ms
 */
async function waitForWord(port, contender) {
  const word = Buffer.from(FIRST_WORD);
  let hear = () => {};
  const heard = new Promise((resolve) => {
    hear = () => resolve(now());
  });
  const answer = new Answer(port, contender, (bytes) => {
    if (bytes.includes(word)) hear();
  });
  const unheard = answer.whole.then(() => {
    throw new Error(`${contender.name}: the first word has not come.`);
  });
  unheard.catch(() => undefined);
  const heardAt = await Promise.race([heard, unheard]);
  // The bare pipe knows no end: whoever has heard enough leaves.
  if (contender === pipe) answer.destroy();
  else await answer.whole;
  return heardAt - answer.sentAt;
}
