import type { ServerResponse } from 'node:http';

/** Bytes that are written at once. */
const LONGEST_SLICE = 2 ** 16;

const FRAME_END = Buffer.from('\n\n');

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
  /** What is still to be written of what came last. */
  #rest: Buffer | undefined;
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
   * or ended. Many bytes go out in slices, so that a client that reads them slowly is seen to read.
   */
  write(bytes: Buffer): void {
    this.#rest = bytes;
    this.#writeRest();
  }

  /** Ends the response after what is still to be written; the client has `stallTimeout` to take it. */
  end(): void {
    this.#ending = true;
    if (this.#rest === undefined) this.#endResponse();
  }

  /** Ends the clock and the listener. */
  release(): void {
    clearTimeout(this.#stallTimer);
    this.#response.off('drain', this.#drained);
  }

  #writeRest(): void {
    const response = this.#response;
    this.#blocked = false;
    while (this.#rest !== undefined && !this.#blocked) {
      if (response.destroyed || response.writableEnded) return;
      const slice = firstSlice(this.#rest);
      this.#rest = slice.length < this.#rest.length ? this.#rest.subarray(slice.length) : undefined;
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
    if (this.#rest !== undefined) return;
    if (this.#ending) this.#endResponse();
    else if (!this.#blocked) this.#onDrain();
  };
}

/**
 * The first frames of some bytes, or the first bytes of a frame that is longer than a slice; a character is not cut,
 * since there are clients that turn each slice into text by itself.
 */
function firstSlice(bytes: Buffer): Buffer {
  if (bytes.length <= LONGEST_SLICE) return bytes;
  const frameEnd = bytes.lastIndexOf(FRAME_END, LONGEST_SLICE - FRAME_END.length);
  if (frameEnd !== -1) return bytes.subarray(0, frameEnd + FRAME_END.length);
  let end = LONGEST_SLICE;
  while (isWithinCharacter(bytes[end])) end -= 1;
  return bytes.subarray(0, end);
}

/** Whether a byte of UTF-8 goes on with a character. */
function isWithinCharacter(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
