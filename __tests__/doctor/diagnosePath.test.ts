import { diagnosePath, diagnoseSilence } from '../../lib/doctor/diagnosePath.js';
import type { Finding } from '../../lib/doctor/finding.js';
import { hopOf } from '../../lib/doctor/hop.js';
import type { Measurement, SeenEvent } from '../../lib/doctor/probePath.js';

const headers = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
};

/** Ten events, one every 100 ms, that take 40 ms unless `arrival` says otherwise. */
function measured(
  arrival: (at: number, index: number) => number = (at) => at + 40,
  more: Partial<Measurement> = {},
): Measurement {
  const events = Array.from({ length: 10 }, (_, index) => {
    const at = (index + 1) * 100;
    const number = index + 1;
    return { number, of: 10, at, arrivedAt: arrival(at, index), bytes: 256 };
  });
  return {
    url: 'http://host/probe',
    status: 200,
    headers,
    headersAt: 40,
    events,
    strangers: 0,
    ending: 'complete',
    endedAt: 1_050,
    ...more,
  };
}

const find = (findings: readonly Finding[], name: string) =>
  findings.find((finding) => finding.name === name);

const streamsOf = (measurement: Measurement) => find(diagnosePath(measurement), 'streams');

it('a way on which all comes in time is well', () => {
  expect(diagnosePath(measured()).map(({ status }) => status)).toEqual(
    Array.from({ length: 5 }, () => 'ok'),
  );
});

it('a way that is long is well, whatever the clocks say', () => {
  expect(streamsOf(measured((at) => at + 5_000, { headersAt: 5_000 }))?.status).toBe('ok');
});

it('a hiccup is no buffer', () => {
  expect(streamsOf(measured((at, index) => at + (index === 4 ? 300 : 40)))?.status).toBe('ok');
});

it('what comes at the end alone is held back, be it with the headers or after them', () => {
  const late = measured(() => 1_040, { headersAt: 1_040 });
  expect(streamsOf(late)).toMatchObject({
    status: 'failed',
    what: expect.stringMatching(
      /^All events came at once.*after 1\.0 s.*and the headers with them/,
    ),
  });
  expect(streamsOf({ ...late, headersAt: 40 })?.what).not.toContain('headers');
});

/** The same, with a pause of 600 ms in the middle. */
function measuredWithPause(arrival: (at: number, number: number) => number): Measurement {
  const whole = measured();
  const events = whole.events.map((event) => {
    const at = event.at + (event.number > 5 ? 600 : 0);
    return { ...event, at, arrivedAt: arrival(at, event.number) };
  });
  return { ...whole, events, endedAt: 1_650 };
}

it.each([
  ['a few bytes', 4],
  ['one event', 5],
])('a hop that holds %s back is seen by the pause', (_, from) => {
  const held = measuredWithPause((at, number) => (number >= from && number < 6 ? 1_240 : at + 40));
  expect(streamsOf(held)).toMatchObject({
    status: 'failed',
    what: expect.stringContaining('before a pause came only after it, 0.'),
  });
  expect(streamsOf(measuredWithPause((at) => at + 40))?.status).toBe('ok');
});

it('a network that stands still once is no buffer', () => {
  const stalled = measuredWithPause((at) => (at >= 200 && at < 640 ? 680 : at + 40));
  expect(streamsOf(stalled)).toMatchObject({
    status: 'warning',
    what: expect.stringContaining('stood still once, for 0.4 s'),
  });
});

it('a stream whose beginning is held back until it is long enough is not well', () => {
  const late = measured((at, index) => (index < 6 ? 640 : at + 40));
  expect(streamsOf(late)?.status).toBe('failed');
});

it('what comes in groups is collected, and how much of it', () => {
  const grouped = measured((_at, index) => (index < 5 ? 540 : 1_040));
  expect(streamsOf(grouped)?.what).toContain('in 2 groups, up to 0.4 s late');
  expect(streamsOf(grouped)?.what).toContain('collects about 1.3 KiB');
});

it.each([
  [{ server: 'nginx/1.22.1' }, 'nginx', 'proxy_buffering off;'],
  [{ server: 'cloudflare', 'cf-ray': 'x' }, 'Cloudflare', 'the hop behind it'],
  [{ via: '1.1 x.cloudfront.net (CloudFront)' }, 'CloudFront', 'CachingDisabled'],
  [{ via: '1.1 Caddy' }, 'Caddy', 'buffer_responses'],
  // Which of them is the nearer the headers do not tell.
  [{ server: 'nginx', via: '1.1 Caddy' }, 'Caddy or nginx', 'proxy_buffering off;'],
  [{ server: 'nginx', via: '1.1 Caddy' }, 'Caddy or nginx', 'buffer_responses'],
  [{ server: 'Apache/2.4' }, 'Apache', 'flushpackets=on'],
  [{ via: '1.1 varnish' }, 'Varnish', 'do_stream'],
  [{ server: 'cloudflare', 'cf-ray': 'x', via: '1.1 Caddy' }, 'Cloudflare', 'the hop behind it'],
  [{ via: '1.1 vegur' }, 'Heroku', 'the hop behind it'],
  [{}, 'a hop that does not say what it is', 'the URL of each'],
])('the hop of %j is %s', (found, name, remedy) => {
  expect(hopOf(found).name).toBe(name);
  const held = measured(() => 1_040, { headers: { ...headers, ...found } });
  expect(streamsOf(held)?.remedy).toContain(remedy);
});

it('a stream that is compressed is a warning', () => {
  const findings = diagnosePath(
    measured(undefined, { headers: { ...headers, 'content-encoding': 'br' } }),
  );
  expect(find(findings, 'not compressed')).toMatchObject({ status: 'warning' });
});

it('a compressed stream is said to forbid it only where it does', () => {
  const whatOf = (more: object) => {
    const found = { ...headers, 'content-encoding': 'br', ...more };
    return find(diagnosePath(measured(undefined, { headers: found })), 'not compressed')?.what;
  };
  expect(whatOf({})).toContain('although it says no-transform');
  expect(whatOf({ 'cache-control': 'no-cache' })).not.toContain('although');
});

it('a content type that a hop has changed is a failure, and no missing probe', () => {
  const found = { ...headers, 'content-type': 'text/plain' };
  const findings = diagnosePath(measured(undefined, { headers: found }));
  expect(find(findings, 'reachable')?.status).toBe('ok');
  expect(find(findings, 'headers')).toMatchObject({
    status: 'failed',
    what: expect.stringContaining('content-type is text/plain'),
  });
});

it('an encoding that nobody knows is told, and no missing probe', () => {
  const found = { ...headers, 'content-encoding': 'zstd' };
  const [finding] = diagnosePath(measured(undefined, { headers: found, events: [] }));
  expect(finding?.what).toContain('answers in the encoding zstd');
});

it('a way that is slow is no buffer', () => {
  const slow = measuredWithPause((at, number) => at + 40 + 80 * number - (number > 5 ? 300 : 0));
  expect(streamsOf(slow)).toMatchObject({
    status: 'warning',
    what: expect.stringContaining('fell behind by up to'),
  });
});

it('events that come before they were sent are from a cache', () => {
  const cached = measured((at) => at / 10);
  expect(streamsOf(cached)).toMatchObject({
    status: 'failed',
    what: expect.stringContaining('answers from a cache'),
    remedy: expect.stringContaining('proxy_cache off;'),
  });
});

it('events that are missing are not well, however soon the others came', () => {
  const half = measured(undefined, { ending: 'timeout', events: measured().events.slice(0, 5) });
  expect(streamsOf(half)).toMatchObject({
    status: 'warning',
    what: expect.stringMatching(/^What came/),
  });
  expect(find(diagnosePath(half), 'complete')?.remedy).not.toContain('closes');
});

it('a connection that stays open after the last event is told so', () => {
  const open = measured(undefined, { ending: 'timeout', endedAt: 29_000 });
  expect(find(diagnosePath(open), 'complete')).toMatchObject({
    status: 'failed',
    what: 'All 10 events came, and 29.0 s after the request the connection was still open.',
    remedy: expect.stringContaining('the end of a response'),
  });
});

it('a header that was changed is a warning, and what it does', () => {
  const findings = diagnosePath(
    measured(undefined, { headers: { 'content-type': headers['content-type'] } }),
  );
  expect(find(findings, 'headers')).toMatchObject({
    status: 'warning',
    what: expect.stringContaining('cache-control is gone, without no-transform'),
  });
});

it.each([
  { 'content-type': 'text/event-stream', 'cache-control': 'no-store, no-transform' },
  { 'content-type': 'Text/Event-Stream;charset=UTF-8', 'cache-control': 'No-Transform' },
])('a header that says the same in other words is well: %j', (found) => {
  expect(find(diagnosePath(measured(undefined, { headers: found })), 'headers')?.status).toBe('ok');
});

const numbered = (numbers: number[]) => ({
  events: numbers.map((number) => ({ ...measured().events[0], number })) as SeenEvent[],
});

it.each([
  [{ ending: 'cut' as const }, 'was cut off after 1.1 s, with 10 of 10 events'],
  [{ ending: 'timeout' as const, ...numbered([1, 2]) }, 'did not end'],
  [numbered([1, 2, 3]), 'ended after 1.1 s, with 3 of 10 events'],
  [numbered([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 'more than once: 11 for 10'],
  [numbered([2, 1, 3, 4, 5, 6, 7, 8, 9, 10]), 'in another order'],
])('a stream that is not whole is told: %j', (more, what) => {
  const finding = find(diagnosePath(measured(undefined, more)), 'complete');
  expect(finding?.what).toContain(what);
  expect(finding?.status).toBe('failed');
});

it.each([
  [{ status: 502 }, 'answers 502'],
  [
    { events: [], headers: { 'content-type': 'text/html' } },
    'not with a probe: its content type is text/html',
  ],
  [{ events: [] }, 'not with a probe'],
  [{ events: [], strangers: 20, ending: 'cut' as const }, 'not with a probe'],
  [{ events: [], ending: 'cut' as const }, 'no event came before it was cut off after 1.1 s'],
  [{ events: [], ending: 'timeout' as const }, 'no event came within 1.1 s'],
])('a way that leads nowhere is told: %j', (more, what) => {
  const [finding] = diagnosePath(measured(undefined, more));
  expect(finding?.what).toContain(what);
  expect(finding?.status).toBe('failed');
});

it.each([
  [{ status: 400 }, '"events" (1 to 200)'],
  [{ status: 418 }, 'curl -i'],
  [{ status: 401 }, '--header='],
  [{ status: 404 }, 'streamProbe()'],
  [{ status: 502 }, 'does not reach the application'],
  [{ status: 301, headers: { location: 'https://host/probe' } }, 'Give that URL.'],
])('an answer that is no stream is told what to do about: %j', (more, remedy) => {
  const [finding] = diagnosePath(measured(undefined, { ...more, events: [] }));
  expect(finding?.remedy).toContain(remedy);
});

describe('a silence', () => {
  it('that could not be measured is not well, and says why', () => {
    const silence = { kind: 'unknown', why: 'it answers 503' } as const;
    expect(diagnoseSilence(silence, 120_000, headers)).toMatchObject({
      status: 'failed',
      what: 'How long a connection may be silent could not be measured: it answers 503.',
    });
  });

  it('is not to blame where every stream is ended', () => {
    const silence = { kind: 'too long', after: 20_000 } as const;
    const finding = diagnoseSilence(silence, 120_000, headers);
    expect(finding).toMatchObject({
      status: 'failed',
      what: expect.stringContaining('ends every stream after 20.0 s, whatever is sent'),
    });
    expect(finding.remedy).not.toContain('keepAlive');
  });

  it('that is survived is well', () => {
    expect(diagnoseSilence({ kind: 'survived' }, 120_000, headers)).toMatchObject({ status: 'ok' });
  });

  it('that is cut after the first keep-alive comment is well', () => {
    const finding = diagnoseSilence({ kind: 'cut', after: 60_000 }, 120_000, { server: 'nginx' });
    expect(finding).toMatchObject({ status: 'ok', what: expect.stringContaining('after 60.0 s') });
  });

  it('that is cut before it is not, and what would help', () => {
    expect(
      diagnoseSilence({ kind: 'cut', after: 5_100 }, 120_000, { server: 'nginx' }),
    ).toMatchObject({
      status: 'failed',
      remedy: expect.stringMatching(/proxy_read_timeout 1h;[\s\S]*keepAlive: 2000/),
    });
  });

  it.each([
    [900, 'before the first', 'keepAlive: 400'],
    [16_500, 'hardly later than the first', 'keepAlive: 8000'],
  ])('that is cut after %d ms has comments twice as often', (limit, when, remedy) => {
    expect(diagnoseSilence({ kind: 'cut', after: limit }, 120_000, {})).toMatchObject({
      status: 'failed',
      what: expect.stringContaining(`${when} keep-alive comment`),
      remedy: expect.stringContaining(remedy),
    });
  });
});
