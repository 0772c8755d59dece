// @ts-check
/**
 * Measures this library beside its contenders, prints tables and writes JSON: a whole run bench/results.json, which is
 * kept with the code, any other node_modules/.cache/claude-stream/bench.json.
 *
 *     npm run bench -- [--quick] [--only=burst,latency] [--out=FILE]
 *
 * The figures to look at are ratios within one run: absolute times belong to a machine and a moment. Exits with 1 when a
 * target is missed by more than noise.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { verdict } from './figures.js';
import { burst } from './measures/burst.js';
import { fanOut } from './measures/fanOut.js';
import { firstToken } from './measures/firstToken.js';
import { headers } from './measures/headers.js';
import { idle } from './measures/idle.js';
import { latency } from './measures/latency.js';
import { lines } from './measures/lines.js';
import { readers } from './measures/readers.js';
import { stalled } from './measures/stalled.js';
import { stores } from './measures/stores.js';
import { installPeers, peersInstalled } from './peers.js';
import { report, writeResults } from './report.js';
import { Workbench } from './workbench.js';

/** @type {Record<string, (bench: Workbench) => Promise<import('./figures.js').Result>>} */
const measures = {
  burst,
  latency,
  headers,
  idle,
  stalled,
  lines,
  fanOut,
  readers,
  stores,
  firstToken,
};

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    out: { type: 'string' },
  },
});
const names = flags.only?.split(',') ?? Object.keys(measures);
const unknown = names.filter((name) => !Object.hasOwn(measures, name));
if (unknown.length > 0) {
  console.error(`There is no measure ${unknown}. There are: ${Object.keys(measures).join(', ')}.`);
  process.exit(2);
}

const directory = await mkdtemp(join(tmpdir(), 'claude-stream-bench-'));
const { quick, only } = flags;
const isWhole = !quick && only === undefined;
const beside = isWhole ? './results.json' : '../node_modules/.cache/claude-stream/bench.json';
const path = flags.out ?? fileURLToPath(new URL(beside, import.meta.url));

const bench = new Workbench(directory, { quick });
const interruption = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) {
  // Ends the servers, and with them whatever waits for one: everything is cleared away as after any other failure.
  process.on(signal, () => {
    interruption.abort();
    void bench.servers.stopAll();
  });
}

try {
  const problem = quick ? undefined : await installPeers(interruption.signal);
  interruption.signal.throwIfAborted();
  bench.peers = problem === undefined && peersInstalled();
  if (problem) bench.note(`The peers are left out, since they could not be installed: ${problem}`);
  else if (!bench.peers) bench.note('The peers are left out: only a full run installs them.');
  /** @type {Record<string, import('./figures.js').Result>} */
  const results = {};
  let failed = false;
  for (const name of names) {
    const started = performance.now();
    try {
      const result = await measures[name]?.(bench);
      if (result) results[name] = result;
    } catch (error) {
      if (interruption.signal.aborted) throw error;
      // The others have taken their minutes, and are worth having.
      console.error(error);
      bench.note(`${name} failed: ${error}`);
      failed = true;
      await bench.servers.stopAll();
    }
    console.error(`${name}: ${((performance.now() - started) / 1_000).toFixed(0)} s`);
  }
  console.log(report(results, bench.notes));
  await writeResults(path, { quick, results, notes: bench.notes });
  console.log(`\n${path}`);
  const missed = Object.values(results).some(({ checks }) =>
    checks.some((check) => verdict(check) === 'missed'),
  );
  process.exitCode = failed || missed ? 1 : 0;
} catch (error) {
  if (!interruption.signal.aborted) throw error;
  process.exitCode = 130;
} finally {
  await bench.servers.stopAll();
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}
