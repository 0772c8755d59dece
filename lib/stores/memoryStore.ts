import { LRUCache } from 'lru-cache';
import { ClaudeStreamError } from '../errors.js';
import type { Store } from './store.js';

export interface MemoryStoreOptions {
  /**
   * What is kept about sessions: 1 to 2 KB a turn, up to 20 KB for one that was stopped. What was unused for longest
   * goes first. Default 32 MiB.
   */
  readonly maxSessionBytes?: number | undefined;
}

/**
 * A store in the memory of this process: gone after a restart, and unknown to other instances.
 *
 * @throws ClaudeStreamError `invalid_option`
 */
export function memoryStore({ maxSessionBytes = 32 * 2 ** 20 }: MemoryStoreOptions = {}): Store {
  if (!Number.isInteger(maxSessionBytes) || maxSessionBytes < 1_024) {
    throw new ClaudeStreamError(
      'invalid_option',
      '"maxSessionBytes" must be a whole number of bytes from 1024.',
    );
  }
  const entries = new LRUCache<string, string>({
    maxSize: maxSessionBytes,
    // Characters of ASCII, and about what the entry itself costs.
    sizeCalculation: (value, key) => value.length + key.length + 100,
  });
  return {
    sessions: {
      get: async (key) => entries.get(key),
      set: async (key, value, ttl) => {
        entries.set(key, value, { ttl });
      },
      delete: async (key) => entries.delete(key),
    },
  };
}
