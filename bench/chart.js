// @ts-check
/**
 * Draws bench/scale.svg out of bench/results.json: how cost grows with streams, readers, the length of a run and the
 * length of a line.
 *
 *     npm run bench:chart -- [results.json] [scale.svg]
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { loop, naive, oursClaude, oursOpenai, pipe } from './contenders.js';

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} x the label of its axis, with the unit
 * @property {string} measure
 * @property {string} figure
 * @property {'linear' | 'log'} scale of the horizontal axis
 * @property {'linear' | 'log'} [rises] the scale of the vertical axis; `linear` by default, from zero
 */

/** @type {Panel[]} */
const panels = [
  {
    title: 'Delay of a delta, median (ms)',
    x: 'streams at once',
    measure: 'latency',
    figure: 'write to read, p50',
    scale: 'linear',
  },
  {
    title: 'CPU of a run of 20 000 deltas (ms)',
    x: 'readers of the run',
    measure: 'fanOut',
    figure: 'CPU for 20000 deltas by readers',
    scale: 'linear',
  },
  {
    title: 'CPU per delta (µs)',
    x: 'deltas of the run',
    measure: 'burst',
    figure: 'CPU per delta',
    scale: 'log',
  },
  {
    title: 'CPU per MB of a line (ms)',
    x: 'length of the line (MB)',
    measure: 'lines',
    figure: 'CPU per MB of a line',
    scale: 'linear',
    rises: 'log',
  },
];

/** Who is drawn, and the class that gives the colour. @type {Map<string, { label: string, style: string }>} */
const styles = new Map([
  [oursOpenai.name, { label: 'claude-stream, openai', style: 'openai' }],
  [oursClaude.name, { label: 'claude-stream, claude', style: 'claude' }],
  [loop.name, { label: 'hand-written loop', style: 'loop' }],
  [naive.name, { label: 'stream pipeline', style: 'naive' }],
  [pipe.name, { label: 'bare pipe', style: 'pipe' }],
]);

const PANEL = { width: 400, height: 250, left: 58, right: 20, top: 40, bottom: 48 };
const COLUMNS = 2;
const LEGEND = 34;
const WIDTH = PANEL.width * COLUMNS;

/**
 * A GitHub page shows it as an image, which knows whether the reader prefers dark, and nothing else of the page. The
 * colours can be told apart by people who do not see red and green, and the dashes by everybody.
 */
const CSS = `
  :root { --paper: #ffffff; --ink: #24292f; --grey: #59636e; --grid: #d8dee4;
    --openai: #0a5ec2; --claude: #b35900; --loop: #7b3fb5; --naive: #00786c; --pipe: #6e7781 }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #0d1117; --ink: #e6edf3; --grey: #9198a1; --grid: #30363d;
      --openai: #58a6ff; --claude: #f0a050; --loop: #c297ff; --naive: #3fc1b0; --pipe: #9aa4af }
  }
  .paper { fill: var(--paper) }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--grey) }
  .title { font-size: 14px; font-weight: 600; fill: var(--ink) }
  .grid { stroke: var(--grid); stroke-width: 1 }
  .series polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
  .series circle { stroke: var(--paper); stroke-width: 1 }
  .openai { --color: var(--openai) } .claude { --color: var(--claude) } .loop { --color: var(--loop) }
  .naive { --color: var(--naive) } .pipe { --color: var(--pipe) }
  .series polyline { stroke: var(--color) } .series circle { fill: var(--color) }
  .loop polyline { stroke-dasharray: 7 3 } .naive polyline { stroke-dasharray: 2 3 } .pipe polyline { stroke-dasharray: 5 3 1 3 }
`;

/**
 * @param {import('./report.js').ResultFile} file
 * @returns {string} the chart as SVG
 */
export function chart({ results, date, node, cpu }) {
  const rows = Math.ceil(panels.length / COLUMNS);
  const height = LEGEND + rows * PANEL.height + 24;
  const drawn = panels.map((panel, index) => {
    const left = (index % COLUMNS) * PANEL.width;
    const top = LEGEND + Math.floor(index / COLUMNS) * PANEL.height;
    const series = seriesOf(panel, results[panel.measure]?.figures ?? []);
    return `<g class="panel" transform="translate(${left} ${top})">${drawPanel(panel, series)}</g>`;
  });
  const source = `${date.slice(0, 10)}, Node ${node.replace('v', '')}, ${cpu}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    '<title>How the cost of claude-stream grows with streams, readers, deltas and the length of a line</title>',
    `<style>${CSS}</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="6"/>`,
    drawLegend(),
    ...drawn,
    text(WIDTH - PANEL.right, height - 10, source, 'end'),
    '</svg>',
    '',
  ].join('\n');
}

/** @typedef {{ style: string, points: { x: number, y: number }[] }} Series */

/** @param {Panel} panel @param {import('./figures.js').Figure[]} figures @returns {Series[]} */
function seriesOf(panel, figures) {
  return [...styles].flatMap(([contender, { style }]) => {
    const points = figures
      .filter((one) => one.name === panel.figure && one.contender === contender)
      .flatMap(({ x, median }) => (x === undefined ? [] : [{ x, y: median }]))
      .sort((a, b) => a.x - b.x);
    // One point shows no growth.
    return points.length < 2 ? [] : [{ style, points }];
  });
}

/** @param {Panel} panel @param {Series[]} series */
function drawPanel({ title, x: label, scale, rises = 'linear' }, series) {
  const { width, height, left, right, top, bottom } = PANEL;
  const all = series.flatMap(({ points }) => points);
  const heading = text(left, 24, title, 'start', 'title');
  if (all.length === 0) return heading + text(width / 2, height / 2, 'not measured', 'middle');
  const xs = [...new Set(all.map(({ x }) => x))].sort((a, b) => a - b);
  const ys = all.map(({ y }) => y);
  const across = axis(
    scale,
    scale === 'log' ? Math.min(...xs) : 0,
    Math.max(...xs),
    left,
    width - right,
  );
  const marks = rises === 'log' ? powersOfTen(ys) : evenSteps(Math.max(...ys));
  const up = axis(rises, marks[0] ?? 0, marks.at(-1) ?? 1, height - bottom, top);
  return [
    heading,
    ...marks.map(
      (mark) =>
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${up(mark)}" y2="${up(mark)}"/>` +
        text(left - 8, up(mark) + 4, shortNumber(mark), 'end'),
    ),
    ...xs.map((x) => text(across(x), height - bottom + 18, shortNumber(x), 'middle')),
    text((left + width - right) / 2, height - bottom + 36, label, 'middle'),
    ...series.map(({ style, points }) => {
      const places = points.map(({ x, y }) => ({ x: across(x), y: up(y) }));
      const line = places.map(({ x, y }) => `${x},${y}`).join(' ');
      const dots = places.map(({ x, y }) => `<circle cx="${x}" cy="${y}" r="3.5"/>`).join('');
      return `<g class="series ${style}"><polyline points="${line}"/>${dots}</g>`;
    }),
  ].join('\n');
}

/** About the width of a character, in pixels: an image cannot measure its text. */
const CHARACTER = 6.4;

function drawLegend() {
  let x = PANEL.left / 2;
  return [...styles.values()]
    .map(({ label, style }) => {
      const line = `<polyline points="${x},24 ${x + 24},24"/><circle cx="${x + 12}" cy="24" r="3.5"/>`;
      const entry = `<g class="series ${style}">${line}</g>${text(x + 30, 28, label, 'start')}`;
      x += Math.round(30 + label.length * CHARACTER + 16);
      return entry;
    })
    .join('\n');
}

/**
 * Where a value stands on an axis.
 * @param {'linear' | 'log'} scale @param {number} least @param {number} most @param {number} start @param {number} end
 * @returns {(value: number) => number} in pixels
 */
function axis(scale, least, most, start, end) {
  const on = scale === 'log' ? Math.log10 : (/** @type {number} */ value) => value;
  const span = on(most) - on(least) || 1;
  return (value) =>
    Math.round(10 * (start + ((on(value) - on(least)) / span) * (end - start))) / 10;
}

/** From 0 to `most` in steps of 1, 2 or 5 times a power of ten. @param {number} most */
function evenSteps(most) {
  const rough = most / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, index) => index * step);
}

/** Around all of the values. @param {number[]} values */
function powersOfTen(values) {
  const least = Math.floor(Math.log10(Math.min(...values)));
  const most = Math.max(least + 1, Math.ceil(Math.log10(Math.max(...values))));
  return Array.from({ length: most - least + 1 }, (_, index) => 10 ** (least + index));
}

/** @param {number} value */
function shortNumber(value) {
  if (value >= 1e6) return `${value / 1e6} M`;
  if (value >= 1e4) return `${value / 1e3} k`;
  return String(Number(value.toPrecision(3)));
}

/** @param {number} x @param {number} y @param {string} words @param {string} anchor @param {string} [style] */
function text(x, y, words, anchor, style) {
  const escaped = words.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  const named = style === undefined ? '' : ` class="${style}"`;
  return `<text${named} x="${x}" y="${y}" text-anchor="${anchor}">${escaped}</text>`;
}

async function main() {
  const beside = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
  const [from = beside('results.json'), to = beside('scale.svg')] = process.argv.slice(2);
  await writeFile(to, chart(JSON.parse(await readFile(from, 'utf8'))));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void main();
