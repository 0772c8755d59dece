import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chart } from '../../bench/chart.js';
import * as contenders from '../../bench/contenders.js';
import type { Figure } from '../../bench/figures.js';

const read = (path: string) => readFileSync(join(__dirname, '../..', path), 'utf8');
const file = JSON.parse(read('bench/results.json'));
const readme = read('README.md');
const { agentSdk, loop, maxApiProxy, naive, oursClaude, oursInRedis, oursOpenai, oursWarm, pipe } =
  contenders;

/** The median of a figure, with so many digits behind the point. */
function median(measure: string, name: string, contender: string, digits = 0, x?: number): string {
  const figures: Figure[] = file.results[measure].figures;
  const found = figures.find(
    (one) => one.name === name && one.contender === contender && (x === undefined || one.x === x),
  );
  if (found === undefined) throw new Error(`There is no figure ${name} of ${contender}.`);
  return found.median.toFixed(digits);
}

const cpu = ({ name }: { name: string }) => median('burst', 'CPU per delta', name, 1, 100_000);
const delay = (percent: number, { name }: { name: string }, streams: number) =>
  median('latency', `write to read, p${percent}`, name, percent === 50 ? 2 : 1, streams);
const idle = (what: string, { name }: { name: string }) =>
  median('idle', `${what} per idle stream`, name, 0, 1_000);
const live = (what: string, coalesce: number, digits = 0) =>
  median('readers', what, `claude-stream openai, coalesce ${coalesce}`, digits);
const more = ({ name }: { name: string }) =>
  median('stalled', 'RSS more for a client that does not read', name);
const first = ({ name }: { name: string }) => median('firstToken', 'request to first token', name);
const check = (measure: string, name: string, digits = 1) =>
  file.results[measure].checks
    .find((one: { name: string }) => one.name.includes(name))
    .value.toFixed(digits);

test('the results are those of a whole run with the peers', () => {
  expect(file.quick).toBe(false);
  expect(file.notes).toEqual([]);
});

test.each([
  `| bare \`child.stdout.pipe(res)\`, nothing read, nothing kept | ${cpu(pipe)} |`,
  `| **claude-stream, \`claude\`** | ${cpu(oursClaude)} |`,
  `| **claude-stream, \`openai\`** | ${cpu(oursOpenai)} |`,
  `one \`write\` for each read | ${cpu(loop)} |`,
  `transform, res)\` | ${cpu(naive)} |`,
  `| claude-max-api-proxy 1.0.0 | ${cpu(maxApiProxy)} |`,
  `| Claude Agent SDK 0.3 behind Express | ${cpu(agentSdk)} |`,
  `median | ${delay(50, oursOpenai, 1)} ms | ${delay(50, pipe, 1)} ms |`,
  `99th percentile | ${delay(99, oursOpenai, 50)} ms | ${delay(99, pipe, 50)} ms |`,
  `with the real CLI | ${first(oursOpenai)} ms; ${first(oursWarm)} ms with \`warm\` | ${first(pipe)} ms |`,
  `in the heap | ${idle('heap', oursOpenai)} KB | ${idle('heap', pipe)} KB |`,
  `RSS | ${idle('RSS', oursOpenai)} KB | ${idle('RSS', pipe)} KB |`,
  `comments | ${check('idle', 'openai, CPU of 1000')} % of a core | |`,
  `80 MB of output | ${more(oursOpenai)} MB | ${more(pipe)} MB |`,
  `against one reader | ${check('fanOut', 'openai')} times the CPU | |`,
  `each | ${live('CPU of 500 live readers', 0)} % of a core | |`,
  `\`coalesce: 50\` | ${live('CPU of 500 live readers', 50)} % of a core | |`,
  `one of 20 MB | ${check('lines', 'openai')} times the CPU | |`,
  `the Agent SDK held ${more(agentSdk)} MB`,
  `claude-max-api-proxy ${more(maxApiProxy)} MB`,
  `the pipe costs ${median('burst', 'CPU per delta, in blocks', pipe.name, 1)} µs`,
  `and \`claude\` ${median('burst', 'CPU per delta, in blocks', oursClaude.name, 1)} µs`,
  `${live('delta to client, p99', 0, 1)} ms without and ${live('delta to client, p99', 50)} ms with`,
  `${median('stores', 'write to read through another instance, p50', oursInRedis.name, 1)} ms after it was written`,
])('the README has the figure that was measured: %s', (text) => {
  // Not the whole page as the message.
  expect(readme.includes(text)).toBe(true);
});

test('the chart is drawn from them', () => {
  expect(read('bench/scale.svg')).toBe(chart(file));
});
