import { diagnosePath, diagnoseSilence } from '../../lib/doctor/diagnosePath.js';
import type { Finding } from '../../lib/doctor/finding.js';
import { hopOf } from '../../lib/doctor/hop.js';
import type { Measurement } from '../../lib/doctor/probePath.js';

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
    const first = number === 1 && { sent: headers };
    return { number, of: 10, at, arrivedAt: arrival(at, index), bytes: 256, ...first };
  });
  return {
    url: 'http://host/probe',
    status: 200,
    headers,
    headersAt: 40,
    events,
    ending: 'complete',
    endedAt: 1_050,
    ...more,
  };
}

const find = (findings: readonly Finding[], name: string) =>
  findings.find((finding) => finding.name === name);

const streamsOf = (measurement: Measurement) => find(diagnosePath(measurement), 'streams');

it('a way on which all comes in time is well', () => {
  expect(diagnosePath(measured()).map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'ok']);
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

it('what comes in groups is collected, and how much of it', () => {
  const grouped = measured((_at, index) => (index < 5 ? 540 : 1_040));
  expect(streamsOf(grouped)?.what).toContain('in 2 groups, up to 0.4 s late');
  expect(streamsOf(grouped)?.what).toContain('collects about 1.3 KiB');
});

it.each([
  [{ server: 'nginx/1.22.1' }, 'nginx', 'proxy_buffering off;'],
  [{ server: 'cloudflare', 'cf-ray': 'x' }, 'Cloudflare', 'the hop behind it'],
  [{ via: '1.1 x.cloudfront.net (CloudFront)' }, 'CloudFront', 'CachingDisabled'],
  [{ via: '1.1 Caddy' }, 'Caddy', 'flush_interval -1'],
  [{ server: 'Apache/2.4' }, 'Apache', 'flushpackets=on'],
  [{ via: '1.1 varnish' }, 'Varnish', 'do_stream'],
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

it('a header that was changed is a warning, and what it does', () => {
  const findings = diagnosePath(
    measured(undefined, { headers: { 'content-type': headers['content-type'] } }),
  );
  expect(find(findings, 'headers')).toMatchObject({
    status: 'warning',
    what: expect.stringContaining('cache-control is gone instead of no-cache, no-transform'),
  });
});

it.each([
  [{ status: 502 }, 'answers 502'],
  [
    { events: [], headers: { 'content-type': 'text/html' } },
    'not with a probe: its content type is text/html',
  ],
  [{ ending: 'cut' as const }, 'was cut off after 1.1 s, with 10 of 10 events'],
  [{ ending: 'timeout' as const }, 'did not end'],
  [{ events: [] }, 'not with a probe'],
])('a way that leads nowhere is told: %j', (more, what) => {
  const [finding] = diagnosePath(measured(undefined, more));
  expect(finding?.what).toContain(what);
  expect(finding?.status).toBe('failed');
});

it.each([
  [{ status: 401 }, '--header='],
  [{ status: 404 }, 'streamProbe()'],
  [{ status: 502 }, 'does not reach the application'],
  [{ status: 301, headers: { location: 'https://host/probe' } }, 'Give that URL.'],
])('an answer that is no stream is told what to do about: %j', (more, remedy) => {
  const [finding] = diagnosePath(measured(undefined, { ...more, events: [] }));
  expect(finding?.remedy).toContain(remedy);
});

describe('a silence', () => {
  it('that is survived is well', () => {
    expect(diagnoseSilence(undefined, 120_000, headers)).toMatchObject({ status: 'ok' });
  });

  it('that is cut after the first keep-alive comment is well', () => {
    const finding = diagnoseSilence(60_000, 120_000, { server: 'nginx' });
    expect(finding).toMatchObject({ status: 'ok', what: expect.stringContaining('after 60.0 s') });
  });

  it('that is cut before it is not, and what would help', () => {
    expect(diagnoseSilence(5_100, 120_000, { server: 'nginx' })).toMatchObject({
      status: 'failed',
      remedy: expect.stringMatching(/proxy_read_timeout 1h;[\s\S]*keepAlive: 2000/),
    });
  });
});
