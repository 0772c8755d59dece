import type { StopReason } from './outcome.js';

export interface AttendanceOptions {
  /** How long the run goes on without anybody, in ms: 0 not at all, `false` until it ends. */
  readonly grace: number | false;
  /** Whether somebody follows the run elsewhere. */
  readonly isAttended: () => Promise<boolean>;
  /** Called once, when nobody has come back; with the reason for which the last one has left. */
  readonly onAbandoned: (reason: StopReason) => void;
}

/** How often it is asked whether somebody follows a run elsewhere, in ms. */
const LOOK_INTERVAL = 5_000;

/** Who is there for a run, and how long it goes on when nobody is. */
export class Attendance {
  readonly #options: AttendanceOptions;
  #present = 0;
  #timer: NodeJS.Timeout | undefined;
  #ended = false;
  /** How often somebody has come. */
  #visits = 0;

  constructor(options: AttendanceOptions) {
    this.#options = options;
  }

  /** How many clients of this instance there are. */
  get present(): number {
    return this.#present;
  }

  /** Somebody is there, until the returned function is called, which must be once. */
  enter(): (reason: StopReason) => void {
    this.#present += 1;
    this.#visits += 1;
    clearTimeout(this.#timer);
    return (reason) => {
      this.#present -= 1;
      if (this.#present === 0 && !this.#ended) this.#begin(reason);
    };
  }

  /** The run is over: nobody need be there. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #begin(reason: StopReason): void {
    const { grace, onAbandoned } = this.#options;
    if (grace === false) return;
    if (grace === 0) onAbandoned(reason);
    else this.#wait(grace, reason, performance.now());
  }

  /** @param since when somebody was there last */
  #wait(grace: number, reason: StopReason, since: number): void {
    const left = since + grace - performance.now();
    this.#timer = setTimeout(
      () => void this.#look(grace, reason, since),
      Math.min(Math.max(left, 0), LOOK_INTERVAL),
    ).unref();
  }

  async #look(grace: number, reason: StopReason, since: number): Promise<void> {
    const { isAttended, onAbandoned } = this.#options;
    // A store that does not answer knows of nobody.
    const visits = this.#visits;
    const attended = await isAttended().catch(() => false);
    // Whoever has come meanwhile has a clock of their own once they leave.
    if (this.#ended || this.#visits !== visits) return;
    const now = performance.now();
    if (attended) this.#wait(grace, reason, now);
    else if (now - since >= grace - 1) onAbandoned(reason);
    else this.#wait(grace, reason, since);
  }
}
