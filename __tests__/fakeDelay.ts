import type { TimerOptions } from 'node:timers';

/**
 * `setTimeout` of `node:timers/promises` on the clock of Jest's fake timers, which leave that module alone. To be
 * mocked in: `jest.mock('node:timers/promises', () => jest.requireActual('./fakeDelay').fakeTimersPromises)`.
 */
function delay<Value>(
  ms: number,
  value: Value,
  { signal }: TimerOptions & { signal?: AbortSignal } = {},
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve(value);
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
  });
}

export const fakeTimersPromises = {
  ...jest.requireActual<typeof import('node:timers/promises')>('node:timers/promises'),
  setTimeout: delay,
};

/** Only what makes time pass is faked: streams and promises go on as they do. */
export function useFakeClock(): void {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
}
