import { createHash } from 'node:crypto';
import createDebug from 'debug';
import type { SessionStore } from './stores/store.js';
import { within } from './within.js';

const debug = createDebug('claude-stream:store');

/** How long it is known which runs a conversation had, in ms: longer than a run may take by default. */
const KNOWN_FOR = 24 * 60 * 60 * 1_000;

/** How many runs of a conversation are known: several when they overlap, or when two people call theirs the same. */
const MOST_RUNS = 8;

/** How long the store may take, in ms: a client of the run waits for it, and one that comes back is told of no run. */
const STORE_TIMEOUT = 500;

/** The last runs of each conversation, for clients that know their conversations by name, and not their runs. */
export class Chats {
  readonly #store: SessionStore;

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /**
   * Settles when it is noted, or takes too long. Never rejects. Of two that begin at once one may be forgotten, since a
   * store only gets and sets; each is still found on the instance that has it.
   */
  async begun(chat: string, runId: string): Promise<void> {
    await within(STORE_TIMEOUT, this.#note(keyOf(chat), runId));
  }

  /** The last runs of a conversation, the latest first; they may be over. Never rejects. */
  async runsOf(chat: string): Promise<readonly string[]> {
    try {
      return await this.#runsAt(keyOf(chat));
    } catch (error) {
      debug('the runs of a conversation could not be found: %o', error);
      return [];
    }
  }

  async #note(key: string, runId: string): Promise<void> {
    try {
      const runs = [runId, ...(await this.#runsAt(key))].slice(0, MOST_RUNS);
      await this.#store.set(key, runs.join(' '), KNOWN_FOR);
    } catch (error) {
      debug('%s: its conversation could not be noted: %o', runId, error);
    }
  }

  async #runsAt(key: string): Promise<readonly string[]> {
    const runs = await within(STORE_TIMEOUT, this.#store.get(key));
    return runs?.split(' ') ?? [];
  }
}

function keyOf(chat: string): string {
  return `chat ${createHash('sha256').update(chat).digest('base64url')}`;
}
