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

/** How long a store that fails is tried after the end of a run, in ms. */
const GIVE_UP_AFTER = 60_000;

interface Batch {
  readonly first: number;
  readonly frames: readonly string[];
}

/**
 * Writes the frames of one run to the store, beside the run and never in its way: a store that is slow or gone costs no
 * client of this process anything. What waits for it is bounded; what has to be dropped is a gap that readers see.
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

  /** @param maxBytes most that waits for the store, in characters; at least one frame does */
  constructor(recording: Recording, maxBytes: number) {
    this.#recording = recording;
    this.#maxBytes = maxBytes;
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve;
    });
  }

  /** Frames come in order. */
  add(number: number, frame: string): void {
    if (this.#givenUp) return;
    if (this.#frames.length === 0) this.#first = number;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    while (this.#bytes > this.#maxBytes && this.#frames.length > 1) {
      this.#bytes -= this.#frames.shift()?.length ?? 0;
      this.#first += 1;
    }
    this.#work();
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
    this.#recording.release();
    this.#resolveDone();
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
