import fc from 'fast-check';
import { Admission, type AdmissionOptions, type Place } from '../lib/admission';
import { ClaudeStreamError } from '../lib/errors';

beforeEach(() => jest.useFakeTimers({ doNotFake: ['performance'] }));

afterEach(() => jest.useRealTimers());

function admissionWith(options: Partial<AdmissionOptions> = {}): Admission {
  return new Admission({ concurrency: 1, maxQueue: 100, ...options });
}

/** Requests by name, and the names in the order in which they got their places. */
function requests(admission: Admission) {
  const served: string[] = [];
  const places = new Map<string, Place>();
  const heard = new Map<string, number[]>();
  return {
    served,
    /** The positions that a request was told, in order. */
    heard: (name: string) => heard.get(name),
    position: (name: string) => place(name).position,
    enter(name: string, key?: string) {
      const entered = admission.enter(key);
      places.set(name, entered);
      const positions: number[] = [];
      heard.set(name, positions);
      if (entered.position === 0) served.push(name);
      void entered.wait((position) => {
        positions.push(position);
        if (position === 0) served.push(name);
      });
    },
    leave: (name: string) => place(name).leave(),
    /** Has everybody go who is there, until nobody waits. */
    serveAll() {
      for (let next = 0; next < served.length; next++) place(served[next] as string).leave();
      return served;
    },
  };

  function place(name: string): Place {
    const found = places.get(name);
    if (found === undefined) throw new Error(`There is no request ${name}.`);
    return found;
  }
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return error instanceof ClaudeStreamError ? error.code : String(error);
  }
}

describe('places', () => {
  test('are there at once while there are any, and nothing is told', async () => {
    const admission = admissionWith({ concurrency: 2 });
    const heard: number[] = [];
    for (const place of [admission.enter(), admission.enter()]) {
      expect(place.position).toBe(0);
      await place.wait((position) => heard.push(position));
    }
    expect([admission.taken, admission.waiting, heard]).toEqual([2, 0, []]);
    expect(admission.enter().position).toBe(1);
  });

  test('have no limit where concurrency is false', () => {
    const admission = admissionWith({ concurrency: false, maxQueue: 0 });
    for (let count = 0; count < 1_000; count++) expect(admission.enter().position).toBe(0);
  });

  test('are given back once, however often somebody leaves', () => {
    const admission = admissionWith({ concurrency: 2 });
    const [one] = [admission.enter(), admission.enter()];
    one?.leave();
    one?.leave();
    expect(admission.taken).toBe(1);
    expect([admission.enter().position, admission.enter().position]).toEqual([0, 1]);
  });

  test('go to the next at once, before anything else happens', () => {
    const { enter, leave, served, position } = requests(admissionWith());
    enter('a');
    enter('b');
    enter('c');
    leave('a');
    expect(served).toEqual(['a', 'b']);
    expect([position('a'), position('b'), position('c')]).toEqual([0, 0, 1]);
  });
});

describe('the queue', () => {
  test('has an end: whoever comes later is refused, and may come once there is room', () => {
    const admission = admissionWith({ maxQueue: 2 });
    const { enter, leave } = requests(admission);
    for (const name of ['a', 'b', 'c']) enter(name);
    expect(codeOf(() => admission.enter())).toBe('queue_full');
    expect([admission.taken, admission.waiting]).toEqual([1, 2]);
    leave('b');
    expect(admission.enter().position).toBe(2);
  });

  test('of no length has nobody wait', () => {
    const admission = admissionWith({ maxQueue: 0 });
    const place = admission.enter();
    expect(codeOf(() => admission.enter())).toBe('queue_full');
    place.leave();
    expect(admission.enter().position).toBe(0);
  });

  test('is left at once, and its wait settles', async () => {
    const { enter, leave, served, position } = requests(admissionWith());
    for (const name of ['a', 'b', 'c', 'd']) enter(name);
    leave('c');
    leave('c');
    expect([position('b'), position('c'), position('d')]).toEqual([1, 0, 2]);
    leave('a');
    leave('b');
    expect(served).toEqual(['a', 'b', 'd']);
  });

  test('settles the wait of one that leaves, without telling it that its turn has come', async () => {
    const admission = admissionWith();
    admission.enter();
    const heard: number[] = [];
    const place = admission.enter();
    const wait = place.wait((position) => heard.push(position));
    place.leave();
    await wait;
    expect(heard).toEqual([1]);
  });
});

describe('the order', () => {
  test('is that of arrival where there are no keys', () => {
    const { enter, leave, serveAll } = requests(admissionWith());
    for (const name of ['a', 'b', 'c']) enter(name);
    leave('a');
    for (const name of ['d', 'e']) enter(name);
    expect(serveAll()).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  test('is that of arrival for one key', () => {
    const { enter, serveAll } = requests(admissionWith());
    for (const name of ['a', 'b', 'c', 'd']) enter(name, 'key');
    expect(serveAll()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('has keys take turns: fifty of one do not hold up one of another', () => {
    const { enter, position, serveAll } = requests(admissionWith());
    for (let number = 0; number <= 50; number++) enter(`a${number}`, 'a');
    enter('b1', 'b');
    enter('b2', 'b');
    enter('c1', 'c');
    expect(['a1', 'b1', 'c1', 'a2', 'b2', 'a3'].map(position)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(serveAll().slice(0, 8)).toEqual(['a0', 'a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4']);
  });

  test('never passes a key by, however many new keys come', () => {
    const { enter, leave, served } = requests(admissionWith());
    for (const name of ['a0', 'a1', 'a2']) enter(name, 'a');
    for (let number = 0; number < 10; number++) {
      enter(`new${number}`, `new${number}`);
      leave(served.at(-1) as string);
    }
    expect(served.slice(0, 5)).toEqual(['a0', 'a1', 'new0', 'a2', 'new1']);
  });

  test('has a request move up when one of its key before it leaves, not wait for a turn that nobody takes', () => {
    const { enter, leave, position } = requests(admissionWith());
    enter('there');
    for (let number = 1; number <= 5; number++) enter(`a${number}`, 'a');
    for (const name of ['b1', 'b2', 'b3']) enter(name, 'b');
    expect(position('a5')).toBe(8);
    for (const name of ['a1', 'a2', 'a3', 'a4']) leave(name);
    expect([position('a5'), position('b1'), position('b2')]).toEqual([1, 2, 3]);
  });
});

describe('positions', () => {
  test('are told at once, then at most once a second, and the turn at once', () => {
    const { enter, leave, heard } = requests(admissionWith({ concurrency: 3 }));
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) enter(name);
    expect([heard('d'), heard('g')]).toEqual([[1], [4]]);
    for (const name of ['a', 'b']) leave(name);
    expect([heard('d'), heard('e'), heard('g')]).toEqual([[1, 0], [2, 0], [4]]);
    jest.advanceTimersByTime(999);
    expect(heard('g')).toEqual([4]);
    jest.advanceTimersByTime(1);
    expect([heard('f'), heard('g')]).toEqual([
      [3, 1],
      [4, 2],
    ]);
  });

  test('are told once: no clock runs while nothing changes, or nobody waits', () => {
    const { enter, leave, heard } = requests(admissionWith());
    for (const name of ['a', 'b', 'c']) enter(name);
    jest.advanceTimersByTime(1_000);
    expect(jest.getTimerCount()).toBe(0);
    leave('b');
    expect(jest.getTimerCount()).toBe(1);
    jest.advanceTimersByTime(1_000);
    expect([heard('c'), jest.getTimerCount()]).toEqual([[2, 1], 0]);
    leave('a');
    expect(jest.getTimerCount()).toBe(0);
  });

  test('move back when somebody else comes first', () => {
    const { enter, heard } = requests(admissionWith());
    for (const name of ['a0', 'a1', 'a2']) enter(name, 'a');
    enter('b', 'b');
    jest.advanceTimersByTime(1_000);
    expect([heard('a2'), heard('b')]).toEqual([[2, 3], [2]]);
  });
});

describe('ten thousand in the queue', () => {
  // Each of these is a matter of 100 ms; a search through the whole queue for each of them would take 10 s.
  test.each([undefined, 'one', 'many'])('cost little (keys: %s)', (keys) => {
    const admission = admissionWith({ maxQueue: 10_000 });
    const first = admission.enter();
    const began = performance.now();
    let events = 0;
    const places = Array.from({ length: 10_000 }, (_, index) => {
      const place = admission.enter(keys === 'many' ? `key ${index % 100}` : keys);
      void place.wait(() => {
        events += 1;
      });
      return place;
    });
    expect([admission.waiting, events]).toEqual([10_000, 10_000]);
    jest.advanceTimersByTime(10_000);
    for (let index = 0; index < 10_000; index += 2) places[index]?.leave();
    jest.advanceTimersByTime(5_000);
    // All the others in one telling; which of them had moved depends on the keys.
    expect(events).toBeLessThanOrEqual(25_000);
    first.leave();
    for (const place of places) place.leave();
    expect([admission.taken, admission.waiting]).toEqual([0, 0]);
    expect(performance.now() - began).toBeLessThan(3_000);
  });
});

describe('whatever happens', () => {
  interface Entry {
    readonly key: string | undefined;
    readonly place: Place;
    /** Whether it should still be counted. */
    state: 'waiting' | 'there' | 'left';
  }

  test('no more have a place than may, nobody is lost, and positions are a row', () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({
          kind: fc.constant('enter' as const),
          key: fc.constantFrom(undefined, 'a', 'b', 'c'),
        }),
        fc.record({ kind: fc.constant('leave' as const), which: fc.nat(30) }),
      ),
      { maxLength: 80 },
    );
    fc.assert(
      fc.property(
        steps,
        fc.integer({ min: 1, max: 4 }),
        fc.nat(20),
        (all, concurrency, maxQueue) => {
          const admission = new Admission({ concurrency, maxQueue });
          const entries: Entry[] = [];
          for (const step of all) {
            if (step.kind === 'enter') enter(step.key);
            else entries[step.which % Math.max(entries.length, 1)]?.place.leave();
            if (step.kind === 'leave') {
              const left = entries[step.which % Math.max(entries.length, 1)];
              if (left) left.state = 'left';
            }
            look();
          }
          // Whoever waits gets a place when the others have gone.
          for (let there = thoseThere(); there.length > 0; there = thoseThere()) {
            for (const one of there) {
              one.state = 'left';
              one.place.leave();
            }
          }
          expect(entries.filter(({ state }) => state !== 'left')).toEqual([]);
          expect([admission.taken, admission.waiting]).toEqual([0, 0]);
          expect(jest.getTimerCount()).toBe(0);

          function enter(key: string | undefined): void {
            const isFull = count('there') === concurrency && count('waiting') >= maxQueue;
            if (isFull) {
              expect(codeOf(() => admission.enter(key))).toBe('queue_full');
              return;
            }
            const place = admission.enter(key);
            const entry: Entry = { key, place, state: place.position === 0 ? 'there' : 'waiting' };
            entries.push(entry);
            void place.wait((position) => {
              if (position > 0) return;
              expect(entry.state).toBe('waiting');
              entry.state = 'there';
            });
          }

          function look(): void {
            expect(count('there')).toBe(admission.taken);
            expect(count('waiting')).toBe(admission.waiting);
            expect(admission.taken).toBeLessThanOrEqual(concurrency);
            if (admission.waiting > 0) expect(admission.taken).toBe(concurrency);
            const waiting = entries.filter(({ state }) => state === 'waiting');
            const positions = waiting.map(({ place }) => place.position);
            expect(positions.toSorted((one, other) => one - other)).toEqual(
              waiting.map((_, index) => index + 1),
            );
            for (const one of ['a', 'b', 'c', undefined]) {
              const ofKey = waiting
                .filter(({ key }) => key === one)
                .map(({ place }) => place.position);
              expect(ofKey).toEqual(ofKey.toSorted((first, second) => first - second));
            }
          }

          function thoseThere(): Entry[] {
            return entries.filter(({ state }) => state === 'there');
          }

          function count(state: Entry['state']): number {
            return entries.filter((entry) => entry.state === state).length;
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
