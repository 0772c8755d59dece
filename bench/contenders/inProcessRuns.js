// @ts-check
import { Readable } from 'node:stream';
// Not to be had by the door: a run is given a process that is none.
import { openai } from '../../dist/esm/formats/openai/openai.js';
import { createRunId, Run } from '../../dist/esm/run.js';
import { sendEventStream } from '../../dist/esm/sse/eventStream.js';
import { closing, deltaLine, opening, stamp } from '../transcript.js';

/**
 * Runs without processes of their own, for more readers than one wants to start processes for: when `runs` of them are
 * there, each is given a delta every `interval` ms, `deltas` in all, at times that are spread evenly. With `sink`
 * nobody reads them, and what is left is what the generator costs.
 * @type {import('../server.js').Contender['createHandler']}
 */
export function createHandler({ options: { runs, interval, deltas, coalesce, sink = false } }) {
  const generator = new Generator(runs, interval, deltas);
  return async (_request, response) => {
    const stdout = new Readable({ read() {} });
    if (sink) {
      response.writeHead(200).flushHeaders();
      stdout.resume().once('end', () => response.end('0'));
    } else {
      const run = startRun(stdout, coalesce);
      await run.started;
      sendEventStream(
        response,
        run.run.reader(64 * 1_024),
        { keepAlive: 15_000, stallTimeout: 60_000 },
        () => undefined,
      );
    }
    generator.add(stdout);
  };
}

/** @param {Readable} stdout @param {number} coalesce ms */
function startRun(stdout, coalesce) {
  const id = createRunId();
  const context = {
    runId: id,
    startedAt: Date.now(),
    request: openai.read({ stream: true, messages: [{ role: 'user', content: 'hi' }] }, {}),
    toolDisplay: /** @type {const} */ ('status'),
    exposeErrors: false,
  };
  const deadlines = {
    firstMessage: 60_000,
    idle: 600_000,
    total: 1_800_000,
    background: 60_000,
    permission: 300_000,
  };
  const options = {
    deadlines,
    exitGrace: 2_000,
    maxLineLength: 2 ** 26,
    maxLogBytes: 2 ** 20,
    coalesce,
    onMessage: () => undefined,
  };
  const run = new Run(id, options, (emit) => openai.encoder(context, emit));
  return { run, started: run.start(async () => processOf(id, stdout)) };
}

/**
 * A process that is nothing but its output.
 * @param {string} id @param {Readable} stdout
 * @returns {import('../../dist/esm/claude/process.js').ClaudeProcess}
 */
function processOf(id, stdout) {
  const exit = { code: 0, signal: null };
  return {
    // Above every pid that Linux gives.
    pid: 2 ** 22 + 1,
    id,
    stdout,
    exited: new Promise((resolve) => stdout.once('close', () => resolve(exit))),
    exit: undefined,
    stdinOpen: true,
    stderrTail: '',
    send: () => undefined,
    closeStdin: () => undefined,
    kill: () => undefined,
    release: () => undefined,
  };
}

/** How often the generator looks whose turn it is, in ms. */
const STEP = 2;

/** Writes into many runs from one timer, so that it costs little beside them. */
class Generator {
  /** @type {Readable[]} */
  #runs = [];
  #count;
  #interval;
  #deltas;
  #given = 0;

  /** @param {number} count @param {number} interval ms @param {number} deltas for each */
  constructor(count, interval, deltas) {
    this.#count = count;
    this.#interval = interval;
    this.#deltas = deltas;
  }

  /** @param {Readable} run */
  add(run) {
    run.push(`${opening.join('\n')}\n`);
    this.#runs.push(run);
    if (this.#runs.length === this.#count) this.#start();
  }

  #start() {
    const since = performance.now();
    const timer = setInterval(() => {
      const due = ((performance.now() - since) / this.#interval) * this.#count;
      const end = Math.min(due, this.#count * this.#deltas);
      const line = Buffer.from(`${deltaLine(`${stamp()}~`, this.#given)}\n`);
      while (this.#given < end) this.#runs[this.#given++ % this.#count]?.push(line);
      if (this.#given < this.#count * this.#deltas) return;
      clearInterval(timer);
      for (const run of this.#runs) {
        run.push(`${closing.join('\n')}\n`);
        run.push(null);
      }
    }, STEP);
  }
}
