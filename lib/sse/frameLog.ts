import { Readable } from 'node:stream';
import { encodeFrame } from './frames.js';

export interface FrameLogOptions {
  /** How much is held for readers that are slow; soft by one frame: the frame that crosses it is taken. */
  readonly maxBytes: number;
  /** How much is held that everybody has read, for those who come back; at most half of `maxBytes`. Default 0. */
  readonly keepBytes?: number | undefined;
  /** Called when the log was full and half of it has been read. */
  readonly onDrain: () => void;
  /** Called with every frame, be there readers or not. */
  readonly onFrame?: ((number: number, frame: string) => void) | undefined;
}

/** Some frames as they go to a client. */
interface Page {
  readonly bytes: Buffer;
  /** The number of the frame that follows. */
  readonly next: number;
}

/**
 * The frames of one run, numbered from 1, and the readers that follow them.
 *
 * A frame is encoded once, however many readers there are, and held until the last of them has read it, and after that
 * while `keepBytes` allow. When `maxBytes` are held, the log is full: its owner stops appending until `onDrain`.
 * Nothing is dropped for a reader that is still there, and memory stays bounded, whatever the readers do.
 */
export class FrameLog {
  readonly #id: string;
  readonly #maxBytes: number;
  readonly #keepBytes: number;
  readonly #onDrain: () => void;
  readonly #onFrame: ((number: number, frame: string) => void) | undefined;
  readonly #readers = new Set<FrameReader>();
  #frames: string[] = [];
  /** The number of the first frame held. */
  #first = 1;
  /** Length of the frames held. Characters: a byte each in memory for Latin-1 text, two for anything else. */
  #held = 0;
  #full = false;
  #ended = false;
  #wakePlanned = false;
  /** What was taken last: readers that keep up with each other share the bytes. */
  #taken: { readonly first: number; readonly page: Page } | undefined;

  /**
   * @param id the run's id, which begins every event id
   * @throws TypeError when the id holds CR, LF or NUL: it would inject fields into every frame
   */
  constructor(id: string, { maxBytes, keepBytes = 0, onDrain, onFrame }: FrameLogOptions) {
    if (/[\r\n\0]/.test(id)) throw new TypeError('The id of a log must be one line without NUL.');
    this.#id = id;
    this.#maxBytes = maxBytes;
    this.#keepBytes = Math.min(keepBytes, maxBytes / 2);
    this.#onDrain = onDrain;
    this.#onFrame = onFrame;
  }

  get full(): boolean {
    return this.#full;
  }

  /** The number of the last frame; 0 before the first. */
  get last(): number {
    return this.#first + this.#frames.length - 1;
  }

  /** Appends one event; `data` is one line. Where nobody reads and nothing is kept it only counts. */
  append(data: string, event?: string): void {
    const number = this.last + 1;
    const isHeld = this.#readers.size > 0 || this.#keepBytes > 0;
    if (!isHeld && this.#onFrame === undefined) {
      this.#first = number + 1;
      return;
    }
    const frame = encodeFrame(`${this.#id}:${number}`, data, event);
    this.#onFrame?.(number, frame);
    if (!isHeld) {
      this.#first = number + 1;
      return;
    }
    this.#frames.push(frame);
    this.#held += frame.length;
    if (this.#keepBytes > 0 && this.#held > this.#keepBytes) this.trim();
    this.#full ||= this.#held >= this.#maxBytes;
    this.#planWake();
  }

  /** No frame follows; readers end after the last one. */
  end(): void {
    this.#ended = true;
    this.#planWake();
  }

  /**
   * A new reader.
   *
   * @param highWaterMark how much one read takes, in characters, unless a single frame is longer
   * @param after the number of the frame that it has read last; its `next` tells how much of the rest is still held
   * @throws RangeError when there has been no such frame yet
   */
  reader(highWaterMark: number, after = 0): FrameReader {
    if (after > this.last) throw new RangeError(`There is no frame ${after} yet.`);
    const reader = new FrameReader(this, Math.max(after + 1, this.#first), highWaterMark);
    this.#readers.add(reader);
    reader.once('close', () => {
      this.#readers.delete(reader);
      this.trim();
    });
    return reader;
  }

  /**
   * The frames from `number` on, at least one and as many as `size` characters hold; `null` at the end; `undefined` when
   * none is there yet.
   */
  take(number: number, size: number): Page | null | undefined {
    if (this.#taken?.first === number) return this.#taken.page;
    const begin = number - this.#first;
    if (begin === this.#frames.length) return this.#ended ? null : undefined;
    let end = begin + 1;
    let length = this.#lengthOf(begin) + this.#lengthOf(end);
    while (end < this.#frames.length && length <= size) length += this.#lengthOf(++end);
    const bytes = Buffer.from(this.#frames.slice(begin, end).join(''));
    const page = { bytes, next: this.#first + end };
    this.#taken = { first: number, page };
    return page;
  }

  #lengthOf(index: number): number {
    return this.#frames[index]?.length ?? 0;
  }

  /** Lets go of what every reader has read and is not kept; called by a reader that has moved on or left. */
  trim(): void {
    let next = this.last + 1;
    for (const reader of this.#readers) next = Math.min(next, reader.next);
    const read = next - this.#first;
    let passed = 0;
    while (passed < read && this.#held > this.#keepBytes) {
      this.#held -= this.#lengthOf(passed);
      passed += 1;
    }
    if (passed > 0) {
      this.#frames.splice(0, passed);
      this.#first += passed;
      if (this.#taken && this.#taken.page.next <= this.#first) this.#taken = undefined;
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

/** A cursor over a log. */
export class FrameReader extends Readable {
  /** The number of the next frame to read. */
  next: number;
  readonly #log: FrameLog;
  #waiting = false;

  constructor(log: FrameLog, next: number, highWaterMark: number) {
    super({ highWaterMark });
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
    this.push(taken.bytes);
    this.#log.trim();
  }
}
