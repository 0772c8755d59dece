import { Readable } from 'node:stream';
import { encodeFrame } from './frames.js';

/**
 * The frames of one run, numbered from 1, and the readers that follow them.
 *
 * A frame is encoded once, however many readers there are, and held until the last of them has read it. When
 * `maxBytes` are held, the log is full: its owner stops appending until `onDrain`. Nothing is dropped for a reader
 * that is still there, and memory stays bounded, whatever the readers do.
 */
export class FrameLog {
  readonly #id: string;
  readonly #maxBytes: number;
  readonly #onDrain: () => void;
  readonly #readers = new Set<FrameReader>();
  #frames: string[] = [];
  /** The number of the first frame held. */
  #first = 1;
  /** Length of the frames held. Characters: a byte each in memory for Latin-1 text, two for anything else. */
  #held = 0;
  #full = false;
  #ended = false;
  #wakePlanned = false;

  /**
   * @param id the run's id, which begins every event id
   * @param maxBytes soft by one frame: the frame that crosses it is taken
   * @param onDrain called when the log was full and half of it has been read
   * @throws TypeError when the id holds CR, LF or NUL: it would inject fields into every frame
   */
  constructor(id: string, maxBytes: number, onDrain: () => void) {
    if (/[\r\n\0]/.test(id)) throw new TypeError('The id of a log must be one line without NUL.');
    this.#id = id;
    this.#maxBytes = maxBytes;
    this.#onDrain = onDrain;
  }

  get full(): boolean {
    return this.#full;
  }

  /** Appends one event; `data` is one line. Without readers it only counts. */
  append(data: string, event?: string): void {
    const number = this.#first + this.#frames.length;
    if (this.#readers.size === 0) {
      this.#first = number + 1;
      return;
    }
    const frame = encodeFrame(`${this.#id}:${number}`, data, event);
    this.#frames.push(frame);
    this.#held += frame.length;
    this.#full ||= this.#held >= this.#maxBytes;
    this.#planWake();
  }

  /** No frame follows; readers end after the last one. */
  end(): void {
    this.#ended = true;
    this.#planWake();
  }

  /**
   * A new reader, from the first frame held.
   *
   * @param highWaterMark about how much one read takes, in characters
   */
  reader(highWaterMark: number): Readable {
    const reader = new FrameReader(this, this.#first, highWaterMark);
    this.#readers.add(reader);
    reader.once('close', () => {
      this.#readers.delete(reader);
      this.trim();
    });
    return reader;
  }

  /** The frames from `number` on, joined, up to about `size`; `null` at the end; `undefined` when none is there yet. */
  take(number: number, size: number): { text: string; next: number } | null | undefined {
    let index = number - this.#first;
    if (index === this.#frames.length) return this.#ended ? null : undefined;
    let text = '';
    do text += this.#frames[index++];
    while (index < this.#frames.length && text.length < size);
    return { text, next: this.#first + index };
  }

  /** Lets go of what every reader has read; called by a reader that has moved on or left. */
  trim(): void {
    let next = this.#first + this.#frames.length;
    for (const reader of this.#readers) next = Math.min(next, reader.next);
    const passed = next - this.#first;
    if (passed > 0) {
      for (const frame of this.#frames.splice(0, passed)) this.#held -= frame.length;
      this.#first = next;
    }
    if (this.#full && this.#held <= this.#maxBytes / 2) {
      this.#full = false;
      this.#onDrain();
    }
  }

  /** Readers are woken after the current chunk of stdout, not at each of its lines: one write instead of many. */
  #planWake(): void {
    if (this.#wakePlanned) return;
    this.#wakePlanned = true;
    queueMicrotask(() => {
      this.#wakePlanned = false;
      for (const reader of this.#readers) reader.wake();
    });
  }
}

class FrameReader extends Readable {
  /** The number of the next frame to read. */
  next: number;
  readonly #log: FrameLog;
  #waiting = false;

  constructor(log: FrameLog, next: number, highWaterMark: number) {
    // With an encoding, strings pass through unchanged and are turned into bytes once, at the socket.
    super({ encoding: 'utf8', highWaterMark });
    this.#log = log;
    this.next = next;
  }

  wake(): void {
    if (this.#waiting) this.#pull(this.readableHighWaterMark);
  }

  override _read(size: number): void {
    this.#pull(size);
  }

  #pull(size: number): void {
    const taken = this.#log.take(this.next, size);
    this.#waiting = taken === undefined;
    if (taken === undefined) return;
    if (taken === null) {
      this.push(null);
      return;
    }
    this.next = taken.next;
    this.push(taken.text, 'utf8');
    this.#log.trim();
  }
}
