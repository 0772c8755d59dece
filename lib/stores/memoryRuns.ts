import { LRUCache } from 'lru-cache';
import type { KeptRun, Recording, RunPage, RunRecord, RunStore } from './store.js';

export interface MemoryRunsOptions {
  readonly ttl: number;
  readonly maxRuns: number;
  readonly maxBytes: number;
  readonly maxRunBytes: number;
}

/** About how much one `read` gives, in characters. */
const PAGE = 64 * 1_024;

/** What a frame costs beside its characters, and a run beside its frames, in bytes. */
const FRAME_COST = 64;
const RUN_COST = 500;

/** How many runs are remembered by name when nothing else of them is kept. */
const MOST_EXPIRED = 10_000;

/** How long a reader counts after its last read, in ms: it may be waiting for its client to read. */
const ATTENDED_FOR = 5_000;

/** The runs of this process. */
export class MemoryRuns implements RunStore {
  readonly #maxRunBytes: number;
  readonly #running = new Map<string, MemoryRun>();
  readonly #ended: LRUCache<string, MemoryRun>;
  readonly #expired = new LRUCache<string, RunRecord>({ max: MOST_EXPIRED });

  constructor({ ttl, maxRuns, maxBytes, maxRunBytes }: MemoryRunsOptions) {
    this.#maxRunBytes = Math.min(maxRunBytes, maxBytes - RUN_COST);
    this.#ended = new LRUCache({
      max: maxRuns,
      maxSize: maxBytes,
      sizeCalculation: (run) => run.size,
      ttl,
      // A timer for each, which does not keep the process alive: nothing may stay until somebody looks.
      ttlAutopurge: true,
      ttlResolution: 0,
      noUpdateTTL: true,
      dispose: (run, runId, reason) => {
        if (reason === 'expire' || reason === 'evict') this.#expired.set(runId, run.record);
      },
    });
  }

  record(record: RunRecord, onCancel: () => void): Recording {
    const { runId } = record;
    const run = new MemoryRun(record, this.#maxRunBytes, onCancel);
    this.#running.set(runId, run);
    return {
      append: async (first, frames) => run.append(first, frames),
      finish: async (first, frames, end) => {
        const isMine = run.finish(first, frames, end);
        if (isMine) this.#keep(run);
        return isMine;
      },
      release: () => {
        if (this.#running.get(runId) !== run) return;
        this.#running.delete(runId);
        run.wake();
      },
    };
  }

  async read(runId: string, after: number, follow?: AbortSignal): Promise<RunPage> {
    for (;;) {
      const run = this.#find(runId);
      if (run === undefined) return { kind: 'gone' };
      if (follow) run.attendedAt = performance.now();
      const page = run.page(after);
      if (page.kind !== 'nothing' || follow === undefined) return page;
      await run.change(follow);
    }
  }

  async find(runId: string): Promise<KeptRun | undefined> {
    const run = this.#find(runId);
    if (run) return run.described();
    const record = this.#expired.get(runId);
    return record && { record, state: 'expired', last: 0, end: undefined };
  }

  async list(): Promise<KeptRun[]> {
    // The first to end comes last in the cache.
    const ended = [...this.#ended.values()].reverse();
    return [...ended, ...this.#running.values()].map((run) => run.described());
  }

  async remove(runId: string): Promise<void> {
    this.#ended.delete(runId);
    this.#expired.delete(runId);
  }

  async cancel(runId: string): Promise<void> {
    this.#running.get(runId)?.onCancel();
  }

  async isAttended(runId: string): Promise<boolean> {
    return this.#running.get(runId)?.isAttended() ?? false;
  }

  async conclude(
    runId: string,
    first: number,
    frames: readonly string[],
    end: string,
  ): Promise<boolean> {
    const run = this.#running.get(runId);
    if (run === undefined || run.last >= first || !run.finish(first, frames, end)) return false;
    this.#keep(run);
    return true;
  }

  #find(runId: string): MemoryRun | undefined {
    // Looking at a run does not make it younger.
    // One whose time is up is there until its timer has removed it, and is known as expired then.
    return this.#running.get(runId) ?? this.#ended.peek(runId, { allowStale: true });
  }

  #keep(run: MemoryRun): void {
    this.#running.delete(run.record.runId);
    this.#ended.set(run.record.runId, run);
    // One that is larger than all that may be kept is not taken.
    if (this.#ended.peek(run.record.runId) === undefined) {
      this.#expired.set(run.record.runId, run.record);
    }
  }
}

/** The frames of one run, from the first that is kept, and those who wait for the next. */
class MemoryRun {
  readonly record: RunRecord;
  readonly onCancel: () => void;
  /** On the clock of `performance.now()`. */
  attendedAt = Number.NEGATIVE_INFINITY;
  readonly #maxBytes: number;
  /** By number; a number that is missing was never written. */
  #frames: { readonly number: number; readonly text: string }[] = [];
  #bytes = 0;
  #end: string | undefined;
  #last = 0;
  readonly #waiting = new Set<() => void>();

  constructor(record: RunRecord, maxBytes: number, onCancel: () => void) {
    this.record = record;
    this.onCancel = onCancel;
    this.#maxBytes = maxBytes;
  }

  get last(): number {
    return this.#last;
  }

  get size(): number {
    return RUN_COST + this.#bytes;
  }

  append(first: number, frames: readonly string[]): boolean {
    if (this.#end !== undefined) return false;
    for (const [index, text] of frames.entries()) {
      this.#frames.push({ number: first + index, text });
      this.#bytes += text.length + FRAME_COST;
    }
    this.#last = Math.max(this.#last, first + frames.length - 1);
    let dropped = 0;
    while (this.#bytes > this.#maxBytes && dropped < this.#frames.length - 1) {
      this.#bytes -= (this.#frames[dropped]?.text.length ?? 0) + FRAME_COST;
      dropped += 1;
    }
    if (dropped > 0) this.#frames.splice(0, dropped);
    this.wake();
    return true;
  }

  finish(first: number, frames: readonly string[], end: string): boolean {
    if (!this.append(first, frames)) return false;
    this.#end = end;
    this.wake();
    return true;
  }

  page(after: number): RunPage {
    const start = this.#indexAfter(after);
    const next = this.#frames[start];
    if (next === undefined) {
      const end = this.#end;
      return end === undefined ? { kind: 'nothing' } : { kind: 'ended', last: this.#last, end };
    }
    const frames: string[] = [];
    let size = 0;
    for (let index = start; index < this.#frames.length && size < PAGE; index++) {
      const frame = this.#frames[index];
      if (frame?.number !== next.number + frames.length) break;
      frames.push(frame.text);
      size += frame.text.length;
    }
    return { kind: 'frames', first: next.number, frames };
  }

  described(): KeptRun {
    const state = this.#end === undefined ? 'running' : 'ended';
    return { record: this.record, state, last: this.#last, end: this.#end };
  }

  isAttended(): boolean {
    return this.#waiting.size > 0 || performance.now() - this.attendedAt < ATTENDED_FOR;
  }

  /** Settles at the next change; rejects when `signal` is aborted. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiting.delete(settle);
        signal.removeEventListener('abort', settle);
        this.attendedAt = performance.now();
        if (signal.aborted) reject(signal.reason);
        else resolve();
      };
      this.#waiting.add(settle);
      signal.addEventListener('abort', settle);
      if (signal.aborted) settle();
    });
  }

  wake(): void {
    for (const settle of [...this.#waiting]) settle();
  }

  /** The index of the first frame above a number; the frames are in order. */
  #indexAfter(after: number): number {
    let low = 0;
    let high = this.#frames.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#frames[middle]?.number ?? 0) > after) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
