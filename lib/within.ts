import { setTimeout as delay } from 'node:timers/promises';

/**
 * What `work` settles with, or `undefined` when it takes longer than `ms`. The work itself goes on.
 *
 * @throws what it rejects with in time
 */
export async function within<Result>(
  ms: number,
  work: Promise<Result>,
): Promise<Result | undefined> {
  const timer = new AbortController();
  const late = delay(ms, undefined, { signal: timer.signal }).catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
