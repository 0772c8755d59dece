import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { figure } from '../../bench/figures.js';
import { report, writeResults } from '../../bench/report.js';

const results = {
  burst: {
    figures: [
      figure({ name: 'CPU per delta', contender: 'bare pipe', x: 100_000, unit: 'µs' }, [0.5]),
    ],
    checks: [{ name: 'against the loop', value: 1.4, unit: '×', most: 1.15, tolerated: 1.35 }],
    notes: ['The machine was busy.'],
  },
};

test('the report shows every figure, the target itself and whether it was met, and the notes', () => {
  const text = report(results, ['A peer is left out.']);
  expect(text).toMatch(/CPU per delta, 100 000 +bare pipe +0\.50 µs/);
  expect(text).toMatch(/against the loop +1\.40 × +1\.15 × +missed$/m);
  expect(text).toContain('The machine was busy.');
  expect(text).toContain('A peer is left out.');
});

test('the file holds the rounds, the machine and what was left out', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-'));
  try {
    const path = join(directory, 'results.json');
    await writeResults(path, { quick: true, results, notes: ['note'] });
    const file = JSON.parse(await readFile(path, 'utf8'));
    expect(file).toMatchObject({ node: process.version, quick: true, results, notes: ['note'] });
    expect(Date.parse(file.date)).not.toBeNaN();
    expect(file.cpu).toMatch(/^\d+ × ./);
  } finally {
    await rm(directory, { recursive: true });
  }
});
