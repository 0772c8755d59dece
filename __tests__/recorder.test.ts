import { setImmediate } from 'node:timers/promises';
import { Recorder } from '../lib/recorder';
import type { Recording } from '../lib/stores/store';
import { useFakeClock } from './fakeDelay';

jest.mock('node:timers/promises', () => jest.requireActual('./fakeDelay').fakeTimersPromises);

beforeEach(useFakeClock);

afterEach(() => jest.useRealTimers());

const MIB = 2 ** 20;

interface Call {
  readonly first: number;
  readonly frames: readonly string[];
  readonly end?: string;
}

/** A recording that notes what it is told, and answers as the test wants it to. */
class FakeRecording implements Recording {
  readonly calls: Call[] = [];
  released = 0;
  busy = 0;
  answer: () => Promise<boolean> = async () => true;

  append(first: number, frames: readonly string[]): Promise<boolean> {
    return this.#told({ first, frames });
  }

  finish(first: number, frames: readonly string[], end: string): Promise<boolean> {
    return this.#told({ first, frames, end });
  }

  release(): void {
    this.released += 1;
  }

  async #told(call: Call): Promise<boolean> {
    this.calls.push(call);
    this.busy += 1;
    expect(this.busy).toBe(1);
    return this.answer().finally(() => {
      this.busy -= 1;
    });
  }
}

function recorderWith(maxBytes = MIB) {
  const recording = new FakeRecording();
  let drains = 0;
  const recorder = new Recorder(recording, maxBytes, () => {
    drains += 1;
  });
  let isDone = false;
  void recorder.done.then(() => {
    isDone = true;
  });
  return { recording, recorder, isDone: () => isDone, drains: () => drains };
}

/** Has the store wait; the returned function lets it answer. */
function hold(recording: FakeRecording): (answer?: boolean) => void {
  let answered: (answer: boolean) => void = () => undefined;
  const { answer } = recording;
  recording.answer = () =>
    new Promise((resolve) => {
      answered = resolve;
    });
  return (mine = true) => {
    recording.answer = answer;
    answered(mine);
  };
}

const failing = () => Promise.reject(new Error('gone'));

describe('frames', () => {
  test('of one chunk go to the store at once, and in order', async () => {
    const { recording, recorder } = recorderWith();
    for (const number of [1, 2, 3]) recorder.add(number, `${number}`);
    expect(recording.calls).toEqual([]);
    await setImmediate();
    recorder.add(4, '4');
    await setImmediate();
    expect(recording.calls).toEqual([
      { first: 1, frames: ['1', '2', '3'] },
      { first: 4, frames: ['4'] },
    ]);
  });

  test('wait for the batch before them', async () => {
    const { recording, recorder } = recorderWith();
    const answer = hold(recording);
    recorder.add(1, 'a');
    await setImmediate();
    recorder.add(2, 'b');
    await setImmediate();
    recorder.add(3, 'c');
    await setImmediate();
    expect(recording.calls).toHaveLength(1);
    answer();
    await setImmediate();
    expect(recording.calls.slice(1)).toEqual([{ first: 2, frames: ['b', 'c'] }]);
  });

  test.each([
    ['of many frames', 1_200, 1, [500, 500, 200]],
    ['of much text', 5, 40_000, [2, 2, 1]],
    ['of long frames', 3, 200_000, [1, 1, 1]],
  ])('go in batches %s', async (_, count, length, sizes) => {
    const { recording, recorder } = recorderWith();
    for (let number = 1; number <= count; number++) recorder.add(number, 'x'.repeat(length));
    await setImmediate();
    expect(recording.calls.map(({ frames }) => frames.length)).toEqual(sizes);
    let first = 1;
    for (const call of recording.calls) {
      expect(call.first).toBe(first);
      first += call.frames.length;
    }
  });

  test('may begin with any number', async () => {
    const { recording, recorder } = recorderWith();
    recorder.add(7, 'a');
    await setImmediate();
    expect(recording.calls).toEqual([{ first: 7, frames: ['a'] }]);
  });
});

describe('the end', () => {
  test('goes with the last frames, in one step, and releases', async () => {
    const { recording, recorder } = recorderWith();
    recorder.add(1, 'a');
    recorder.add(2, 'b');
    recorder.finish(2, 'end');
    await recorder.done;
    expect(recording.calls).toEqual([{ first: 1, frames: ['a', 'b'], end: 'end' }]);
    expect(recording.released).toBe(1);
  });

  test('goes with the last of several batches', async () => {
    const { recording, recorder } = recorderWith();
    for (let number = 1; number <= 600; number++) recorder.add(number, 'x');
    recorder.finish(600, 'end');
    await recorder.done;
    expect(recording.calls.map(({ first, end }) => [first, end])).toEqual([
      [1, undefined],
      [501, 'end'],
    ]);
  });

  test('goes alone when everything else is written', async () => {
    const { recording, recorder } = recorderWith();
    recorder.add(1, 'a');
    await setImmediate();
    recorder.finish(1, 'end');
    await recorder.done;
    expect(recording.calls.at(-1)).toEqual({ first: 2, frames: [], end: 'end' });
  });

  test('of a run that has never said a word is written, too', async () => {
    const { recording, recorder } = recorderWith();
    recorder.finish(0, 'end');
    await recorder.done;
    expect(recording.calls).toEqual([{ first: 1, frames: [], end: 'end' }]);
  });

  test('waits for a batch that is being written', async () => {
    const { recording, recorder, isDone } = recorderWith();
    const answer = hold(recording);
    recorder.add(1, 'a');
    await setImmediate();
    recorder.finish(1, 'end');
    await setImmediate();
    expect(recording.calls).toHaveLength(1);
    expect(isDone()).toBe(false);
    answer();
    await recorder.done;
    expect(recording.calls[1]).toEqual({ first: 2, frames: [], end: 'end' });
  });
});

describe('a store that fails', () => {
  test('gets the same batch again until it takes it, less and less often', async () => {
    const { recording, recorder } = recorderWith();
    recording.answer = failing;
    recorder.add(1, 'a');
    await setImmediate();
    recorder.add(2, 'b');
    const attempts: number[] = [];
    for (let ms = 0; ms < 10_000; ms += 10) {
      const before = recording.calls.length;
      await jest.advanceTimersByTimeAsync(10);
      if (recording.calls.length > before) attempts.push(ms + 10);
    }
    expect(attempts.slice(0, 7)).toEqual([50, 150, 350, 750, 1_550, 2_550, 3_550]);
    expect(new Set(recording.calls.map((call) => JSON.stringify(call))).size).toBe(1);
    recording.answer = async () => true;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(recording.calls.slice(-2)).toEqual([
      { first: 1, frames: ['a'] },
      { first: 2, frames: ['b'] },
    ]);
  });

  test('is tried for as long as the run goes on', async () => {
    const { recording, recorder, isDone } = recorderWith();
    recording.answer = failing;
    recorder.add(1, 'a');
    await jest.advanceTimersByTimeAsync(3_600_000);
    expect(isDone()).toBe(false);
    expect(recording.released).toBe(0);
    recording.answer = async () => true;
    await jest.advanceTimersByTimeAsync(1_000);
    recorder.finish(1, 'end');
    await recorder.done;
    expect(recording.calls.at(-1)).toEqual({ first: 2, frames: [], end: 'end' });
  });

  test('is given up a minute after the end of the run', async () => {
    const { recording, recorder, isDone } = recorderWith();
    recording.answer = failing;
    recorder.add(1, 'a');
    await jest.advanceTimersByTimeAsync(300_000);
    recorder.finish(1, 'end');
    await jest.advanceTimersByTimeAsync(59_000);
    expect(isDone()).toBe(false);
    await jest.advanceTimersByTimeAsync(3_000);
    expect(isDone()).toBe(true);
    expect(recording.released).toBe(1);
    const { length } = recording.calls;
    await jest.advanceTimersByTimeAsync(60_000);
    expect(recording.calls).toHaveLength(length);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('and comes back after the end of the run gets everything', async () => {
    const { recording, recorder } = recorderWith();
    recording.answer = failing;
    recorder.add(1, 'a');
    await setImmediate();
    recorder.add(2, 'b');
    recorder.finish(2, 'end');
    await jest.advanceTimersByTimeAsync(30_000);
    recording.answer = async () => true;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(recording.calls.slice(-2)).toEqual([
      { first: 1, frames: ['a'] },
      { first: 2, frames: ['b'], end: 'end' },
    ]);
  });
});

describe('a store that cannot keep up', () => {
  /** A recorder of which the store has the frame 1 in hand, and of which more waits than may. */
  async function full() {
    const made = recorderWith(10);
    const { recording, recorder } = made;
    const answer = hold(recording);
    recorder.add(1, '1111');
    await setImmediate();
    const room = [2, 3, 4, 5].map((number) => recorder.add(number, `${number}`.repeat(4)));
    expect(room).toEqual([true, true, false, false]);
    return { ...made, answer };
  }

  test('is waited for, and gets everything', async () => {
    const { recording, recorder, drains, answer } = await full();
    await jest.advanceTimersByTimeAsync(900);
    expect(drains()).toBe(0);
    answer();
    await setImmediate();
    expect(drains()).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
    expect(recorder.add(6, '6666')).toBe(true);
    await setImmediate();
    expect(recording.calls).toEqual([
      { first: 1, frames: ['1111'] },
      { first: 2, frames: ['2222', '3333', '4444', '5555'] },
      { first: 6, frames: ['6666'] },
    ]);
    expect(drains()).toBe(1);
  });

  test('is waited for a second; then the oldest go, and a gap shows by the number', async () => {
    const { recording, recorder, drains, answer } = await full();
    await jest.advanceTimersByTimeAsync(1_010);
    expect(drains()).toBe(1);
    expect([6, 7].map((number) => recorder.add(number, `${number}`.repeat(4)))).toEqual([
      true,
      true,
    ]);
    expect(jest.getTimerCount()).toBe(0);
    answer();
    await setImmediate();
    recorder.add(8, '8888');
    await setImmediate();
    expect(recording.calls).toEqual([
      { first: 1, frames: ['1111'] },
      { first: 6, frames: ['6666', '7777'] },
      { first: 8, frames: ['8888'] },
    ]);
    expect(drains()).toBe(1);
  });

  test('is waited for again once it has caught up', async () => {
    const { recording, recorder, drains, answer } = await full();
    await jest.advanceTimersByTimeAsync(1_010);
    answer();
    await setImmediate();
    const again = hold(recording);
    recorder.add(6, '6666');
    await setImmediate();
    expect([7, 8, 9].map((number) => recorder.add(number, `${number}`.repeat(4)))).toEqual([
      true,
      true,
      false,
    ]);
    again();
    await setImmediate();
    expect(recording.calls.at(-1)).toEqual({ first: 7, frames: ['7777', '8888', '9999'] });
    expect(drains()).toBe(2);
  });

  test('that fails is waited for a second as well', async () => {
    const { recording, recorder, drains } = recorderWith(10);
    recording.answer = failing;
    recorder.add(1, '1111');
    await setImmediate();
    for (let number = 2; number <= 5; number++) recorder.add(number, `${number}`.repeat(4));
    await jest.advanceTimersByTimeAsync(1_010);
    expect(drains()).toBe(1);
    recording.answer = async () => true;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(recording.calls.slice(-2)).toEqual([
      { first: 1, frames: ['1111'] },
      { first: 4, frames: ['4444', '5555'] },
    ]);
  });

  test('gets the last frame, however long it is', async () => {
    const { recording, recorder, answer } = await full();
    await jest.advanceTimersByTimeAsync(1_010);
    recorder.add(6, 'x'.repeat(1_000));
    recorder.finish(6, 'end');
    answer();
    await recorder.done;
    expect(recording.calls.at(-1)).toEqual({ first: 6, frames: ['x'.repeat(1_000)], end: 'end' });
  });

  test('that is given up holds nobody back', async () => {
    const { recorder, drains } = await full();
    recorder.release();
    expect(drains()).toBe(1);
    expect(recorder.add(6, 'x'.repeat(1_000))).toBe(true);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('has what it has got not counted', async () => {
    const { recording, recorder, drains } = recorderWith(10);
    for (let number = 1; number <= 50; number++) {
      expect(recorder.add(number, '12345678')).toBe(true);
      await setImmediate();
    }
    expect(recording.calls.map(({ first }) => first)).toEqual(
      Array.from({ length: 50 }, (_, index) => index + 1),
    );
    expect(drains()).toBe(0);
  });
});

describe('a run that another instance has concluded', () => {
  test('is not written any more', async () => {
    const { recording, recorder } = recorderWith();
    recording.answer = async () => false;
    recorder.add(1, 'a');
    await recorder.done;
    expect(recording.released).toBe(1);
    recorder.add(2, 'b');
    recorder.finish(2, 'end');
    await setImmediate();
    expect(recording.calls).toEqual([{ first: 1, frames: ['a'] }]);
  });
});

describe('release', () => {
  test('gives up what waits', async () => {
    const { recording, recorder } = recorderWith();
    recording.answer = failing;
    recorder.add(1, 'a');
    await setImmediate();
    recorder.finish(1, 'end');
    recorder.release();
    await recorder.done;
    expect(recording.released).toBe(1);
    recorder.add(2, 'b');
    await jest.advanceTimersByTimeAsync(60_000);
    expect(recording.calls).toHaveLength(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('while the store is busy writes nothing after it', async () => {
    const { recording, recorder } = recorderWith();
    const answer = hold(recording);
    recorder.add(1, 'a');
    await setImmediate();
    recorder.add(2, 'b');
    recorder.release();
    answer();
    await setImmediate();
    expect(recording.calls).toEqual([{ first: 1, frames: ['a'] }]);
  });
});
