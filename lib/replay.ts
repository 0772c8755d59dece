import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import createDebug from 'debug';
import { ClaudeStreamError, type ErrorCode, publicMessageOf } from './errors.js';
import type { Failure, Format, Notice } from './formats/format.js';
import type { Run } from './run.js';
import type { FrameReader } from './sse/frameLog.js';
import { encodeFrame } from './sse/frames.js';
import type { RunPage, RunStore } from './stores/store.js';

const debug = createDebug('claude-stream:store');

/** How long a store that fails is tried before a reader is told, in ms, and the pause between two attempts. */
const PATIENCE = 15_000;
const PAUSE = 250;

export interface ReplayOptions {
  readonly runId: string;
  /** The number of the event that the reader has had last. */
  readonly after: number;
  readonly runs: RunStore;
  /** The run, if it belongs to this instance and is not over. */
  readonly local: Run | undefined;
  readonly format: Format;
  readonly highWaterMark: number;
  /** Ends the stream: this instance is being closed. */
  readonly signal: AbortSignal;
}

/**
 * The frames of a run after a number, and on until its end: those that are not held here any more out of the store, the
 * rest from the run itself, which waits for this reader as for any other.
 *
 * @throws ClaudeStreamError `invalid_request` when the run has had no such frame yet
 */
export function replay(options: ReplayOptions): Readable {
  const { after, local, highWaterMark } = options;
  const rest = local && readerOf(local, highWaterMark, after);
  if (rest?.next === after + 1) return rest;
  return new Replay(options, rest);
}

/** Not `Readable.from`, which waits for what is under way before it lets go of anything. */
class Replay extends Readable {
  readonly #frames: AsyncGenerator<string>;
  readonly #rest: FrameReader | undefined;
  readonly #closing: AbortSignal;
  readonly #leaving = new AbortController();

  constructor(options: ReplayOptions, rest: FrameReader | undefined) {
    super({ highWaterMark: options.highWaterMark });
    this.#rest = rest;
    this.#closing = options.signal;
    this.#frames = framesOf(options, rest, this.#leaving.signal);
    this.#closing.addEventListener('abort', this.#leave);
    if (this.#closing.aborted) this.#leave();
  }

  override _read(): void {
    this.#frames.next().then(
      ({ value, done }) => this.push(done ? null : value, 'utf8'),
      (error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#closing.removeEventListener('abort', this.#leave);
    this.#leave();
    this.#rest?.destroy();
    callback(error);
  }

  readonly #leave = (): void => this.#leaving.abort();
}

function readerOf(run: Run, highWaterMark: number, after: number): FrameReader {
  try {
    return run.reader(highWaterMark, after);
  } catch (cause) {
    throw new ClaudeStreamError(
      'invalid_request',
      `The run has not had an event ${after} yet; its last is ${run.lastFrame}.`,
      { cause },
    );
  }
}

async function* framesOf(
  options: ReplayOptions,
  rest: FrameReader | undefined,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const { runId, format } = options;
  /** The first frame that comes from the run itself. */
  const border = rest?.next ?? Number.POSITIVE_INFINITY;
  let next = options.after + 1;
  let cannotWriteSince: number | undefined;
  while (next < border) {
    const page = await readPatiently(options, next - 1, signal);
    if (signal.aborted) return;
    const hasWaited = cannotWriteSince && performance.now() - cannotWriteSince > PATIENCE;
    if (page === undefined || hasWaited) {
      yield notice(format, { kind: 'unavailable', failure: failureOf('store_unavailable') }).text;
      return;
    }
    const first = Math.min(Math.max(firstOf(page, next, border), next), border);
    if (first > next) {
      const gap = missing(next, first - 1);
      const { text, goesOn } = notice(format, gap, `${runId}:${first - 1}`);
      yield text;
      if (!goesOn) return;
      next = first;
    }
    if (page.kind === 'frames') {
      const frames = page.frames.slice(0, border - next);
      next += frames.length;
      if (frames.length > 0) yield frames.join('');
    } else if (page.kind === 'lost' && rest === undefined) {
      // Whoever is first writes it, and everybody reads it from there, with the same ids.
      const isWritten = await conclude(options, page.last + 1, signal);
      if (!isWritten) cannotWriteSince ??= performance.now();
      else if (next > page.last + 1) {
        // A reader that says it was further than the run: its number must not become the run's.
        yield lost(options, next).join('');
        return;
      }
    } else {
      // Also for a reader who is further than the store, which did not get the end from an owner that is gone.
      const isAhead = page.kind === 'ended' && next > page.last + 1;
      if (rest === undefined && (page.kind === 'gone' || isAhead)) {
        yield lost(options, next).join('');
      }
      if (rest === undefined) return;
    }
  }
  if (rest) yield* rest;
}

/** The number of the first frame that there still is. */
function firstOf(page: RunPage, next: number, border: number): number {
  if (page.kind === 'frames') return page.first;
  // The store has no more of it; what the run itself holds is left.
  if (border !== Number.POSITIVE_INFINITY) return border;
  return page.kind === 'ended' ? page.last + 1 : next;
}

/** A store that fails is tried again for a while; `undefined` when it goes on failing. */
async function readPatiently(
  { runs, runId }: ReplayOptions,
  after: number,
  signal: AbortSignal,
): Promise<RunPage | undefined> {
  const since = performance.now();
  while (!signal.aborted) {
    try {
      return await runs.read(runId, after, signal);
    } catch (error) {
      if (signal.aborted) break;
      debug('%s could not be read: %o', runId, error);
      if (performance.now() - since > PATIENCE) break;
      await delay(PAUSE, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
  return undefined;
}

/** Settles with whether the store could be written, by whomever. */
async function conclude(
  options: ReplayOptions,
  first: number,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await concludeLost(options, first);
    return true;
  } catch (error) {
    debug('%s could not be concluded: %o', options.runId, error);
    await delay(PAUSE, undefined, { signal, ref: false }).catch(() => undefined);
    return false;
  }
}

/** Ends a run that nobody can end any more, unless somebody else has; settles with how it ended. */
export async function concludeLost(
  options: Pick<ReplayOptions, 'runs' | 'runId' | 'format'>,
  first: number,
): Promise<object> {
  const { runs, runId } = options;
  const end = { runId, status: 'crashed', ...failureOf('owner_lost') };
  await runs.conclude(runId, first, lost(options, first), JSON.stringify(end));
  return end;
}

/** The last frames of a run that nobody can end any more. */
function lost({ format, runId }: Pick<ReplayOptions, 'runId' | 'format'>, first: number): string[] {
  const frames: string[] = [];
  format.notice({ kind: 'lost', failure: failureOf('owner_lost'), runId }, (data, event) => {
    frames.push(encodeFrame(`${runId}:${first + frames.length}`, data, event));
  });
  return frames;
}

function missing(first: number, last: number): Notice {
  const { code } = failureOf('events_lost');
  const message = `The events ${first} to ${last} of the run are not kept any more.`;
  return { kind: 'gap', failure: { code, message }, first, last };
}

/** @param id of the event after which a client is to go on; without one it goes on where it was */
function notice(format: Format, said: Notice, id?: string): { text: string; goesOn: boolean } {
  let text = '';
  const goesOn = format.notice(said, (data, event) => {
    text += encodeFrame(id, data, event);
  });
  return { text, goesOn };
}

function failureOf(code: ErrorCode): Failure {
  return { code, message: publicMessageOf(code) };
}
