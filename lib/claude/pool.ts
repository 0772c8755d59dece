import createDebug from 'debug';
import { BARE_SETUP, type Command } from './command.js';
import { killAtExit } from './killAtExit.js';
import { type ClaudeProcess, startProcess } from './process.js';
import { settingRequests } from './settingRequests.js';
import { exitWithin, shutdown } from './shutdown.js';

const debug = createDebug('claude-stream:process');

/** How long a process may take to answer its `initialize`, in ms; it takes 300 to 700. */
const START_TIMEOUT = 30_000;

/** How long one may take to leave once its stdin is closed, in ms; it takes 20 to 80. */
const EXIT_GRACE = 1_000;

/** How long no process is started after one that could not be, in ms; doubled with every further one. */
const FIRST_BACKOFF = 1_000;
const LONGEST_BACKOFF = 60_000;

export interface PoolOptions {
  /** How many processes wait. */
  readonly size: number;
  /** What they are started as; each has an id of its own. */
  readonly createCommand: () => Command;
  /**
   * How long one waits at most, in ms. CLAUDE.md, the state of the Git repository and the date are as old for the model
   * as the process is; a new one costs half a second of a processor. Default 5 minutes.
   */
  readonly maxAge?: number;
  /**
   * How long after one was taken the next is started, in ms: a start blocks the event loop for some ms and the processor
   * for half a second, which the request that took it should not feel. Default 1 000.
   */
  readonly pause?: number;
}

/** A process out of the pool. */
export interface TakenProcess extends ClaudeProcess {
  /** Comes up with another in its place, should it turn out that it was dying when it was taken. */
  readonly startAgain: () => Promise<ClaudeProcess>;
}

interface Spare {
  readonly command: Command;
  readonly process: ClaudeProcess;
  readonly ageing: NodeJS.Timeout;
}

/**
 * Processes that have been started ahead and wait for their first message. Each serves one request, or none.
 *
 * They are no reason for the server to stay, and nothing is lost when there are none: whoever asks in vain starts a
 * process as if there was no pool, and hears by itself what is wrong with it.
 */
export class Pool {
  readonly #options: Required<PoolOptions>;
  /** The oldest first. */
  readonly #spares = new Set<Spare>();
  /** The processes of the pool that are coming to their end. */
  readonly #ending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #next: NodeJS.Timeout | undefined;
  #starting: Promise<void> | undefined;
  /** Starts that have failed, and processes that died while they waited, since the last one that was of use. */
  #failures = 0;
  /** When the request that took one last has its processor back, on the clock of `performance.now()`. */
  #pauseEnd = 0;

  constructor({ maxAge = 5 * 60_000, pause = 1_000, ...options }: PoolOptions) {
    this.#options = { ...options, maxAge, pause };
    this.#refill();
  }

  /** A process for `command`, with everything written to it; `undefined` when none fits. */
  take(command: Command): TakenProcess | undefined {
    for (const spare of this.#spares) {
      const { process } = spare;
      // Closed in the moment in which it dies.
      if (!process.stdinOpen) continue;
      const requests = settingRequests(spare.command, command);
      if (requests === undefined) continue;
      debug('%d is taken', process.pid);
      this.#remove(spare);
      this.#failures = 0;
      this.#pauseEnd = performance.now() + this.#options.pause;
      this.#refill();
      process.keepsServer(true);
      process.write(
        `${requests.map((one) => `${JSON.stringify(one)}\n`).join('')}${command.prompt}`,
      );
      return Object.assign(process, {
        startAgain: async () => {
          // What it had started by itself, such as MCP servers, bears its id and not the run's.
          await shutdown(process);
          return startProcess(command);
        },
      });
    }
    return undefined;
  }

  /** Ends what waits and starts nothing more; settles when no process of the pool is alive. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#next);
    for (const spare of this.#spares) this.#dismiss(spare);
    await this.#starting;
    await Promise.all(this.#ending);
  }

  /** Starts what is missing, one after the other, when the time has come. */
  #refill(): void {
    if (this.#closing.signal.aborted || this.#next || this.#starting) return;
    if (this.#spares.size >= this.#options.size) return;
    const backoff =
      this.#failures === 0
        ? 0
        : Math.min(FIRST_BACKOFF * 2 ** (this.#failures - 1), LONGEST_BACKOFF);
    this.#next = setTimeout(
      () => {
        this.#next = undefined;
        this.#starting = this.#start().finally(() => {
          this.#starting = undefined;
          this.#refill();
        });
      },
      Math.max(backoff, this.#pauseEnd - performance.now()),
    ).unref();
  }

  /** Never rejects: whoever needs a process hears what is wrong by starting one. */
  async #start(): Promise<void> {
    const command = this.#options.createCommand();
    let process: ClaudeProcess;
    try {
      process = await startProcess({ ...command, setup: command.setup || BARE_SETUP });
    } catch (error) {
      this.#failed('no process can be started ahead: %o', error);
      return;
    }
    killAtExit(process);
    process.keepsServer(false);
    const isReady = await hasSpoken(process, this.#closing.signal);
    if (!isReady || this.#closing.signal.aborted) {
      if (!this.#closing.signal.aborted) this.#failed('%d does not get ready', process.pid);
      this.#end(process);
      return;
    }
    debug('%d is ready', process.pid);
    const ageing = setTimeout(() => {
      this.#failures = 0;
      this.#dismiss(spare);
      this.#refill();
    }, this.#options.maxAge).unref();
    const spare: Spare = { command, process, ageing };
    this.#spares.add(spare);
    void process.exited.then(() => {
      if (!this.#spares.has(spare)) return;
      this.#failed('%d died while it waited: %s', process.pid, process.stderrTail);
      this.#dismiss(spare);
      this.#refill();
    });
  }

  #failed(message: string, ...facts: unknown[]): void {
    debug(message, ...facts);
    this.#failures += 1;
  }

  #remove(spare: Spare): void {
    this.#spares.delete(spare);
    clearTimeout(spare.ageing);
  }

  #dismiss(spare: Spare): void {
    this.#remove(spare);
    this.#end(spare.process);
  }

  #end(process: ClaudeProcess): void {
    const ended = end(process).finally(() => this.#ending.delete(ended));
    this.#ending.add(ended);
  }
}

/** Ends a process that was never asked anything, and all that it has started by itself. Never rejects. */
async function end(process: ClaudeProcess): Promise<void> {
  // Or a server that has nothing else to do would exit before whoever waits for the end hears of it.
  process.keepsServer(true);
  process.closeStdin();
  await exitWithin(process, EXIT_GRACE);
  await shutdown(process);
  process.release();
}

/**
 * Waits until a process has written something, which stays where it is for whoever reads its stdout.
 *
 * @returns whether it has: not when it ended first, took too long, or `signal` was aborted
 */
function hasSpoken({ stdout, exited }: ClaudeProcess, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (spoken: boolean) => {
      clearTimeout(timer);
      stdout.off('readable', look);
      signal.removeEventListener('abort', giveUp);
      resolve(spoken);
    };
    // Comes at the end of stdout as well, with nothing to read.
    const look = () => settle(stdout.readableLength > 0);
    const giveUp = () => settle(false);
    const timer = setTimeout(giveUp, START_TIMEOUT).unref();
    stdout.on('readable', look);
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    void exited.then(giveUp);
  });
}
