// @ts-check
import { Readable } from 'node:stream';
import { closing, deltaLine, opening, stamp } from '../transcript.js';

// Not to be had by the door, where a run is given a process that is one.
const dist = new URL('../../dist/esm/', import.meta.url);
/** @type {typeof import('../../lib/formats/openai/openai.js')} */
const { openai } = await import(new URL('formats/openai/openai.js', dist).href);
/** @type {typeof import('../../lib/run.js')} */
const { createRunId, Run } = await import(new URL('run.js', dist).href);
/** @type {typeof import('../../lib/sse/eventStream.js')} */
const { sendEventStream } = await import(new URL('sse/eventStream.js', dist).href);

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
      const run = createRun(coalesce);
      await run.start(async () => processOf(run.id, stdout));
      const settings = { keepAlive: 15_000, stallTimeout: 60_000 };
      sendEventStream(response, run.reader(64 * 1_024), settings, () => undefined);
    }
    generator.add(stdout);
  };
}

/** @param {number} coalesce ms */
function createRun(coalesce) {
  const id = createRunId();
  const context = {
    runId: id,
    startedAt: Date.now(),
    request: openai.read({ stream: true, messages: [{ role: 'user', content: 'hi' }] }, {}),
    toolDisplay: /** @type {const} */ ('status'),
    exposeErrors: false,
  };
  const deadlines = {
    queue: 600_000,
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
  };
  return new Run(id, options, (emit) => openai.encoder(context, emit));
}

/**
 * A process that is nothing but its output.
 * @param {string} id @param {Readable} stdout
 * @returns {import('../../lib/claude/process.js').ClaudeProcess}
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
    write: () => undefined,
    closeStdin: () => undefined,
    kill: () => undefined,
    keepsServer: () => undefined,
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
