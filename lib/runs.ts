import type { Run } from './run.js';

/** The runs of one middleware: what is alive, and the end of it all. */
export class Runs {
  readonly #runs = new Set<Run>();
  #closed = false;

  /** Whether `close` was called: no run is to be started any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Keeps a run until nothing of it is alive. */
  add(run: Run): void {
    this.#runs.add(run);
    void run.closed.then(() => this.#runs.delete(run));
  }

  /** Stops every run; settles when nothing of them is alive. */
  async close(): Promise<void> {
    this.#closed = true;
    const runs = [...this.#runs];
    for (const run of runs) run.stop('closed');
    await Promise.all(runs.map((run) => run.closed));
  }
}
