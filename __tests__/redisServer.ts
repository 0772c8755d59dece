import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import type { RedisStoreOptions } from '../lib/stores/redis/redisStore';

/** A real Redis on the loopback, which keeps nothing on disk. */
export interface RedisServer {
  readonly port: number;
  /** Ends the process at once; what it held is lost. */
  stop(): Promise<void>;
  /** Starts another process on the same port. */
  start(): Promise<void>;
  /** Must be called at the end. */
  close(): Promise<void>;
}

export async function startRedisServer(): Promise<RedisServer> {
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), 'claude-stream-redis-'));
  let server: ChildProcess | undefined;
  // A test run that dies must not leave a server behind.
  const kill = () => server?.kill('SIGKILL');
  process.once('exit', kill);

  const start = async () => {
    if (server) throw new Error('Redis is running already.');
    server = spawn(
      '/usr/bin/redis-server',
      [
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir],
        ...['--save', '', '--appendonly', 'no'],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await ready(server);
  };
  const stop = async () => {
    const stopped = server;
    server = undefined;
    if (stopped === undefined || stopped.exitCode !== null || stopped.signalCode !== null) return;
    const exited = once(stopped, 'exit');
    stopped.kill('SIGKILL');
    await exited;
  };

  await start();
  return {
    port,
    start,
    stop,
    close: async () => {
      await stop();
      process.off('exit', kill);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Two connections of a client for Redis, as an application would hand them to `redisStore`. */
export interface RedisConnections {
  readonly options: Pick<RedisStoreOptions, 'sendCommand' | 'sendBlockingCommand'>;
  close(): Promise<void>;
}

/** @param resp the version of the protocol; the client's own default is 3 */
export async function connectNodeRedis(port: number, resp?: 2 | 3): Promise<RedisConnections> {
  const client = createClient({
    socket: { host: '127.0.0.1', port, reconnectStrategy: 50 },
    ...(resp && { RESP: resp }),
  });
  const blocking = client.duplicate();
  for (const each of [client, blocking]) each.on('error', () => {});
  await Promise.all([client.connect(), blocking.connect()]);
  return {
    options: {
      sendCommand: (...command) => client.sendCommand(command),
      sendBlockingCommand: (...command) => blocking.sendCommand(command),
    },
    close: async () => {
      for (const each of [client, blocking]) each.destroy();
    },
  };
}

export async function connectIoredis(port: number): Promise<RedisConnections> {
  const client = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    retryStrategy: () => 50,
  });
  const blocking = client.duplicate();
  for (const each of [client, blocking]) each.on('error', () => {});
  await Promise.all([client.connect(), blocking.connect()]);
  return {
    options: {
      sendCommand: (command, ...args) => client.call(command, ...args),
      sendBlockingCommand: (command, ...args) => blocking.call(command, ...args),
    },
    close: async () => {
      for (const each of [client, blocking]) each.disconnect();
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('There is no port.');
  return address.port;
}

async function ready(server: ChildProcess): Promise<void> {
  const { stdout } = server;
  if (stdout === null) throw new Error('Redis has no stdout.');
  const log: string[] = [];
  const lines = createInterface({ input: stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      log.push(line);
      if (line.includes('Ready to accept connections')) resolve();
    });
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`Redis has not started.\n${log.join('\n')}`)));
  });
  // Nothing may stop it from writing on.
  lines.close();
  stdout.resume();
}
