/**
 * What outlives a request. An implementation may live in the memory of this process, or where several of them, or the
 * next one after a restart, find it again.
 */
export interface Store {
  /** Which conversation of a chat client belongs to which session of Claude. */
  readonly sessions: SessionStore;
  /** The runs that a client can come back to. Without it there are none. */
  readonly runs?: RunStore | undefined;
}

/** A store that keeps runs as well. */
export interface RunKeepingStore extends Store {
  readonly runs: RunStore;
}

/** Short texts by key, of which any may be forgotten: what is not found costs Claude its memory of tool results. */
export interface SessionStore {
  get(key: string): Promise<string | undefined>;
  /** @param ttl how long it is of use, in ms */
  set(key: string, value: string, ttl: number): Promise<void>;
  /** Settles with whether there was one; of several callers at once exactly one is told so. */
  delete(key: string): Promise<boolean>;
}

/**
 * The frames of runs, by number, for clients that come back, on whichever instance they do.
 *
 * Frames are opaque text here and never change: every reader of a frame gets the same bytes. How a run ended is a field
 * beside them, never one of them. Of a run that is too long the first frames are dropped; a reader sees it by the
 * numbers. Every function may reject when the store cannot be reached, and may be called again then.
 */
export interface RunStore {
  /** Begins to keep a run. Returns at once; what cannot be written yet is written by a later `append` or `finish`. */
  record(run: RunRecord, onCancel: () => void): Recording;
  /**
   * What follows the frame `after`, in order: about 64 KiB of it, or what there is. It may begin with a later frame than
   * the one asked for; what lies between is not kept any more.
   *
   * @param follow waits for as long as there is nothing, and counts as somebody who attends the run; aborted when
   * nobody waits any more, which rejects
   */
  read(runId: string, after: number, follow?: AbortSignal): Promise<RunPage>;
  /** `undefined` when there never was such a run, or so long ago that nobody knows. */
  find(runId: string): Promise<KeptRun | undefined>;
  /** The runs that can be read. */
  list(): Promise<KeptRun[]>;
  /** Forgets a run that has ended. */
  remove(runId: string): Promise<void>;
  /** Has the run stopped by the instance that owns it; settles when that has been asked for. */
  cancel(runId: string): Promise<void>;
  /** Whether somebody has followed the run of late, on any instance. */
  isAttended(runId: string): Promise<boolean>;
  /**
   * Ends a run whose owner is gone, with last frames that say so.
   *
   * @returns `false` when somebody else has written since, the owner or another reader
   */
  conclude(runId: string, first: number, frames: readonly string[], end: string): Promise<boolean>;
}

/** What an application may want to know of a run before it lets somebody see it. */
export interface RunRecord {
  readonly runId: string;
  /** ms since 1970 */
  readonly startedAt: number;
  /** Whose run it is: the `user` of the request. */
  readonly user: string | undefined;
}

export interface KeptRun {
  readonly record: RunRecord;
  /** `expired`: it is known that there was one, and nothing else of it. */
  readonly state: 'running' | 'ended' | 'expired';
  /** The number of its last frame; 0 when it has none, or none any more. */
  readonly last: number;
  /** How it ended, as its owner has written it. */
  readonly end: string | undefined;
}

export type RunPage =
  | { readonly kind: 'frames'; readonly first: number; readonly frames: readonly string[] }
  /** Nothing yet. Only where `follow` was not asked for. */
  | { readonly kind: 'nothing' }
  /** The run is over and has no frame after the one named. */
  | { readonly kind: 'ended'; readonly last: number; readonly end: string }
  /** The run is not over, and nobody writes it any more. */
  | { readonly kind: 'lost'; readonly last: number }
  /** It is not kept any more. */
  | { readonly kind: 'gone' };

/** A run as its owner writes it. Frames are written in order, one call at a time. */
export interface Recording {
  /**
   * Settles when `find` knows the run, on every instance. Until then its client does not get the run's id, with which it
   * could come back elsewhere; but it waits for half a second at most. Without this it gets the id at once.
   */
  readonly known?: Promise<unknown> | undefined;
  /**
   * @param first the number of the first of `frames`; a higher one than expected leaves a gap, which readers are told of
   * @returns `false` when another instance took the owner for dead and has concluded the run
   */
  append(first: number, frames: readonly string[]): Promise<boolean>;
  /** Writes the last frames and how it ended. */
  finish(first: number, frames: readonly string[], end: string): Promise<boolean>;
  /** Must follow `finish`, also when that has failed: lets go of everything but what is kept. */
  release(): void;
}

/** The store cannot be reached, or does not answer in time. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}
