import { setImmediate } from 'node:timers/promises';
import { Attendance, type AttendanceOptions } from '../lib/attendance';
import { useFakeClock } from './fakeDelay';

beforeEach(useFakeClock);

afterEach(() => jest.useRealTimers());

const MINUTE = 60_000;

function attendanceWith(options: Partial<AttendanceOptions> = {}) {
  const onAbandoned = jest.fn();
  const isAttended = jest.fn(async () => false);
  const attendance = new Attendance({ grace: 5 * MINUTE, isAttended, onAbandoned, ...options });
  return { attendance, onAbandoned, isAttended };
}

describe('with no grace', () => {
  test('a run is abandoned at once when the last client has left, and for its reason', () => {
    const { attendance, onAbandoned, isAttended } = attendanceWith({ grace: 0 });
    const [one, two] = [attendance.enter(), attendance.enter()];
    expect(attendance.present).toBe(2);
    one('stalled');
    expect(attendance.present).toBe(1);
    expect(onAbandoned).not.toHaveBeenCalled();
    two('disconnected');
    expect(attendance.present).toBe(0);
    expect(onAbandoned.mock.calls).toEqual([['disconnected']]);
    expect(isAttended).not.toHaveBeenCalled();
  });
});

describe('without any client yet', () => {
  test('no clock runs', async () => {
    const { onAbandoned } = attendanceWith();
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
  });
});

describe('the grace', () => {
  test.each([100, 5_000, 7_000, 5 * MINUTE])(
    'of %d ms begins when the last client leaves, and is not much longer',
    async (grace) => {
      const { attendance, onAbandoned } = attendanceWith({ grace });
      const [one, two] = [attendance.enter(), attendance.enter()];
      one('disconnected');
      await jest.advanceTimersByTimeAsync(60 * MINUTE);
      two('stalled');
      await jest.advanceTimersByTimeAsync(grace - 2);
      expect(onAbandoned).not.toHaveBeenCalled();
      await jest.advanceTimersByTimeAsync(4);
      expect(onAbandoned.mock.calls).toEqual([['stalled']]);
      await jest.advanceTimersByTimeAsync(60 * MINUTE);
      expect(onAbandoned).toHaveBeenCalledTimes(1);
      expect(jest.getTimerCount()).toBe(0);
    },
  );

  test('is over when somebody comes back, and begins anew when they leave', async () => {
    const { attendance, onAbandoned } = attendanceWith();
    attendance.enter()('disconnected');
    await jest.advanceTimersByTimeAsync(5 * MINUTE - 10);
    const back = attendance.enter();
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
    back('disconnected');
    await jest.advanceTimersByTimeAsync(5 * MINUTE - 10);
    expect(onAbandoned).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(20);
    expect(onAbandoned).toHaveBeenCalledTimes(1);
  });

  test('begins anew while somebody follows the run elsewhere', async () => {
    let elsewhere = true;
    const isAttended = jest.fn(async () => elsewhere);
    const { attendance, onAbandoned } = attendanceWith({ isAttended });
    attendance.enter()('disconnected');
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
    expect(isAttended.mock.calls.length).toBeGreaterThan(500);
    elsewhere = false;
    await jest.advanceTimersByTimeAsync(5 * MINUTE - 5_010);
    expect(onAbandoned).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(5_020);
    expect(onAbandoned).toHaveBeenCalledTimes(1);
  });

  test('begins anew with a short look elsewhere, however long ago it began', async () => {
    let looks = 0;
    const { attendance, onAbandoned } = attendanceWith({ isAttended: async () => ++looks === 50 });
    attendance.enter()('disconnected');
    await jest.advanceTimersByTimeAsync(9 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(MINUTE);
    expect(onAbandoned).toHaveBeenCalledTimes(1);
  });

  test('is not prolonged by a store that fails', async () => {
    const { attendance, onAbandoned } = attendanceWith({
      isAttended: () => Promise.reject(new Error('gone')),
    });
    attendance.enter()('disconnected');
    await jest.advanceTimersByTimeAsync(5 * MINUTE + 2);
    expect(onAbandoned).toHaveBeenCalledTimes(1);
  });

  test('that is false never ends', async () => {
    const { attendance, onAbandoned, isAttended } = attendanceWith({ grace: false });
    attendance.enter()('disconnected');
    expect(jest.getTimerCount()).toBe(0);
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect([onAbandoned, isAttended].flatMap(({ mock }) => mock.calls)).toEqual([]);
  });
});

describe('while the store is asked', () => {
  /** An attendance whose look elsewhere is answered by the test. */
  async function asked(grace: number) {
    let answer: (attended: boolean) => void = () => undefined;
    const isAttended = jest.fn(
      () =>
        new Promise<boolean>((resolve) => {
          answer = resolve;
        }),
    );
    const { attendance, onAbandoned } = attendanceWith({ grace, isAttended });
    attendance.enter()('disconnected');
    await jest.advanceTimersByTimeAsync(grace);
    expect(isAttended).toHaveBeenCalledTimes(1);
    return { attendance, onAbandoned, answer: (attended: boolean) => answer(attended) };
  }

  test('a client that comes back counts', async () => {
    const { attendance, onAbandoned, answer } = await asked(1_000);
    attendance.enter();
    answer(false);
    await setImmediate();
    expect(onAbandoned).not.toHaveBeenCalled();
    expect(jest.getTimerCount()).toBe(0);
  });

  test('the end of the run counts', async () => {
    const { attendance, onAbandoned, answer } = await asked(1_000);
    attendance.end();
    answer(false);
    await setImmediate();
    expect(onAbandoned).not.toHaveBeenCalled();
    expect(jest.getTimerCount()).toBe(0);
  });

  test('a client that comes and leaves has its whole grace', async () => {
    const { attendance, onAbandoned, answer } = await asked(1_000);
    attendance.enter()('disconnected');
    answer(false);
    await setImmediate();
    expect(onAbandoned).not.toHaveBeenCalled();
    expect(jest.getTimerCount()).toBe(1);
  });
});

describe('the end of the run', () => {
  test('leaves no timer', async () => {
    const { attendance, onAbandoned } = attendanceWith();
    attendance.enter()('disconnected');
    expect(jest.getTimerCount()).toBe(1);
    attendance.end();
    expect(jest.getTimerCount()).toBe(0);
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
  });

  test.each([0, MINUTE])('is not abandoned later (grace %d)', async (grace) => {
    const { attendance, onAbandoned } = attendanceWith({ grace });
    const leave = attendance.enter();
    attendance.end();
    leave('disconnected');
    expect(jest.getTimerCount()).toBe(0);
    await jest.advanceTimersByTimeAsync(60 * MINUTE);
    expect(onAbandoned).not.toHaveBeenCalled();
  });
});
