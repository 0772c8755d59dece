import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { afterTest } from './afterTest';
import { freePort } from './proxies';

const redisServer = '/usr/bin/redis-server';

export interface Redis {
  readonly port: number;
  /** Ends it, with every connection to it; it forgets everything. */
  stop(): Promise<void>;
  /** Starts it again, empty, on the same port. */
  start(): Promise<void>;
}

/** Starts a Redis of its own on the loopback, which keeps nothing on disk; the test's end stops it. */
export async function startRedis(): Promise<Redis> {
  const port = await freePort();
  let running: ChildProcess | undefined;
  const redis = {
    port,
    async start() {
      const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', tmpdir()];
      const server = spawn(redisServer, [...args, '--save', '', '--appendonly', 'no'], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      running = server;
      let said = '';
      for await (const chunk of server.stdout.setEncoding('utf8').iterator({
        destroyOnReturn: false,
      })) {
        said += chunk;
        if (said.includes('Ready to accept connections')) {
          server.stdout.resume();
          return;
        }
      }
      throw new Error(`Redis does not start: ${said}`);
    },
    async stop() {
      const server = running;
      running = undefined;
      if (server === undefined || server.exitCode !== null) return;
      const closed = once(server, 'close');
      server.kill('SIGKILL');
      await closed;
    },
  };
  afterTest(redis.stop);
  await redis.start();
  return redis;
}
