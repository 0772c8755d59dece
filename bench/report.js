// @ts-check
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { verdict } from './figures.js';

/** @typedef {Record<string, import('./figures.js').Result>} Results by measure */

/** @typedef {{ date: string, node: string, cpu: string, quick: boolean, results: Results, notes: string[] }} ResultFile */

/**
 * The results as tables for people.
 * @param {Results} results @param {string[]} notes
 */
export function report(results, notes) {
  const parts = Object.entries(results).flatMap(([measure, { figures, checks }]) => [
    `\n${measure}`,
    table(
      ['', '', 'median', 'from', 'to'],
      figures.map(({ name, contender, x, unit, median, min, max }) => [
        x === undefined ? name : `${name}, ${inThousands(x)}`,
        contender,
        `${number(median)} ${unit}`,
        number(min),
        number(max),
      ]),
    ),
    ...(checks.length === 0
      ? []
      : [
          table(
            ['target', '', 'at most', ''],
            checks.map((check) => [
              check.name,
              `${number(check.value)} ${check.unit}`,
              `${number(check.most)} ${check.unit}`,
              verdict(check),
            ]),
          ),
        ]),
  ]);
  const remarks = [...notes, ...Object.values(results).flatMap((result) => result.notes)];
  return [...parts, ...remarks.map((note) => `\n${note}`)].join('\n');
}

/** @param {string} path @param {{ quick: boolean, results: Results, notes: string[] }} what */
export async function writeResults(path, { quick, results, notes }) {
  const [{ model = 'unknown' } = {}, ...others] = cpus();
  /** @type {ResultFile} */
  const file = {
    date: new Date().toISOString(),
    node: process.version,
    cpu: `${others.length + 1} × ${model.trim()}`,
    quick,
    results,
    notes,
  };
  // Three digits are more than the figures deserve.
  const json = JSON.stringify(
    file,
    (_key, value) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value),
    1,
  );
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${json}\n`);
}

/** @param {string[]} head @param {string[][]} rows the first two columns are text, the others numbers */
function table(head, rows) {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column < 1 || (column === 1 && head[1] === '' && head.length === 5)
          ? cell.padEnd(width)
          : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return lines.map((line) => `  ${line}`).join('\n');
}

/** @param {number} value */
function number(value) {
  const magnitude = Math.abs(value);
  if (magnitude >= 1_000) return inThousands(Math.round(value));
  return value.toFixed(magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2);
}

/** @param {number} value */
function inThousands(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ' ');
}
