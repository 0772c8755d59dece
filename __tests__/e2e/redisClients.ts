import type { Store } from 'claude-stream';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { type RedisStoreOptions, redisStore, type SendCommand } from '../../lib/redis';
import { afterTest } from './afterTest';

export const redisClients = ['redis', 'ioredis'] as const;
export type RedisClient = (typeof redisClients)[number];

/** The store of one instance, with two connections of its own; the test's end closes them. */
export async function connectStore(
  client: RedisClient,
  port: number,
  options: Omit<RedisStoreOptions, 'sendCommand' | 'sendBlockingCommand'> = {},
): Promise<Required<Store>> {
  return redisStore({
    ...options,
    sendCommand: await connections[client](port),
    sendBlockingCommand: await connections[client](port),
  });
}

const connections: Record<RedisClient, (port: number) => Promise<SendCommand>> = {
  async redis(port) {
    const connection = createClient({ socket: { host: '127.0.0.1', port } });
    // It connects again by itself.
    connection.on('error', () => {});
    afterTest(() => connection.destroy());
    await connection.connect();
    return (...command) => connection.sendCommand(command);
  },
  async ioredis(port) {
    const connection = new Redis({ host: '127.0.0.1', port });
    connection.on('error', () => {});
    afterTest(() => connection.disconnect());
    return (command, ...args) => connection.call(command, ...args);
  },
};
