import { setTimeout as delay } from 'node:timers/promises';
import createDebug from 'debug';
import type { Recording } from './stores/store.js';

const debug = createDebug('claude-stream:store');

/** How much goes to the store at once: characters, and frames. */
const BATCH = 64 * 1_024;
const LONGEST_BATCH = 500;

/** Between two attempts, in ms; it doubles up to the second. */
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1_000;

/** How long the run waits for a store that cannot keep up, in ms; after that frames are dropped until it can. */
const PATIENCE = 1_000;

/** How long a store that fails is tried after the end of a run, in ms. */
const GIVE_UP_AFTER = 60_000;

interface Batch {
  readonly first: number;
  readonly frames: readonly string[];
}

/**
 * Writes the frames of one run to the store, beside the run: a store that is slow or gone costs the clients of this
 * process a second at most, and that only when much is said. What waits for it is bounded; what has to be dropped is a
 * gap that readers see.
 */
export class Recorder {
  /** Settles when everything is written, or has been given up. Never rejects. */
  readonly done: Promise<void>;
  readonly #recording: Recording;
  readonly #maxBytes: number;
  #resolveDone!: () => void;
  /** What is not yet written; `#first` is the number of its first. */
  #frames: string[] = [];
  #first = 1;
  #bytes = 0;
  /** The run is over: how, and when on the clock of `performance.now()`. */
  #end: { readonly text: string; readonly at: number } | undefined;
  #working = false;
  #givenUp = false;
  readonly #onDrain: () => void;
  /** Runs while the queue is full and the store may still catch up. */
  #patience: NodeJS.Timeout | undefined;
  /** The store has not caught up: it is not waited for. */
  #late = false;

  /**
   * @param maxBytes most that waits for the store, in characters, soft by what is written at once
   * @param onDrain called when there is room again
   */
  constructor(recording: Recording, maxBytes: number, onDrain: () => void) {
    this.#recording = recording;
    this.#maxBytes = maxBytes;
    this.#onDrain = onDrain;
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve;
    });
  }

  /**
   * Takes the next frame.
   *
   * @returns whether there is room for more; otherwise wait for `onDrain`
   */
  add(number: number, frame: string): boolean {
    if (this.#givenUp) return true;
    if (this.#frames.length === 0) this.#first = number;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    this.#work();
    if (this.#bytes <= this.#maxBytes) return true;
    if (this.#late) {
      this.#dropOldest();
      return true;
    }
    this.#patience ??= setTimeout(() => {
      debug('the store is late: frames are dropped');
      this.#late = true;
      this.#dropOldest();
      this.#drained();
    }, PATIENCE).unref();
    return false;
  }

  #dropOldest(): void {
    while (this.#bytes > this.#maxBytes && this.#frames.length > 1) {
      this.#bytes -= this.#frames.shift()?.length ?? 0;
      this.#first += 1;
    }
  }

  #drained(): void {
    if (this.#patience === undefined) return;
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#onDrain();
  }

  /**
   * No frame follows.
   *
   * @param last the number of the last
   * @param text how the run ended
   */
  finish(last: number, text: string): void {
    if (this.#frames.length === 0) this.#first = last + 1;
    this.#end = { text, at: performance.now() };
    this.#work();
  }

  /** Gives up what is not yet written. */
  release(): void {
    this.#givenUp = true;
    this.#frames = [];
    this.#bytes = 0;
    this.#drained();
    this.#resolveDone();
    try {
      this.#recording.release();
    } catch (error) {
      debug('the store could not let go: %o', error);
    }
  }

  #work(): void {
    if (this.#working) return;
    this.#working = true;
    // After the current chunk of stdout, not at each of its lines.
    queueMicrotask(() => void this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    while (!this.#givenUp) {
      const batch = this.#take();
      // The end goes with the last frames, in one step.
      const end = this.#frames.length === 0 ? this.#end : undefined;
      if (batch.frames.length === 0 && end === undefined) break;
      const isMine = await this.#write(batch, end?.text);
      if (!isMine || end !== undefined) this.release();
      this.#late = false;
      if (this.#bytes <= this.#maxBytes / 2) this.#drained();
    }
    this.#working = false;
  }

  #take(): Batch {
    let [count, size] = [0, 0];
    while (count < this.#frames.length && count < LONGEST_BATCH && size < BATCH) {
      size += this.#frames[count]?.length ?? 0;
      count += 1;
    }
    const batch = { first: this.#first, frames: this.#frames.splice(0, count) };
    this.#first += count;
    this.#bytes -= size;
    return batch;
  }

  /** Tries until it succeeds: one batch at a time, always the same, so that a store can tell that it has it already. */
  async #write({ first, frames }: Batch, end: string | undefined): Promise<boolean> {
    for (let pause = FIRST_PAUSE; !this.#givenUp; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        return end === undefined
          ? await this.#recording.append(first, frames)
          : await this.#recording.finish(first, frames, end);
      } catch (error) {
        debug('frames from %d could not be written: %o', first, error);
        if (this.#end && performance.now() - this.#end.at > GIVE_UP_AFTER) return false;
      }
      await delay(pause, undefined, { ref: false });
    }
    return false;
  }
}
