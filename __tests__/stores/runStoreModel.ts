import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import type { Recording, RunPage, RunStore } from '../../lib/stores/store';
import { randomFrom } from '../formats/support';

/** What happened in a number of cases: a check to which nothing happens finds nothing. */
export interface Tally {
  frames: number;
  gaps: number;
  vanished: number;
}

export interface ModelOptions {
  readonly seeds: readonly number[];
  /** How many cases run at once. */
  readonly concurrency: number;
  /** The store through which the owner writes. */
  readonly owner: RunStore;
  /** The stores through which readers read, each through any of them. */
  readonly readers: readonly RunStore[];
  /** Where to look whether what a reader was refused is kept after all. */
  readonly control: RunStore;
  /** Whether a batch may be written again. */
  readonly repeats: boolean;
}

/**
 * Runs cases of one writer and a few readers that read at any speed, vanish and come back, each decided by its seed.
 *
 * @throws Error that names the seed when a reader has seen what was not written, or was not told what it missed
 */
export async function runModel(options: ModelOptions): Promise<Tally> {
  const tally: Tally = { frames: 0, gaps: 0, vanished: 0 };
  const seeds = [...options.seeds];
  const failures: Error[] = [];
  const work = async () => {
    for (let seed = seeds.pop(); seed !== undefined; seed = seeds.pop()) {
      try {
        await runCase(seed, options, tally);
      } catch (cause) {
        failures.push(new Error(`With seed ${seed}: ${cause}`, { cause }));
        return;
      }
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, work));
  if (failures[0]) throw failures[0];
  return tally;
}

async function runCase(seed: number, options: ModelOptions, tally: Tally): Promise<void> {
  const random = randomFrom(seed);
  const runId = `run-${seed}`;
  const run = new WrittenRun(runId);
  const recording = options.owner.record({ runId, startedAt: seed, user: undefined }, () => {});
  try {
    // Of a run that nobody has written yet a reader could be told that there is none.
    while (run.last === 0) await write(recording, run, random, options.repeats);
    const parts = [
      writeAll(recording, run, random, options.repeats),
      ...Array.from({ length: 1 + below(random, 3) }, () =>
        readAll(run, randomFrom(below(random, 2 ** 32)), options, tally),
      ),
    ];
    for (const result of await Promise.allSettled(parts)) {
      if (result.status === 'rejected') throw result.reason;
    }
  } finally {
    recording.release();
  }
}

/** What has been written of a run, by number. */
class WrittenRun {
  readonly runId: string;
  readonly frames = new Map<number, string>();
  last = 0;
  end: string | undefined;

  constructor(runId: string) {
    this.runId = runId;
  }
}

async function writeAll(
  recording: Recording,
  run: WrittenRun,
  random: () => number,
  repeats: boolean,
): Promise<void> {
  for (let batches = 2 + below(random, 12); batches > 0; batches--) {
    await pause(random);
    await write(recording, run, random, repeats);
  }
  await pause(random);
  const batch = batchOf(run, random, 3);
  run.end = `the end of ${run.runId}`;
  const written = await recording.finish(batch.first, batch.frames, run.end);
  if (!written) throw new Error('the end was refused');
}

async function write(
  recording: Recording,
  run: WrittenRun,
  random: () => number,
  repeats: boolean,
): Promise<void> {
  const { first, frames } = batchOf(run, random, 10);
  if (frames.length === 0) return;
  const times = repeats && below(random, 10) === 0 ? 2 : 1;
  for (let time = 0; time < times; time++) {
    if (!(await recording.append(first, frames))) throw new Error(`the frame ${first} was refused`);
  }
}

/** The next frames, sometimes after a gap; they count as written from now on. */
function batchOf(run: WrittenRun, random: () => number, most: number) {
  const first = run.last + 1 + (below(random, 10) === 0 ? 1 + below(random, 4) : 0);
  const frames = Array.from({ length: below(random, most + 1) }, (_, index) => {
    const padding = (below(random, 4) === 0 ? 'é' : 'x').repeat(below(random, 150));
    return `${run.runId}:${first + index}:${padding}`;
  });
  if (frames.length === 0) return { first: run.last + 1, frames };
  for (const [index, text] of frames.entries()) run.frames.set(first + index, text);
  run.last = first + frames.length - 1;
  return { first, frames };
}

async function readAll(
  run: WrittenRun,
  random: () => number,
  { readers, control }: ModelOptions,
  tally: Tally,
): Promise<void> {
  let after = below(random, 3) === 0 ? below(random, 60) : 0;
  for (;;) {
    const store = readers[below(random, readers.length)] as RunStore;
    const page = await readOnce(store, run.runId, after, random, tally);
    if (page === undefined) continue;
    checkPage(page, run, after);
    if (page.kind === 'nothing') {
      await delay(1);
      continue;
    }
    if (page.kind !== 'frames' && page.kind !== 'ended') return;
    const next = page.kind === 'frames' ? page.first : page.last + 1;
    if (next > after + 1) {
      tally.gaps += 1;
      await checkGap(control, run.runId, after, next);
    }
    if (page.kind === 'ended') return;
    // One that vanishes amid a page comes back at where it was.
    const taken =
      below(random, 4) === 0 ? 1 + below(random, page.frames.length) : page.frames.length;
    tally.frames += taken;
    after = page.first + taken - 1;
    if (below(random, 3) === 0) await pause(random);
  }
}

/** `undefined` when the reader vanished while it waited. */
async function readOnce(
  store: RunStore,
  runId: string,
  after: number,
  random: () => number,
  tally: Tally,
): Promise<RunPage | undefined> {
  if (below(random, 5) === 0) return store.read(runId, after);
  const controller = new AbortController();
  const page = store.read(runId, after, controller.signal);
  if (below(random, 4) > 0) return page;
  const vanished = new Error('vanished');
  page.catch(() => {});
  await pause(random);
  controller.abort(vanished);
  try {
    return await page;
  } catch (error) {
    if (error !== vanished) throw error;
    tally.vanished += 1;
    return undefined;
  }
}

/** Every frame is one that was written, under its number, and after those that the reader has had. */
function checkPage(page: RunPage, run: WrittenRun, after: number): void {
  if (page.kind === 'nothing') return;
  if (page.kind === 'frames') {
    if (page.frames.length === 0) throw new Error(`a page after ${after} is empty`);
    if (page.first <= after) throw new Error(`the frame ${page.first} came again after ${after}`);
    for (const [index, text] of page.frames.entries()) {
      const number = page.first + index;
      if (run.frames.get(number) === text) continue;
      throw new Error(`the frame ${number} was read as ${JSON.stringify(text)}`);
    }
    return;
  }
  if (page.kind !== 'ended') throw new Error(`the run is ${page.kind} after ${after}`);
  if (run.end === undefined) throw new Error(`the run ended at ${page.last} before its end`);
  if (page.end !== run.end) throw new Error(`the run ended with ${JSON.stringify(page.end)}`);
  if (page.last !== run.last) throw new Error(`the run ended at ${page.last}, not ${run.last}`);
}

/** What a reader is told is missing must not be there. */
async function checkGap(control: RunStore, runId: string, after: number, next: number) {
  const page = await control.read(runId, after);
  if (page.kind !== 'frames' || page.first >= next) return;
  throw new Error(`the frame ${page.first} is kept, and a reader after ${after} got ${next}`);
}

async function pause(random: () => number): Promise<void> {
  const kind = below(random, 4);
  if (kind === 1) await Promise.resolve();
  else if (kind === 2) await setImmediate();
  else if (kind === 3) await delay(1 + below(random, 4));
}

/** A whole number from 0 that is below another. */
function below(random: () => number, limit: number): number {
  return Math.floor(random() * limit);
}

export const seeds = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** A model in which little happens shows little. */
export function expectMuch({ frames, gaps, vanished }: Tally): void {
  expect(frames).toBeGreaterThan(10_000);
  expect(gaps).toBeGreaterThan(500);
  expect(vanished).toBeGreaterThan(500);
}
