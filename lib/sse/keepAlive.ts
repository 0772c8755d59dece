import { KEEP_ALIVE_COMMENT } from './frames.js';
import type { GuardedWriter } from './guard.js';

const COMMENT = Buffer.from(KEEP_ALIVE_COMMENT);

/**
 * Writes a comment whenever `interval` has passed since the last byte, so that no proxy or client takes a silent
 * stream for a dead one.
 *
 * It writes at the response itself, between two frames, and never waits behind data. While the response waits for
 * `drain` it writes nothing: bytes are on their way then, and more of them would only add to what is held. There is
 * one timer, armed again only when it fires, so a write costs one clock reading.
 *
 * @param interval ms
 */
export class KeepAlive {
  readonly #writer: GuardedWriter;
  readonly #interval: number;
  #timer: NodeJS.Timeout;

  constructor(writer: GuardedWriter, interval: number) {
    this.#writer = writer;
    this.#interval = interval;
    this.#timer = this.#arm(interval);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): NodeJS.Timeout {
    return setTimeout(() => this.#fire(), Math.ceil(ms)).unref();
  }

  #fire(): void {
    const silence = performance.now() - this.#writer.lastWrite;
    // A timer may fire a fraction of a millisecond early.
    if (silence < this.#interval - 1) {
      this.#timer = this.#arm(this.#interval - silence);
      return;
    }
    if (!this.#writer.blocked) this.#writer.write(COMMENT);
    this.#timer = this.#arm(this.#interval);
  }
}
