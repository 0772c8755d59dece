import { ClaudeStreamError } from '../../errors.js';
import { type Limit, LONGEST_TIMER, readLimits } from '../readLimits.js';
import type { RunKeepingStore } from '../store.js';
import { Connection, type SendCommand } from './connection.js';
import { RedisRuns } from './redisRuns.js';

export interface RedisStoreOptions {
  readonly sendCommand: SendCommand;
  /** The same on a connection of its own: it waits there for what is new, for all readers of this process. */
  readonly sendBlockingCommand: SendCommand;
  /** Begins every key. Default `'claude-stream:'`. */
  readonly prefix?: string | undefined;
  /** How long a run is kept after its end, in ms. Default 300 000. */
  readonly ttl?: number | undefined;
  /** Most that is kept of one run, in bytes; its first events go first. Default 8 MiB. */
  readonly maxRunBytes?: number | undefined;
  /**
   * How long after the death of an instance the readers of its runs are told at the latest, in ms. Default 15 000.
   */
  readonly ownerTimeout?: number | undefined;
  /** How long Redis may take to answer, in ms. Default 5 000. */
  readonly commandTimeout?: number | undefined;
}

const limits = {
  ttl: [300_000, 'milliseconds', 1, LONGEST_TIMER],
  maxRunBytes: [8 * 2 ** 20, 'bytes', 1_024, 2 ** 30],
  ownerTimeout: [15_000, 'milliseconds', 800, LONGEST_TIMER],
  commandTimeout: [5_000, 'milliseconds', 1, LONGEST_TIMER],
} satisfies Record<string, Limit>;

/**
 * A store in Redis 6.2 or later, which several instances share: a run is followed, replayed and cancelled through any
 * of them. It brings no client for Redis; it uses the application's.
 *
 * @throws ClaudeStreamError `invalid_option`
 */
export function redisStore(options: RedisStoreOptions): RunKeepingStore {
  const { sendCommand, sendBlockingCommand, prefix = 'claude-stream:', ...rest } = options ?? {};
  for (const [name, send] of Object.entries({ sendCommand, sendBlockingCommand })) {
    if (typeof send === 'function') continue;
    throw new ClaudeStreamError(
      'invalid_option',
      `"${name}" must be a function, such as (...command) => client.sendCommand(command) for node-redis.`,
    );
  }
  if (sendCommand === sendBlockingCommand) {
    throw new ClaudeStreamError(
      'invalid_option',
      '"sendBlockingCommand" must use a connection of its own, such as client.duplicate(): on a shared one every other ' +
        'command would wait for it.',
    );
  }
  if (typeof prefix !== 'string') {
    throw new ClaudeStreamError('invalid_option', '"prefix" must be a string.');
  }
  const settings = readLimits('redisStore', limits, rest);
  const connection = new Connection(sendCommand, settings.commandTimeout, 100);
  const blocking = new Connection(sendBlockingCommand, settings.commandTimeout, 1);
  const sessionKey = (key: string) => `${prefix}session:${key}`;
  return {
    sessions: {
      async get(key) {
        const value = await connection.send('GET', sessionKey(key));
        return value === null ? undefined : String(value);
      },
      async set(key, value, ttl) {
        await connection.send('SET', sessionKey(key), value, 'PX', String(ttl));
      },
      delete: async (key) => Number(await connection.send('DEL', sessionKey(key))) === 1,
    },
    runs: new RedisRuns(connection, blocking, { ...settings, prefix }),
  };
}
