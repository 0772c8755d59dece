import { LRUCache } from 'lru-cache';
import { MemoryRuns } from './memoryRuns.js';
import { type Limit, LONGEST_TIMER, readLimits } from './readLimits.js';
import type { RunKeepingStore } from './store.js';

export interface MemoryStoreOptions {
  /** How long a run is kept after its end, in ms. Default 300 000. */
  readonly ttl?: number | undefined;
  /** Most runs that are kept after their end; those that ended first go first. Default 1 000. */
  readonly maxRuns?: number | undefined;
  /** Most that is kept of runs that have ended, in bytes. Default 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** Most that is kept of one run, in bytes; its first events go first. Default 8 MiB. */
  readonly maxRunBytes?: number | undefined;
  /**
   * What is kept about sessions: 1 to 2 KB a turn, up to 20 KB for one that was stopped. What was unused for longest
   * goes first. Default 32 MiB.
   */
  readonly maxSessionBytes?: number | undefined;
}

const limits = {
  ttl: [300_000, 'milliseconds', 1, LONGEST_TIMER],
  maxRuns: [1_000, 'runs', 1, 1_000_000],
  maxBytes: [64 * 2 ** 20, 'bytes', 1_024, 2 ** 40],
  maxRunBytes: [8 * 2 ** 20, 'bytes', 1_024, 2 ** 30],
  maxSessionBytes: [32 * 2 ** 20, 'bytes', 1_024, 2 ** 40],
} satisfies Record<keyof MemoryStoreOptions, Limit>;

/**
 * A store in the memory of this process: gone after a restart, and unknown to other instances.
 *
 * @throws ClaudeStreamError `invalid_option`
 */
export function memoryStore(options: MemoryStoreOptions = {}): RunKeepingStore {
  const settings = readLimits('memoryStore', limits, options);
  const entries = new LRUCache<string, string>({
    maxSize: settings.maxSessionBytes,
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
    runs: new MemoryRuns(settings),
  };
}
