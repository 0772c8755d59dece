import type { Deadline } from './outcome.js';

/** How long a run may take, in ms; `false` turns a deadline off. */
export interface DeadlineOptions {
  /** For a place among those that go on at once, before the start. Default 600 000. */
  readonly queue: number | false;
  /** From the start to the first message. Default 60 000. */
  readonly firstMessage: number | false;
  /** Between two messages. Default 600 000: a tool may be silent for long. */
  readonly idle: number | false;
  /** From the start to the end. Default 1 800 000. */
  readonly total: number | false;
  /** From a complete answer to the end of shell commands that Claude left in the background. Default 60 000. */
  readonly background: number | false;
  /** For an answer to a permission prompt, which is denied then. Default 300 000. */
  readonly permission: number | false;
}

/** Why silence does not count. */
type Pause = 'not_read' | 'permission';

/**
 * The deadlines of one run as one AbortSignal, whose reason is the name of the deadline that passed.
 *
 * A message costs one clock reading: the timer for silence is armed again only when it fires. The clock of silence
 * stands still while the process is not being read or waits for a permission: neither is the process's fault.
 */
export class Deadlines {
  readonly #controller = new AbortController();
  readonly #idle: number | false;
  #total: NodeJS.Timeout | undefined;
  #silence: NodeJS.Timeout | undefined;
  #lastMessage = performance.now();
  #started = false;
  readonly #pauses = new Set<Pause>();
  #ended = false;

  constructor(options: DeadlineOptions) {
    this.#idle = options.idle;
    if (options.total !== false) this.#total = this.#after(options.total, 'total');
    if (options.firstMessage !== false) {
      this.#silence = this.#after(options.firstMessage, 'firstMessage');
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A message has come. */
  touch(): void {
    this.#lastMessage = performance.now();
    if (this.#started || this.#ended) return;
    this.#started = true;
    this.#watchSilence();
  }

  pause(reason: Pause): void {
    this.#pauses.add(reason);
  }

  resume(reason: Pause): void {
    if (this.#pauses.delete(reason)) this.#lastMessage = performance.now();
  }

  /** No deadline passes any more. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#total);
    clearTimeout(this.#silence);
  }

  #watchSilence(): void {
    clearTimeout(this.#silence);
    const idle = this.#idle;
    if (idle === false) return;
    const check = () => {
      if (this.#pauses.size > 0) this.#lastMessage = performance.now();
      const left = idle - (performance.now() - this.#lastMessage);
      if (left <= 1) this.#pass('idle');
      else this.#silence = setTimeout(check, left).unref();
    };
    this.#silence = setTimeout(check, idle).unref();
  }

  #after(ms: number, deadline: Deadline): NodeJS.Timeout {
    return setTimeout(() => this.#pass(deadline), ms).unref();
  }

  #pass(deadline: Deadline): void {
    this.end();
    this.#controller.abort(deadline);
  }
}
