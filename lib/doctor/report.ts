import { stripVTControlCharacters } from 'node:util';
import { type Finding, isFailed } from './finding.js';

/** What was found in one place. */
export interface Section {
  /** `undefined` for this machine, else the URL of a probe. */
  readonly url: string | undefined;
  readonly findings: readonly Finding[];
}

const marks = { ok: '✓', warning: '!', failed: '✗', skipped: '·' } as const;

/** For people: a line for each finding, and below it what to do. */
export function asTable(sections: readonly Section[]): string {
  const width = Math.max(
    ...sections.flatMap(({ findings }) => findings.map(({ name }) => name.length)),
  );
  const lines = sections.flatMap(({ url, findings }) => [
    url ?? 'This machine',
    ...findings.flatMap((finding) => linesOf(finding, width)),
    '',
  ]);
  return `${[...lines, verdictOf(sections)].join('\n')}\n`;
}

function linesOf({ name, status, what, remedy }: Finding, width: number): string[] {
  const indent = ' '.repeat(width + 6);
  const [first = '', ...others] = printable(what).split('\n');
  return [
    `  ${marks[status]} ${name.padEnd(width)}  ${first}`,
    ...others.map((line) => `${indent}${line}`),
    ...printable(remedy ?? '')
      .split('\n')
      .flatMap((line) => (line === '' ? [] : `${indent}→ ${line}`)),
  ];
}

/** Without what a terminal would take for a command: it may have come from anywhere. */
function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/[^\P{Cc}\n]/gu, '');
}

/** The first place along the way in which something fails is where to look. */
export function verdictOf(sections: readonly Section[]): string {
  const index = sections.findIndex(({ findings }) => findings.some(isFailed));
  const bad = sections[index];
  if (bad === undefined) {
    const warned = sections.some(({ findings }) =>
      findings.some(({ status }) => status === 'warning'),
    );
    return warned ? 'It works, but see the warnings.' : 'All is well.';
  }
  const names = bad.findings.filter(isFailed).map(({ name }) => name);
  if (bad.url === undefined) return `Not ready: ${names.join(', ')}.`;
  if (names.includes('reachable')) return `The probe was not reached at ${bad.url}.`;
  const before = sections[index - 1];
  if (before?.url === undefined)
    return `Something between here and the application is wrong: ${names.join(', ')}.`;
  const warnings = sections
    .slice(0, index)
    .flatMap(({ findings }) => findings.filter(({ status }) => status === 'warning'));
  const how =
    warnings.length === 0
      ? 'all is well'
      : `it works, but see the warnings (${warnings.map(({ name }) => name).join(', ')}), which may be the cause`;
  return `Up to ${before.url} ${how}: look at the hop between it and ${bad.url} (${names.join(', ')}).`;
}

/** For programs. */
export function asJson(sections: readonly Section[]): string {
  const ok = !sections.some(({ findings }) => findings.some(isFailed));
  return `${JSON.stringify({ ok, verdict: verdictOf(sections), sections }, null, 2)}\n`;
}
