import { memoryStore } from '../../lib/stores/memoryStore';
import type { RunPage, RunStore } from '../../lib/stores/store';
import { full } from './fullStore';
import { expectMuch, runModel, seeds } from './runStoreModel';

test('in memory every reader gets the run, or is told what it missed', async () => {
  const { runs } = full(memoryStore({ maxRunBytes: 1_024 }));
  expectMuch(
    await runModel({
      ...{ seeds: seeds(1_000), concurrency: 50, repeats: false },
      ...{ owner: runs, readers: [runs], control: runs },
    }),
  );
}, 20_000);

describe('the check fails for a store that', () => {
  const isLong = (page: RunPage) => page.kind === 'frames' && page.frames.length > 2;

  test.each<[bug: string, spoil: (page: RunPage, after: number) => RunPage, complaint: RegExp]>([
    [
      'drops a frame amid others',
      (page) =>
        page.kind === 'frames' && isLong(page)
          ? { ...page, frames: page.frames.toSpliced(1, 1) }
          : page,
      /was read as/,
    ],
    [
      'drops the first frame',
      (page) =>
        page.kind === 'frames' && isLong(page)
          ? { ...page, first: page.first + 1, frames: page.frames.slice(1) }
          : page,
      /is kept, and a reader after/,
    ],
    [
      'repeats a frame',
      (page) =>
        page.kind === 'frames' && isLong(page)
          ? { ...page, frames: page.frames.toSpliced(1, 0, page.frames[0] ?? '') }
          : page,
      /was read as/,
    ],
    [
      'gives a frame again',
      (page, after) =>
        page.kind === 'frames' && after > 0 && page.first === after + 1
          ? { ...page, first: after, frames: ['again', ...page.frames] }
          : page,
      /came again/,
    ],
    [
      'ends too early',
      (page, after) =>
        page.kind === 'frames' && after > 10 ? { kind: 'ended', last: after, end: 'over' } : page,
      /ended/,
    ],
    [
      'tells of another end',
      (page) => (page.kind === 'ended' ? { ...page, end: `${page.end}!` } : page),
      /the run ended with/,
    ],
    [
      'tells of another last frame',
      (page) => (page.kind === 'ended' ? { ...page, last: page.last - 1 } : page),
      /the run ended at/,
    ],
    [
      'loses the run',
      (page, after) => (after > 10 ? { kind: 'gone' } : page),
      /the run is gone after/,
    ],
    [
      'changes a frame',
      (page) =>
        page.kind === 'frames' ? { ...page, frames: page.frames.map((text) => `${text} `) } : page,
      /was read as/,
    ],
  ])('%s', async (_bug, spoil, complaint) => {
    const { runs } = full(memoryStore({ maxRunBytes: 1_024 }));
    const spoilt: Pick<RunStore, 'read'> = {
      read: async (runId, after, follow) => spoil(await runs.read(runId, after, follow), after),
    };
    const found = runModel({
      ...{ seeds: seeds(50), concurrency: 5, repeats: false },
      ...{ owner: runs, readers: [spoilt as RunStore], control: runs },
    });
    await expect(found).rejects.toThrow(complaint);
    await expect(found).rejects.toThrow(/^With seed \d+: /);
  });
});
