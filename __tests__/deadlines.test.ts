import { type DeadlineOptions, Deadlines } from '../lib/deadlines';

beforeEach(() => {
  jest.useFakeTimers();
});

afterEach(() => {
  jest.useRealTimers();
});

const off: DeadlineOptions = {
  queue: false,
  firstMessage: false,
  idle: false,
  total: false,
  background: false,
  permission: false,
};

/** The deadline that has passed, if one has. */
function passed({ signal }: Deadlines): unknown {
  return signal.aborted ? signal.reason : undefined;
}

/** Messages `interval` ms apart, `times` of them. */
function speak(deadlines: Deadlines, interval: number, times: number): void {
  for (let time = 0; time < times; time++) {
    jest.advanceTimersByTime(interval);
    deadlines.touch();
  }
}

describe('the first message', () => {
  test('has to come in time', () => {
    const deadlines = new Deadlines({ ...off, firstMessage: 100 });
    jest.advanceTimersByTime(99);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(1);
    expect(passed(deadlines)).toBe('firstMessage');
  });

  test('ends its deadline', () => {
    const deadlines = new Deadlines({ ...off, firstMessage: 100 });
    speak(deadlines, 99, 1);
    jest.advanceTimersByTime(1_000);
    expect(passed(deadlines)).toBeUndefined();
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('silence', () => {
  test('may last as long as idle says, after every message', () => {
    const deadlines = new Deadlines({ ...off, idle: 100 });
    speak(deadlines, 90, 20);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(98);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(2);
    expect(passed(deadlines)).toBe('idle');
  });

  test('does not count before the first message', () => {
    const deadlines = new Deadlines({ ...off, firstMessage: 1_000, idle: 100 });
    jest.advanceTimersByTime(900);
    expect(passed(deadlines)).toBeUndefined();
    deadlines.touch();
    jest.advanceTimersByTime(100);
    expect(passed(deadlines)).toBe('idle');
  });

  test('does not count while the process is not read', () => {
    const deadlines = new Deadlines({ ...off, idle: 100 });
    speak(deadlines, 50, 1);
    deadlines.pause('not_read');
    jest.advanceTimersByTime(10_000);
    expect(passed(deadlines)).toBeUndefined();
    deadlines.resume('not_read');
    jest.advanceTimersByTime(98);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(102);
    expect(passed(deadlines)).toBe('idle');
  });

  test('does not count while any of two reasons holds', () => {
    const deadlines = new Deadlines({ ...off, idle: 100 });
    speak(deadlines, 50, 1);
    deadlines.pause('not_read');
    deadlines.pause('permission');
    deadlines.resume('not_read');
    jest.advanceTimersByTime(10_000);
    expect(passed(deadlines)).toBeUndefined();
    deadlines.resume('permission');
    jest.advanceTimersByTime(98);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(102);
    expect(passed(deadlines)).toBe('idle');
  });

  test('is not forgiven by the end of a pause that never was', () => {
    const deadlines = new Deadlines({ ...off, idle: 100 });
    speak(deadlines, 50, 1);
    jest.advanceTimersByTime(90);
    deadlines.resume('permission');
    jest.advanceTimersByTime(10);
    expect(passed(deadlines)).toBe('idle');
  });

  test('is watched with one timer, however many messages there are', () => {
    const set = jest.spyOn(globalThis, 'setTimeout');
    const deadlines = new Deadlines({ ...off, idle: 100 });
    speak(deadlines, 1, 1_000);
    expect(set.mock.calls.length).toBeLessThan(20);
    expect(jest.getTimerCount()).toBe(1);
    set.mockRestore();
  });
});

describe('the whole run', () => {
  test('has to end in time, however much it says', () => {
    const deadlines = new Deadlines({ ...off, firstMessage: 100, idle: 100, total: 500 });
    speak(deadlines, 49, 10);
    expect(passed(deadlines)).toBeUndefined();
    jest.advanceTimersByTime(10);
    expect(passed(deadlines)).toBe('total');
  });

  test('has to end in time, also while the process is not read', () => {
    const deadlines = new Deadlines({ ...off, total: 500 });
    deadlines.pause('not_read');
    jest.advanceTimersByTime(500);
    expect(passed(deadlines)).toBe('total');
  });
});

test('false turns a deadline off', () => {
  const deadlines = new Deadlines(off);
  speak(deadlines, 1_000_000, 2);
  jest.advanceTimersByTime(10_000_000);
  expect(passed(deadlines)).toBeUndefined();
  expect(jest.getTimerCount()).toBe(0);
});

test('only the first deadline counts, and it leaves no timer', () => {
  const deadlines = new Deadlines({ ...off, firstMessage: 100, idle: 100, total: 200 });
  const reasons: unknown[] = [];
  deadlines.signal.addEventListener('abort', () => reasons.push(deadlines.signal.reason));
  jest.advanceTimersByTime(1_000);
  expect(reasons).toEqual(['firstMessage']);
  expect(jest.getTimerCount()).toBe(0);
});

test.each(['before', 'after'])('the end, %s the first message, leaves no timer', (when) => {
  const deadlines = new Deadlines({ ...off, firstMessage: 100, idle: 100, total: 200 });
  if (when === 'after') deadlines.touch();
  deadlines.end();
  expect(jest.getTimerCount()).toBe(0);
  jest.advanceTimersByTime(1_000);
  expect(passed(deadlines)).toBeUndefined();
});

test('a message after the end starts no clock', () => {
  const deadlines = new Deadlines({ ...off, firstMessage: 100, idle: 100, total: 200 });
  deadlines.end();
  deadlines.touch();
  expect(jest.getTimerCount()).toBe(0);
});

test('a message after a deadline has passed starts no clock', () => {
  const deadlines = new Deadlines({ ...off, firstMessage: 100, idle: 100, total: 200 });
  jest.advanceTimersByTime(100);
  deadlines.touch();
  expect(jest.getTimerCount()).toBe(0);
});

test('a deadline does not keep the server alive', () => {
  jest.useRealTimers();
  const before = process.getActiveResourcesInfo().length;
  const deadlines = new Deadlines({ ...off, firstMessage: 60_000, idle: 60_000, total: 60_000 });
  deadlines.touch();
  expect(process.getActiveResourcesInfo()).toHaveLength(before);
  deadlines.end();
});
