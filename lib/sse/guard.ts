import type { ServerResponse } from 'node:http';

/** Characters that are written at once. */
const LONGEST_SLICE = 2 ** 16;

/**
 * The only writer of one client's response. It knows whether the client keeps up, and gives up on one that does not.
 *
 * When the response is full, `blocked` is true until `drain`; a client that reads nothing for `stallTimeout` is
 * ended, and with it everything that waits for it.
 */
export class GuardedWriter {
  readonly #response: ServerResponse;
  readonly #stallTimeout: number | false;
  readonly #onDrain: () => void;
  readonly #onStall: () => void;
  #stallTimer: NodeJS.Timeout | undefined;
  #blocked = false;
  /** What is still to be written of the last text. */
  #rest = '';
  #ending = false;
  /** When the last byte was handed to the response, on the clock of `performance.now()`. */
  lastWrite = performance.now();

  /**
   * @param stallTimeout ms, or `false` to wait for ever
   * @param onDrain called when a blocked response takes more again
   * @param onStall called once, when nothing was read for `stallTimeout`
   */
  constructor(
    response: ServerResponse,
    stallTimeout: number | false,
    { onDrain, onStall }: { onDrain: () => void; onStall: () => void },
  ) {
    this.#response = response;
    this.#stallTimeout = stallTimeout;
    this.#onDrain = onDrain;
    this.#onStall = onStall;
    response.on('drain', this.#drained);
  }

  get blocked(): boolean {
    return this.#blocked;
  }

  /**
   * Writes whole frames or comments, to be called only while not `blocked`; without effect once the response is closed
   * or ended. A long text goes out in slices, so that a client that reads it slowly is seen to read.
   */
  write(text: string): void {
    this.#rest = text;
    this.#writeRest();
  }

  /** Ends the response after what is still to be written; the client has `stallTimeout` to take it. */
  end(): void {
    this.#ending = true;
    if (this.#rest === '') this.#endResponse();
  }

  /** Ends the clock and the listener. */
  release(): void {
    clearTimeout(this.#stallTimer);
    this.#response.off('drain', this.#drained);
  }

  #writeRest(): void {
    const response = this.#response;
    this.#blocked = false;
    while (this.#rest !== '' && !this.#blocked) {
      if (response.destroyed || response.writableEnded) return;
      const slice = firstSlice(this.#rest);
      this.#rest = this.#rest.slice(slice.length);
      this.lastWrite = performance.now();
      // Middleware that wraps `write` may forget to pass its answer on, so `undefined` does not count as full.
      if (response.write(slice) === false || response.writableNeedDrain) this.#block();
    }
  }

  #block(): void {
    this.#blocked = true;
    if (this.#stallTimeout === false) return;
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(() => {
      // A pipelined response has no socket until those before it have ended: that is not its client's fault.
      if (this.#response.socket === null && !this.#response.destroyed) this.#block();
      else this.#onStall();
    }, this.#stallTimeout).unref();
  }

  #endResponse(): void {
    this.#response.end();
    this.#block();
  }

  readonly #drained = (): void => {
    clearTimeout(this.#stallTimer);
    this.#writeRest();
    if (this.#rest !== '') return;
    if (this.#ending) this.#endResponse();
    else if (!this.#blocked) this.#onDrain();
  };
}

/**
 * The first frames of a text, or the first characters of a frame that is longer than a slice; a surrogate pair is not
 * cut, since each slice is turned into bytes by itself.
 */
function firstSlice(text: string): string {
  if (text.length <= LONGEST_SLICE) return text;
  const frameEnd = text.lastIndexOf('\n\n', LONGEST_SLICE - 2);
  if (frameEnd !== -1) return text.slice(0, frameEnd + 2);
  const last = text.charCodeAt(LONGEST_SLICE - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? LONGEST_SLICE - 1 : LONGEST_SLICE);
}
