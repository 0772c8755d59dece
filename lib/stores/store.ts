/**
 * What outlives a request. An implementation may live in the memory of this process, or where several of them, or the
 * next one after a restart, find it again.
 */
export interface Store {
  /** Which conversation of a chat client belongs to which session of Claude. */
  readonly sessions: SessionStore;
}

/** Short texts by key, of which any may be forgotten: what is not found costs Claude its memory of tool results. */
export interface SessionStore {
  get(key: string): Promise<string | undefined>;
  /** @param ttl how long it is of use, in ms */
  set(key: string, value: string, ttl: number): Promise<void>;
  /** Settles with whether there was one; of several callers at once exactly one is told so. */
  delete(key: string): Promise<boolean>;
}
