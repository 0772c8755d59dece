import createDebug from 'debug';
import { Attendance } from './attendance.js';
import { channels } from './diagnostics.js';
import type { Emit, Encoder } from './formats/format.js';
import { summaryOf } from './outcome.js';
import { Recorder } from './recorder.js';
import { Run, type RunOptions } from './run.js';
import type { Recording, RunRecord, RunStore } from './stores/store.js';
import { within } from './within.js';

const debug = createDebug('claude-stream:store');

/** How long a client waits for the store to know its run, in ms: without it the client is told all the same. */
const KNOWN_WITHIN = 500;

export interface LiveRunOptions extends RunOptions {
  /** Where the run is kept for those who come back; `undefined` when it is not. */
  readonly runs: RunStore | undefined;
  /** How long it goes on when nobody is there, in ms: 0 not at all, `false` until it ends. */
  readonly grace: number | false;
  /** The client's own name for the conversation, if others may follow the run by it. */
  readonly chat: string | undefined;
}

/** A run of this instance, who is there for it, and what is kept of it. */
export class LiveRun {
  readonly record: RunRecord;
  readonly run: Run;
  readonly attendance: Attendance;
  readonly chat: string | undefined;
  /** The pid of its process, once there is one. */
  pid: number | undefined;
  #recording: Recording | undefined;
  #recorder: Recorder | undefined;
  /** Begins to keep it, unless that has begun. */
  readonly #keep: () => void;

  constructor(record: RunRecord, options: LiveRunOptions, createEncoder: (emit: Emit) => Encoder) {
    const { runId } = record;
    const { runs, grace, maxLogBytes } = options;
    this.record = record;
    this.chat = options.chat;
    this.#keep = () => {
      if (runs === undefined || this.#recording) return;
      this.#recording = runs.record(record, () => this.run.stop('cancelled'));
      this.#recorder = new Recorder(this.#recording, maxLogBytes, () => this.run.frameTaken());
    };
    const hasStarted = () => this.run.started;
    this.attendance = new Attendance({
      // Of a run that waits nothing would be lost but its place, which somebody else could have.
      get grace() {
        return hasStarted() ? grace : 0;
      },
      isAttended: async () => (await runs?.isAttended(runId)) ?? false,
      onAbandoned: (reason) => this.run.stop(reason),
    });
    this.run = new Run(
      runId,
      {
        ...options,
        keepLogBytes: runs && maxLogBytes / 2,
        onFrame: runs && ((number, frame) => this.#recorder?.add(number, frame) ?? true),
        onFirstToken: (timeToFirstTokenMs) => channels.firstToken({ runId, timeToFirstTokenMs }),
        onSpawn: (pid) => {
          this.pid = pid;
          // Twice in a run whose session was lost, and after it has waited.
          this.#keep();
          options.onSpawn?.(pid);
        },
      },
      createEncoder,
    );
    // Also of a run that could not be started, which has no outcome.
    void this.run.closed.then(() => this.attendance.end());
    void this.run.outcome.then((outcome) => {
      this.attendance.end();
      this.#recorder?.finish(this.run.lastFrame, JSON.stringify(summaryOf(outcome)));
      channels.runEnd({ runId, outcome });
    });
  }

  /** Its turn has not come yet, or has when `position` is 0. */
  waiting(position: number): void {
    this.#keep();
    this.run.waiting(position);
  }

  /**
   * Begins to keep it, and settles when it can be found on every instance: an EventSource that comes back on one where
   * it is not yet known would be told 404, and never come again. Does not wait long for a store that is slow or gone.
   */
  async findable(): Promise<void> {
    this.#keep();
    const known = this.#recording?.known;
    if (known === undefined) return;
    try {
      await within(KNOWN_WITHIN, known);
    } catch (error) {
      debug('%s: not known to the store: %o', this.record.runId, error);
    }
  }

  /** Settles when nothing of the run is alive, and what is to be kept of it is kept. Never rejects. */
  async done(): Promise<void> {
    await this.run.closed;
    await this.#recorder?.done;
  }

  /** Gives up what the store has not taken yet. */
  release(): void {
    this.#recorder?.release();
  }
}
