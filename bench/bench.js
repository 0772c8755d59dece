// @ts-check
/**
 * Measures this library beside its contenders, prints tables and writes bench/results.json.
 *
 *     npm run bench -- [--quick] [--only=burst,latency] [--out=FILE]
 *
 * The figures to look at are ratios within one run: absolute times belong to a machine and a moment. Exits with 1 when a
 * target is missed by more than noise.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
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
import { installPeers, peersInstalled } from './peers.js';
import { report, writeResults } from './report.js';
import { Servers } from './servers.js';
import { writeTranscript } from './transcript.js';

/** @type {Record<string, (bench: Bench) => Promise<import('./figures.js').Result>>} */
const measures = {
  burst,
  latency,
  headers,
  idle,
  stalled,
  lines,
  fanOut,
  readers,
  firstToken,
};

/** The fake CLI, under the name by which it is found on a PATH. */
const fakeCli = fileURLToPath(new URL('./fakeCli/claude', import.meta.url));

/** What every measure works with. */
export class Bench {
  servers = new Servers();
  /** What the reader of the figures has to know. @type {string[]} */
  notes = [];
  quick;
  /** Whether the peers are there to be measured. */
  peers;
  #directory;
  #files = 0;

  /** @param {string} directory for temporary files @param {{ quick: boolean, peers: boolean }} options */
  constructor(directory, { quick, peers }) {
    this.#directory = directory;
    this.quick = quick;
    this.peers = peers;
  }

  /**
   * Writes what the fake CLI is to say.
   * @param {Parameters<typeof writeTranscript>[1]} content
   * @returns {Record<string, string>} the environment that makes it say so
   */
  transcript(content) {
    const path = this.file(`${JSON.stringify(content).replace(/\W+/g, '-')}.jsonl`);
    if (!existsSync(path)) writeTranscript(path, content);
    return { BENCH_TRANSCRIPT: path };
  }

  /** A fifo that holds the fake CLI up until a line is written into it. */
  gate() {
    const path = this.file(`gate-${this.#files++}`);
    execFileSync('mkfifo', [path]);
    return path;
  }

  /** The path of a temporary file. @param {string} name */
  file(name) {
    return join(this.#directory, name);
  }

  /**
   * Starts a server for each contender. One whose options this version does not know is left out with a note.
   * @param {import('./contenders.js').Contender[]} contenders
   * @param {{ command?: string, env?: Record<string, string>, options?: object }} setting
   */
  async startAll(contenders, { command = fakeCli, env = {}, options = {} }) {
    const started = [];
    for (const contender of contenders) {
      try {
        const server = await this.servers.start(contender, { command, env, options });
        started.push({ contender, server });
      } catch (error) {
        const { code, message } = /** @type {Error & { code?: string }} */ (error);
        if (code !== 'invalid_option') throw error;
        this.note(`${contender.name} is left out: ${message}`);
      }
    }
    return started;
  }

  /** @param {string} text */
  note(text) {
    if (!this.notes.includes(text)) this.notes.push(text);
  }
}

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: Object.keys(measures).join() },
    out: { type: 'string', default: fileURLToPath(new URL('./results.json', import.meta.url)) },
  },
});
const names = flags.only.split(',');
const unknown = names.filter((name) => !(name in measures));
if (unknown.length > 0) {
  console.error(`There is no measure ${unknown}. There are: ${Object.keys(measures).join(', ')}.`);
  process.exit(2);
}

const directory = await mkdtemp(join(tmpdir(), 'claude-stream-bench-'));
const { quick } = flags;
const problem = quick ? undefined : await installPeers();
const bench = new Bench(directory, { quick, peers: problem === undefined && peersInstalled() });
if (problem) bench.note(`The peers are left out, since they could not be installed: ${problem}`);
else if (!bench.peers) bench.note('The peers are left out: only a full run installs them.');

// Ends the servers, and with them whatever waits for one: the failure then goes the way of any other.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => bench.servers.stopAll());

try {
  /** @type {Record<string, import('./figures.js').Result>} */
  const results = {};
  for (const name of names) {
    const started = performance.now();
    process.stderr.write(`${name} … `);
    const result = await measures[name]?.(bench);
    process.stderr.write(`${((performance.now() - started) / 1_000).toFixed(0)} s\n`);
    if (result) results[name] = result;
  }
  console.log(report(results, bench.notes));
  await writeResults(flags.out, { quick, results, notes: bench.notes });
  const missed = Object.values(results).some(({ checks }) =>
    checks.some((check) => verdict(check) === 'missed'),
  );
  process.exitCode = missed ? 1 : 0;
} finally {
  await bench.servers.stopAll();
  await rm(directory, { recursive: true, force: true, maxRetries: 3 });
}
