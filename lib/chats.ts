import { createHash } from 'node:crypto';
import createDebug from 'debug';
import type { SessionStore } from './stores/store.js';
import { within } from './within.js';

const debug = createDebug('claude-stream:store');

/** How long it is known which run a conversation had last, in ms: longer than a run may take by default. */
const KNOWN_FOR = 24 * 60 * 60 * 1_000;

/** How long the store may take, in ms; a client that comes back is then told that nothing is going on. */
const STORE_TIMEOUT = 500;

/** The last run of each conversation, for clients that know their conversations by name, and not their runs. */
export class Chats {
  readonly #store: SessionStore;

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /** Never rejects. */
  async begun(chat: string, runId: string): Promise<void> {
    try {
      await within(STORE_TIMEOUT, this.#store.set(keyOf(chat), runId, KNOWN_FOR));
    } catch (error) {
      debug('%s: its conversation could not be noted: %o', runId, error);
    }
  }

  /** The last run of a conversation, which may be over; `undefined` when nobody knows. Never rejects. */
  async runOf(chat: string): Promise<string | undefined> {
    try {
      return await within(STORE_TIMEOUT, this.#store.get(keyOf(chat)));
    } catch (error) {
      debug('the run of a conversation could not be found: %o', error);
      return undefined;
    }
  }
}

function keyOf(chat: string): string {
  return `chat ${createHash('sha256').update(chat).digest('base64url')}`;
}
