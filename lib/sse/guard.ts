import type { ServerResponse } from 'node:http';

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

  /** Writes whole frames or comments; without effect once the response is closed or ended. */
  write(text: string): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    this.lastWrite = performance.now();
    // Middleware that wraps `write` may forget to pass its answer on, so `undefined` does not count as full.
    if (response.write(text) === false || response.writableNeedDrain) this.#block();
  }

  /** Nothing more is written; the client has `stallTimeout` to take the rest. */
  end(): void {
    this.#response.end();
    this.#block();
  }

  /** Ends the clock and the listener. */
  release(): void {
    clearTimeout(this.#stallTimer);
    this.#response.off('drain', this.#drained);
  }

  #block(): void {
    this.#blocked = true;
    if (this.#stallTimeout === false) return;
    clearTimeout(this.#stallTimer);
    this.#stallTimer = setTimeout(this.#onStall, this.#stallTimeout).unref();
  }

  readonly #drained = (): void => {
    clearTimeout(this.#stallTimer);
    this.#blocked = false;
    this.#onDrain();
  };
}
