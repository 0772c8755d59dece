import type { LiveRun } from './liveRun.js';
import { within } from './within.js';

/** How long the store may take to be told how the last runs ended, in ms. */
const STORE_GRACE = 5_000;

/** The runs of one middleware: what is alive, and the end of it all. */
export class Runs {
  readonly #runs = new Map<string, LiveRun>();
  #closed = false;

  /** Whether `close` was called: no run is to be started any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Keeps a run until nothing of it is alive, and everything to be kept of it is in the store. */
  add(live: LiveRun): void {
    const { runId } = live.record;
    this.#runs.set(runId, live);
    void live.done().then(() => this.#runs.delete(runId));
  }

  find(runId: string): LiveRun | undefined {
    return this.#runs.get(runId);
  }

  /** Those of a conversation that clients call by this name, the latest first. */
  ofChat(chat: string): LiveRun[] {
    return this.list()
      .filter((live) => live.chat === chat)
      .reverse();
  }

  list(): LiveRun[] {
    return [...this.#runs.values()];
  }

  /**
   * Lets the runs end that have been started, and stops those that have not ended; settles when nothing is alive.
   *
   * @param grace how long they may take, in ms
   */
  async close(grace: number): Promise<void> {
    this.#closed = true;
    const runs = this.list();
    // First of all, or they would be given the places of those that end.
    for (const { run } of runs) if (!run.started) run.stop('closed');
    if (grace > 0) await within(grace, Promise.all(runs.map(({ run }) => run.closed)));
    for (const { run } of runs) run.stop('closed');
    await Promise.all(runs.map(({ run }) => run.closed));
    await within(STORE_GRACE, Promise.all(runs.map((live) => live.done())));
    for (const live of runs) live.release();
  }
}
