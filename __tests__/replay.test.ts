import { getEventListeners, once } from 'node:events';
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { claude } from '../lib/formats/claude';
import { openai } from '../lib/formats/openai/openai';
import { type ReplayOptions, replay } from '../lib/replay';
import type { Run } from '../lib/run';
import { FrameLog } from '../lib/sse/frameLog';
import type { RunPage, RunStore } from '../lib/stores/store';
import { useFakeClock } from './fakeDelay';

jest.mock('node:timers/promises', () => jest.requireActual('./fakeDelay').fakeTimersPromises);

beforeEach(useFakeClock);

afterEach(() => jest.useRealTimers());

const frame = (number: number) => `id: run:${number}\ndata: ${number}\n\n`;

const framesFrom = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, index) => frame(first + index));

/** What a store answers, one after the other; the last answer goes on. A function is told what is asked for. */
type Answer = RunPage | Error | 'waits' | ((after: number) => RunPage);

class FakeRuns {
  /** The numbers after which it was read. */
  readonly asked: number[] = [];
  readonly concluded: unknown[][] = [];
  /** The signals of those who follow. */
  readonly following: AbortSignal[] = [];
  conclusion: () => Promise<boolean> = async () => true;
  readonly #answers: Answer[];

  constructor(...answers: Answer[]) {
    this.#answers = answers;
  }

  async read(_runId: string, after: number, follow?: AbortSignal): Promise<RunPage> {
    this.asked.push(after);
    const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0];
    if (answer instanceof Error) throw answer;
    if (typeof answer === 'function') return answer(after);
    if (answer !== 'waits' && answer !== undefined) return answer;
    if (follow === undefined) throw new Error('Nobody follows.');
    this.following.push(follow);
    return new Promise((_resolve, reject) => {
      follow.addEventListener('abort', () => reject(follow.reason), { once: true });
      if (follow.aborted) reject(follow.reason);
    });
  }

  conclude(...args: unknown[]): Promise<boolean> {
    this.concluded.push(args);
    return this.conclusion();
  }
}

function replayOf(runs: FakeRuns, options: Partial<ReplayOptions> = {}): Readable {
  return replay({
    runId: 'run',
    after: 0,
    runs: runs as unknown as RunStore,
    local: undefined,
    format: claude,
    highWaterMark: 65_536,
    signal: new AbortController().signal,
    ...options,
  });
}

/** A run of this instance, of which no more than `keepBytes` are held for those who come back. */
function localRun(keepBytes: number) {
  const frames: string[] = [];
  const log = new FrameLog('run', {
    maxBytes: 1_000_000,
    keepBytes,
    onDrain: () => undefined,
    onFrame: (_number, text) => void frames.push(text),
  });
  const run = {
    reader: (highWaterMark: number, after: number) => log.reader(highWaterMark, after),
    get lastFrame() {
      return log.last;
    },
  } as unknown as Run;
  const say = (first: number, last: number) => {
    for (let number = first; number <= last; number++) log.append(`${number}`);
  };
  return { log, run, frames, say };
}

/** Everything that a source gives, until its end. */
async function textOf(source: Readable): Promise<string> {
  let text = '';
  for await (const chunk of source) text += chunk;
  return text;
}

const ended = (last: number): RunPage => ({ kind: 'ended', last, end: '{}' });

const gone = new Error('gone');

describe('a run that the store has', () => {
  test('comes page by page, and ends with its last frame', async () => {
    const runs = new FakeRuns(
      { kind: 'frames', first: 1, frames: framesFrom(1, 3) },
      { kind: 'frames', first: 4, frames: framesFrom(4, 5) },
      ended(5),
    );
    expect(await textOf(replayOf(runs))).toBe(framesFrom(1, 5).join(''));
    expect(runs.asked).toEqual([0, 3, 5]);
  });

  test('comes from the frame after the one named', async () => {
    const runs = new FakeRuns({ kind: 'frames', first: 4, frames: framesFrom(4, 5) }, ended(5));
    expect(await textOf(replayOf(runs, { after: 3 }))).toBe(framesFrom(4, 5).join(''));
    expect(runs.asked).toEqual([3, 5]);
  });

  test('and that is not over is followed', async () => {
    const runs = new FakeRuns({ kind: 'frames', first: 1, frames: [frame(1)] }, 'waits');
    const source = replayOf(runs);
    const [chunk] = await once(source, 'data');
    expect(String(chunk)).toBe(frame(1));
    await setImmediate();
    expect(runs.following).toHaveLength(1);
    source.destroy();
  });
});

describe('a gap', () => {
  const pages: Answer[] = [
    { kind: 'frames', first: 1, frames: framesFrom(1, 2) },
    { kind: 'frames', first: 6, frames: framesFrom(6, 7) },
    ended(7),
  ];

  test('is told in the native format, with an id to go on from, and the stream goes on', async () => {
    const text = await textOf(replayOf(new FakeRuns(...pages)));
    const message = 'The events 3 to 5 of the run are not kept any more.';
    const data = JSON.stringify({ code: 'events_lost', message, first: 3, last: 5 });
    expect(text).toBe(
      [...framesFrom(1, 2), `event: gap\nid: run:5\ndata: ${data}\n\n`, ...framesFrom(6, 7)].join(
        '',
      ),
    );
  });

  test('ends the stream where an answer would be wrong without what is missing', async () => {
    const runs = new FakeRuns(...pages);
    const text = await textOf(replayOf(runs, { format: openai }));
    expect(text.startsWith(framesFrom(1, 2).join(''))).toBe(true);
    expect(text).toContain('"error":{"message":"The events 3 to 5 of the run');
    expect(text).toMatch(/\n\nid: run:5\ndata: \[DONE\]\n\n$/);
    expect(text).not.toContain('run:6');
  });

  test('at the beginning is told as well', async () => {
    const runs = new FakeRuns({ kind: 'frames', first: 9, frames: [frame(9)] }, ended(9));
    const text = await textOf(replayOf(runs, { after: 2 }));
    expect(text).toMatch(/^event: gap\nid: run:8\ndata: .*"first":3,"last":8}\n\nid: run:9\n/);
  });

  test('at the end is told as well', async () => {
    const text = await textOf(replayOf(new FakeRuns(ended(4)), { after: 2 }));
    expect(text).toMatch(/^event: gap\nid: run:4\ndata: .*"first":3,"last":4}\n\n$/);
  });
});

describe('a run whose owner is gone', () => {
  test('is concluded once, and what was written is read like anything else', async () => {
    let written: readonly string[] = [];
    const runs = new FakeRuns(
      { kind: 'frames', first: 1, frames: framesFrom(1, 2) },
      { kind: 'lost', last: 2 },
      () => ({ kind: 'frames', first: 3, frames: written }),
      ended(3),
    );
    runs.conclusion = async () => {
      written = runs.concluded[0]?.[2] as string[];
      return true;
    };
    const text = await textOf(replayOf(runs));
    expect(runs.concluded).toHaveLength(1);
    const [runId, first, frames, end] = runs.concluded[0] ?? [];
    expect([runId, first]).toEqual(['run', 3]);
    expect(frames).toEqual([expect.stringMatching(/^event: outcome\nid: run:3\ndata: .*\n\n$/)]);
    const failure = { code: 'owner_lost', message: 'The server that ran Claude Code is gone.' };
    expect(JSON.parse(String(end))).toEqual({ runId: 'run', status: 'crashed', ...failure });
    expect(text).toBe([...framesFrom(1, 2), ...(frames as string[])].join(''));
    expect(runs.asked).toEqual([0, 2, 2, 3]);
  });

  test('that another reader has concluded first has the frames of that one', async () => {
    const runs = new FakeRuns(
      { kind: 'lost', last: 2 },
      { kind: 'frames', first: 3, frames: ['id: run:3\ndata: theirs\n\n'] },
      ended(3),
    );
    runs.conclusion = async () => false;
    expect(await textOf(replayOf(runs, { after: 2 }))).toBe('id: run:3\ndata: theirs\n\n');
  });

  test('is concluded with an error and [DONE] in the format of OpenAI, each with an id', async () => {
    const runs = new FakeRuns({ kind: 'lost', last: 2 }, ended(4));
    const source = replayOf(runs, { after: 2, format: openai });
    await textOf(source);
    expect(runs.concluded[0]?.[2]).toEqual([
      expect.stringMatching(/^id: run:3\ndata: {"error":.*"owner_lost".*\n\n$/),
      'id: run:4\ndata: [DONE]\n\n',
    ]);
  });

  test('is concluded later when the store fails meanwhile', async () => {
    const runs = new FakeRuns({ kind: 'lost', last: 0 }, { kind: 'lost', last: 0 }, ended(0));
    const conclusions = [() => Promise.reject(gone), async () => true];
    runs.conclusion = () => conclusions.shift()?.() ?? Promise.reject(gone);
    const text = textOf(replayOf(runs));
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await text).toBe('');
    expect(runs.concluded).toHaveLength(2);
  });

  test('is told as lost when the store does not know it any more', async () => {
    const text = await textOf(replayOf(new FakeRuns({ kind: 'gone' }), { after: 4 }));
    expect(text).toMatch(
      /^event: outcome\nid: run:5\ndata: {"status":"crashed","code":"owner_lost"/,
    );
    expect(text.split('\n\n')).toHaveLength(2);
  });
});

test('a reader who is further than the store hears that the owner is gone', async () => {
  const text = await textOf(replayOf(new FakeRuns(ended(3)), { after: 8 }));
  expect(text).toMatch(/^event: outcome\nid: run:9\ndata: {"status":"crashed","code":"owner_lost"/);
  expect(await textOf(replayOf(new FakeRuns(ended(3)), { after: 3 }))).toBe('');
});

describe('a store that fails', () => {
  test('for a moment is read again, and nothing is missing', async () => {
    const runs = new FakeRuns(
      { kind: 'frames', first: 1, frames: [frame(1)] },
      gone,
      gone,
      { kind: 'frames', first: 2, frames: [frame(2)] },
      ended(2),
    );
    const text = textOf(replayOf(runs));
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await text).toBe(frame(1) + frame(2));
    expect(runs.asked).toEqual([0, 1, 1, 1, 2]);
  });

  test('for 15 s ends the stream; the notice has no id, so a client comes back where it was', async () => {
    const runs = new FakeRuns({ kind: 'frames', first: 1, frames: [frame(1)] }, gone);
    const source = replayOf(runs);
    let text = '';
    source.on('data', (chunk) => {
      text += chunk;
    });
    const end = once(source, 'end');
    await jest.advanceTimersByTimeAsync(14_500);
    expect(text).toBe(frame(1));
    await jest.advanceTimersByTimeAsync(1_500);
    await end;
    expect(text).toBe(
      `${frame(1)}event: failure\ndata: {"code":"store_unavailable","message":"The events of the run cannot be had at the moment."}\n\n`,
    );
    expect(jest.getTimerCount()).toBe(0);
  });

  test('has its 15 s each time anew', async () => {
    const failures = Array<Answer>(50).fill(gone);
    const runs = new FakeRuns(
      ...failures,
      { kind: 'frames', first: 1, frames: [frame(1)] },
      ...failures,
      ended(1),
    );
    const text = textOf(replayOf(runs));
    await jest.advanceTimersByTimeAsync(30_000);
    expect(await text).toBe(frame(1));
  });

  test('only to write is given up, too, for a run whose owner is gone', async () => {
    const runs = new FakeRuns({ kind: 'lost', last: 0 });
    runs.conclusion = () => Promise.reject(gone);
    const source = replayOf(runs).resume();
    await jest.advanceTimersByTimeAsync(120_000);
    const { readableEnded } = source;
    source.destroy();
    expect(readableEnded).toBe(true);
  });
});

describe('nothing is left', () => {
  /** A few turns of the event loop: what is destroyed is gone by then. */
  const turns = async () => {
    for (let turn = 0; turn < 5; turn++) await setImmediate();
  };

  const listenersOf = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

  test('of a client that leaves: the store is not followed any more', async () => {
    const { signal } = new AbortController();
    const runs = new FakeRuns('waits');
    const source = replayOf(runs, { signal }).resume();
    await setImmediate();
    expect(runs.following.map(({ aborted }) => aborted)).toEqual([false]);
    expect(listenersOf(signal)).toBe(1);
    source.destroy();
    await turns();
    expect(runs.following.map(({ aborted }) => aborted)).toEqual([true]);
    expect(listenersOf(signal)).toBe(0);
  });

  test('of a client that leaves while the store fails', async () => {
    const runs = new FakeRuns(gone);
    const source = replayOf(runs).resume();
    await jest.advanceTimersByTimeAsync(600);
    source.destroy();
    await turns();
    const { length } = runs.asked;
    expect(jest.getTimerCount()).toBe(0);
    await jest.advanceTimersByTimeAsync(5_000);
    expect(runs.asked).toHaveLength(length);
  });

  test('after the end', async () => {
    const { signal } = new AbortController();
    const source = replayOf(new FakeRuns(ended(0)), { signal }).resume();
    await once(source, 'close');
    expect(listenersOf(signal)).toBe(0);
  });

  test('when the instance is closed: the stream ends without an outcome', async () => {
    const closing = new AbortController();
    const runs = new FakeRuns({ kind: 'frames', first: 1, frames: [frame(1)] }, 'waits');
    const source = replayOf(runs, { signal: closing.signal });
    const text = textOf(source);
    await setImmediate();
    closing.abort();
    expect(await text).toBe(frame(1));
    expect(listenersOf(closing.signal)).toBe(0);
  });

  test('when the instance was closed before', async () => {
    expect(await textOf(replayOf(new FakeRuns('waits'), { signal: AbortSignal.abort() }))).toBe('');
  });

  test('of the reader of a run of this instance', async () => {
    const { log, run, say } = localRun(100);
    say(1, 50);
    const source = replayOf(new FakeRuns('waits'), { local: run }).resume();
    await setImmediate();
    say(51, 90);
    const held = () => {
      const reader = log.reader(1);
      reader.destroy();
      return reader.next;
    };
    expect(held()).toBeLessThan(60);
    source.destroy();
    await turns();
    say(91, 100);
    expect(held()).toBeGreaterThan(90);
  });
});

describe('a run of this instance', () => {
  test('that holds everything is read from there alone', async () => {
    const { log, run, frames, say } = localRun(100_000);
    say(1, 5);
    const runs = new FakeRuns(gone);
    const text = textOf(replayOf(runs, { after: 2, local: run }));
    say(6, 9);
    log.end();
    expect(await text).toBe(frames.slice(2).join(''));
    expect(runs.asked).toEqual([]);
  });

  test.each([0, 1, 17, 42])(
    'that holds only the last frames is read from the store before, with no seam (after %d)',
    async (after) => {
      const { log, run, frames, say } = localRun(500);
      say(1, 100);
      const runs = new FakeRuns((asked) => ({
        kind: 'frames',
        first: asked + 1,
        // Pages that do not care where the run itself begins.
        frames: frames.slice(asked, asked + 23),
      }));
      const source = replayOf(runs, { after, local: run });
      const text = textOf(source);
      await setImmediate();
      say(101, 150);
      log.end();
      expect(await text).toBe(frames.slice(after).join(''));
      expect(runs.asked.length).toBeGreaterThan(1);
    },
  );

  test('waits for a store that is behind', async () => {
    const { log, run, frames, say } = localRun(500);
    say(1, 100);
    const runs = new FakeRuns({ kind: 'frames', first: 1, frames: frames.slice(0, 10) }, gone, {
      kind: 'frames',
      first: 11,
      frames: frames.slice(10),
    });
    const text = textOf(replayOf(runs, { local: run }));
    log.end();
    await jest.advanceTimersByTimeAsync(1_000);
    expect(await text).toBe(frames.join(''));
  });

  test('whose first frames are nowhere goes on after a gap', async () => {
    const { log, run, frames, say } = localRun(500);
    say(1, 100);
    log.end();
    const border = log.reader(1).next;
    const runs = new FakeRuns({ kind: 'frames', first: 99, frames: frames.slice(98) });
    const text = await textOf(replayOf(runs, { local: run }));
    expect(text).toMatch(
      new RegExp(`^event: gap\nid: run:${border - 1}\ndata: .*"first":1,"last":${border - 1}}\n\n`),
    );
    expect(text.slice(text.indexOf('\n\n') + 2)).toBe(frames.slice(border - 1).join(''));
  });

  test('that the store has forgotten goes on after a gap, too', async () => {
    const { log, run, frames, say } = localRun(500);
    say(1, 100);
    log.end();
    const border = log.reader(1).next;
    const text = await textOf(replayOf(new FakeRuns({ kind: 'gone' }), { local: run }));
    expect(text).not.toContain('owner_lost');
    expect(text).toMatch(new RegExp(`^event: gap\nid: run:${border - 1}\n`));
    expect(text.slice(text.indexOf('\n\n') + 2)).toBe(frames.slice(border - 1).join(''));
  });

  test('is never concluded by its own instance', async () => {
    const { log, run, say } = localRun(500);
    say(1, 100);
    log.end();
    const runs = new FakeRuns({ kind: 'lost', last: 0 }, { kind: 'gone' });
    await textOf(replayOf(runs, { local: run }));
    expect(runs.concluded).toEqual([]);
  });

  test('has had no frame that is still to come', () => {
    const { run, say } = localRun(500);
    say(1, 3);
    expect(() => replayOf(new FakeRuns('waits'), { after: 4, local: run })).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});
