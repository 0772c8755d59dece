import { setTimeout as delay } from 'node:timers/promises';
import createDebug from 'debug';
import type { Connection } from './connection.js';
import { readEntries, type StreamEntry } from './streamEntries.js';

const debug = createDebug('claude-stream:store');

/** How many entries of each stream one reply may hold. */
const COUNT = 64;

/** How long after a reply the next wait begins, in ms: those who were served come back meanwhile. */
const PAUSE = 2;

/** How long after a failure, in ms. */
const PAUSE_AFTER_FAILURE = 250;

interface Waiter {
  readonly after: number;
  readonly serve: (entries: readonly StreamEntry[]) => void;
  readonly fail: (cause: unknown) => void;
}

/**
 * Waits for new entries of any number of streams, with one command at a time on a connection of its own.
 *
 * The command also waits on a stream that belongs to this process, the inbox: an entry there ends the wait when a stream
 * has to be added, and is the way in which other instances ask something of this one.
 */
export class StreamWaiter {
  readonly #connection: Connection;
  readonly #inbox: string;
  readonly #longestWait: number;
  readonly #wake: () => Promise<unknown>;
  readonly #onInbox: (entry: StreamEntry) => void;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #inboxId = '0';
  #listeners = 0;
  #working = false;
  /** The streams that the command under way waits on, and after which number. */
  #waitingOn: ReadonlyMap<string, number> | undefined;

  /**
   * @param longestWait in ms
   * @param wake writes an entry to the inbox, on another connection
   */
  constructor(
    connection: Connection,
    inbox: string,
    longestWait: number,
    wake: () => Promise<unknown>,
    onInbox: (entry: StreamEntry) => void,
  ) {
    this.#connection = connection;
    this.#inbox = inbox;
    this.#longestWait = longestWait;
    this.#wake = wake;
    this.#onInbox = onInbox;
  }

  /** Reads the inbox until the returned function is called. */
  listen(): () => void {
    this.#listeners += 1;
    this.#work();
    return () => {
      this.#listeners -= 1;
    };
  }

  /**
   * The entries of a stream after a number; none when there were none for a while.
   *
   * @throws StoreError; or the signal's reason when it is aborted
   */
  entries(key: string, after: number, signal: AbortSignal): Promise<readonly StreamEntry[]> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#leave(key, waiter);
        signal.removeEventListener('abort', abort);
        clearTimeout(timer);
      };
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        after,
        serve: (entries) => {
          leave();
          resolve(entries);
        },
        fail: (cause) => {
          leave();
          reject(cause);
        },
      };
      const timer = setTimeout(() => waiter.serve([]), this.#longestWait).unref();
      signal.addEventListener('abort', abort);
      if (signal.aborted) abort();
      else this.#enter(key, waiter);
    });
  }

  #enter(key: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(key) ?? new Set();
    this.#waiters.set(key, waiters.add(waiter));
    if (!this.#working) this.#work();
    else if (
      this.#waitingOn &&
      !(waiter.after >= (this.#waitingOn.get(key) ?? Number.POSITIVE_INFINITY))
    ) {
      // Once for each wait, however many come.
      this.#waitingOn = undefined;
      this.#wake().catch((error) => debug('the inbox could not be written: %o', error));
    }
  }

  #leave(key: string, waiter: Waiter): void {
    const waiters = this.#waiters.get(key);
    waiters?.delete(waiter);
    if (waiters?.size === 0) this.#waiters.delete(key);
  }

  get #isNeeded(): boolean {
    return this.#waiters.size > 0 || this.#listeners > 0;
  }

  #work(): void {
    if (this.#working) return;
    this.#working = true;
    void this.#loop().finally(() => {
      this.#working = false;
      if (this.#isNeeded) this.#work();
    });
  }

  async #loop(): Promise<void> {
    while (this.#isNeeded) {
      try {
        await this.#readOnce();
        await delay(PAUSE, undefined, { ref: false });
      } catch (error) {
        debug('waiting failed: %o', error);
        for (const waiters of [...this.#waiters.values()]) {
          for (const waiter of [...waiters]) waiter.fail(error);
        }
        await delay(PAUSE_AFTER_FAILURE, undefined, { ref: false });
      }
      this.#waitingOn = undefined;
    }
  }

  async #readOnce(): Promise<void> {
    const afters = new Map(
      [...this.#waiters].map(([key, waiters]) => [
        key,
        Math.min(...[...waiters].map(({ after }) => after)),
      ]),
    );
    this.#waitingOn = afters;
    const ms = this.#longestWait;
    const reply = await this.#connection.sendBlocking(
      ms,
      'XREAD',
      ...['COUNT', String(COUNT), 'BLOCK', String(ms)],
      ...['STREAMS', this.#inbox, ...afters.keys()],
      ...[this.#inboxId, ...[...afters.values()].map((after) => `${after}-0`)],
    );
    this.#waitingOn = undefined;
    this.#serve(readEntries(reply, [this.#inbox, ...afters.keys()]), afters);
  }

  #serve(replies: Map<string, StreamEntry[]>, afters: ReadonlyMap<string, number>): void {
    for (const entry of replies.get(this.#inbox) ?? []) {
      this.#inboxId = entry.id;
      this.#onInbox(entry);
    }
    replies.delete(this.#inbox);
    for (const [key, entries] of replies) {
      for (const waiter of [...(this.#waiters.get(key) ?? [])]) {
        // One that has come meanwhile and is further behind would miss what lies between.
        if (waiter.after < (afters.get(key) ?? 0)) continue;
        const isNew = ({ number, id }: StreamEntry) =>
          number > waiter.after || (number === waiter.after && !id.endsWith('-0'));
        const found = entries.filter(isNew);
        if (found.length > 0) waiter.serve(found);
      }
    }
  }
}
