import { asJson, asTable, type Section, verdictOf } from '../../lib/doctor/report.js';

const ok = { name: 'streams', status: 'ok', what: 'In time.' } as const;
const warning = { name: 'headers', status: 'warning', what: 'One is gone.' } as const;
const failed = {
  name: 'streams',
  status: 'failed',
  what: 'Late.\nVery.',
  remedy: 'a;\nb;',
} as const;

const at = (url: string | undefined, ...findings: Section['findings']): Section => ({
  url,
  findings,
});

it('is a line for each finding, and below it what to do', () => {
  expect(asTable([at('http://a/probe', failed, warning)])).toBe(
    [
      'http://a/probe',
      '  ✗ streams  Late.',
      '             Very.',
      '             → a;',
      '             → b;',
      '  ! headers  One is gone.',
      '',
      'Something between here and the application is wrong: streams.',
      '',
    ].join('\n'),
  );
});

it.each([
  [[at('a', ok)], 'All is well.'],
  [[at('a', ok, warning)], 'It works, but see the warnings.'],
  [[at(undefined, failed)], 'Not ready: streams.'],
  [[at('a', { ...failed, name: 'reachable' })], 'The probe was not reached at a.'],
  [
    [at('a', failed), at('b', failed)],
    'Something between here and the application is wrong: streams.',
  ],
  [
    [at('a', ok), at('b', failed)],
    'Up to a all is well: look at the hop between it and b (streams).',
  ],
])('has a verdict: %j', (sections, verdict) => {
  expect(verdictOf(sections)).toBe(verdict);
});

it('names the warnings of the hops before, which may be the cause', () => {
  expect(verdictOf([at('a', warning), at('b', ok), at('c', failed)])).toContain(
    'Up to b it works, but see the warnings (headers)',
  );
  expect(verdictOf([at('a', ok, warning), at('b', failed)])).toBe(
    'Up to a it works, but see the warnings (headers), which may be the cause: look at the hop between it and b (streams).',
  );
});

it('says nothing to the terminal itself', () => {
  const what = 'It answers "\u001b[2J\u0007\u009b31m".\nTwo lines.';
  const table = asTable([at('a', { ...failed, what, remedy: '\u001b]0;x\u0007a' })]);
  expect(table).not.toMatch(/[^\P{Cc}\n]/u);
  expect(table).toContain('Two lines.');
});

it('is JSON for programs', () => {
  expect(JSON.parse(asJson([at('a', failed)]))).toEqual({
    ok: false,
    verdict: expect.any(String),
    sections: [{ url: 'a', findings: [failed] }],
  });
  expect(JSON.parse(asJson([at('a', warning)])).ok).toBe(true);
});
