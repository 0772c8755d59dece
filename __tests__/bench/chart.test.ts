import { chart } from '../../bench/chart.js';
import { loop, oursOpenai, pipe } from '../../bench/contenders.js';
import { figure } from '../../bench/figures.js';

/** Two contenders at three places. */
function series(name: string, xs: readonly number[]) {
  return [pipe, oursOpenai].flatMap(({ name: contender }) =>
    xs.map((x) => figure({ name, contender, x, unit: 'ms' }, [x / 10 + 1])),
  );
}

const result = (figures: ReturnType<typeof series>) => ({ figures, checks: [], notes: [] });

const file = {
  date: '2026-11-25T05:00:00.000Z',
  node: 'v20.20.2',
  cpu: '2 × A & B <Processor>',
  quick: false,
  notes: [],
  results: {
    latency: result(series('write to read, p50', [1, 10, 50])),
    fanOut: result(series('CPU for 20000 deltas by readers', [1, 25, 100])),
    burst: result([
      ...series('CPU per delta', [1_000, 10_000, 1_000_000]),
      figure({ name: 'CPU per delta, text beyond ASCII', contender: loop.name, unit: 'µs' }, [1]),
    ]),
    lines: result(series('CPU per MB of a line', [5, 20, 40])),
  },
};

/** The elements that are open at the end, or closed without having been opened. */
function unbalanced(svg: string): string[] {
  const open: string[] = [];
  for (const [, closing, name = '', empty] of svg.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
    if (empty) continue;
    if (!closing) open.push(name);
    else if (open.pop() !== name) return [...open, name];
  }
  return open;
}

const drawing = chart(file);

test('the chart is well-formed', () => {
  expect(unbalanced(drawing)).toEqual([]);
  expect(drawing).toContain('2 × A &amp; B &lt;Processor>');
  expect(drawing).not.toMatch(/NaN|undefined|Infinity/);
});

test('it has four panels, each with its axes labelled and a line for each contender', () => {
  const panels = drawing.split('<g class="panel"').slice(1);
  expect(panels).toHaveLength(4);
  for (const panel of panels) {
    expect(panel.match(/<polyline/g)).toHaveLength(2);
    expect(panel.match(/<circle/g)).toHaveLength(6);
  }
  for (const label of ['streams at once', 'readers of the run', 'deltas of the run', '(MB)']) {
    expect(drawing).toContain(label);
  }
});

test('it follows the preference for dark', () => {
  expect(drawing).toContain('prefers-color-scheme: dark');
});

test('a panel that was not measured says so', () => {
  const { lines: _, ...results } = file.results;
  expect(chart({ ...file, results })).toContain('not measured');
  expect(unbalanced(chart({ ...file, results }))).toEqual([]);
});
