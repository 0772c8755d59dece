import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ClaudeStreamOptions } from 'claude-stream';
import { afterTest } from './afterTest';

export interface Instance {
  /** The route of the middleware; those of its runs are below it. */
  readonly url: string;
  /** Has no time for anything any more; settles when it is dead. */
  kill(): Promise<void>;
}

/** Starts an application in a process of its own, which shares a Redis with others; the test's end stops it. */
export async function startInstance(
  client: 'redis' | 'ioredis',
  redisPort: number,
  ownerTimeout: number,
  options: ClaudeStreamOptions,
): Promise<Instance> {
  const instance = fork(
    join(__dirname, 'instance.mjs'),
    [client, String(redisPort), String(ownerTimeout), JSON.stringify(options)],
    // Jest's own settings are nobody else's.
    { execArgv: [], env: { PATH: process.env.PATH, HOME: process.env.HOME } },
  );
  const exited = once(instance, 'exit');
  afterTest(async () => {
    if (instance.connected) instance.disconnect();
    await exited;
  });
  const [{ url }] = await Promise.race([
    once(instance, 'message'),
    exited.then(([code]) => {
      throw new Error(`The instance exits with ${code} before it listens.`);
    }),
  ]);
  return {
    url,
    async kill() {
      instance.kill('SIGKILL');
      await exited;
    },
  };
}
