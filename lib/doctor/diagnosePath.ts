import type { Finding } from './finding.js';
import { hopOf } from './hop.js';
import type { Measurement, SeenEvent } from './probePath.js';

/** An event that comes this much later than the quickest one was held back, in ms. */
const LATE = 350;

/** Events within this many ms have come together. */
const TOGETHER = 15;

/** Our default `keepAlive`, in ms: the longest silence of a stream. */
const KEEP_ALIVE = 15_000;

/** Headers that must reach the client as they were sent, and what goes wrong without. */
const headersThatCount: Readonly<Record<string, string>> = {
  'content-type': 'an EventSource refuses the stream',
  'cache-control': 'a hop further out may compress or store the stream',
};

const MOUNT = "app.get('/probe', streamProbe());    // and give its URL";

/** What to do about an answer that is no stream, by its status. */
const remedies: Readonly<Record<number, string>> = {
  401: "--header='authorization: …'    # what the application, or a hop before it, wants to see",
  403: "--header='authorization: …'    # what the application, or a hop before it, wants to see",
  404: MOUNT,
  429: 'The probe serves 20 at once: try again in a moment.',
  502: 'A hop answers, and does not reach the application: is it running, and does the hop have its address?',
  503: 'A hop answers, and does not reach the application: is it running, and does the hop have its address?',
  504: 'A hop answers, and has waited for the application in vain: is it running, and does the hop have its address?',
};

/** What the hops between a client and a probe do to a stream. */
export function diagnosePath(measurement: Measurement): Finding[] {
  const { status, headers, events } = measurement;
  const isProbe = status === 200 && events.length > 0;
  const arrival = reached(measurement);
  if (!isProbe) return [arrival];
  return [
    arrival,
    streaming(measurement),
    compression(headers),
    headersKept(headers, events[0]?.sent ?? {}),
  ];
}

function reached({ url, status, headers, events, ending, endedAt }: Measurement): Finding {
  const name = 'reachable';
  const { 'content-type': type = 'none', location } = headers;
  if (status !== 200) {
    return {
      name,
      status: 'failed',
      what: `${url} answers ${status}${location === undefined ? '' : ` and points to ${location}`}.`,
      remedy: location === undefined ? remedies[status] : 'Give that URL.',
    };
  }
  if (ending !== 'complete') {
    const how = ending === 'cut' ? 'was cut off' : 'did not end';
    return {
      name,
      status: 'failed',
      what: `The stream ${how} after ${seconds(endedAt)}, with ${events.length} of ${events[0]?.of ?? 'its'} events.`,
      remedy: hopOf(headers).buffering,
    };
  }
  if (events.length === 0) {
    return {
      name,
      status: 'failed',
      what: `${url} answers, but not with a probe: its content type is ${type}.`,
      remedy: MOUNT,
    };
  }
  return { name, status: 'ok', what: `${url} answers, and its stream is complete.` };
}

function streaming({ headers, headersAt, events }: Measurement): Finding {
  const name = 'streams';
  const hop = hopOf(headers);
  // The quickest event tells how long the way is; the clocks of the two ends need not agree.
  const way = Math.min(...events.map(({ arrivedAt, at }) => arrivedAt - at));
  const latest = Math.max(...events.map(({ arrivedAt, at }) => arrivedAt - at - way));
  const groups = groupsOf(events);
  if (latest < LATE) {
    return {
      name,
      status: 'ok',
      what: `Every event came within ${Math.ceil(latest)} ms of when it could.`,
    };
  }
  const first = events[0]?.arrivedAt ?? 0;
  const size = Math.max(...groups.map((group) => group.reduce((sum, { bytes }) => sum + bytes, 0)));
  const how =
    groups.length === 1
      ? `All events came at once, at the end of the stream after ${seconds(first)}: ${hop.name} holds them back until then`
      : `The events came in ${groups.length} groups, up to ${seconds(latest)} late: ${hop.name} collects about ${(size / 1_024).toFixed(1)} KiB before it passes them on`;
  const headersToo = headersAt > first - TOGETHER ? ', and the headers with them' : '';
  return { name, status: 'failed', what: `${how}${headersToo}.`, remedy: hop.buffering };
}

function groupsOf(events: readonly SeenEvent[]): SeenEvent[][] {
  const groups: SeenEvent[][] = [];
  for (const event of events) {
    const last = groups.at(-1)?.at(-1);
    if (last !== undefined && event.arrivedAt - last.arrivedAt < TOGETHER)
      groups.at(-1)?.push(event);
    else groups.push([event]);
  }
  return groups;
}

function compression(headers: Measurement['headers']): Finding {
  const name = 'not compressed';
  const { 'content-encoding': encoding } = headers;
  if (encoding === undefined)
    return { name, status: 'ok', what: 'The stream comes as it was sent.' };
  return {
    name,
    status: 'warning',
    what: `The stream is compressed (${encoding}), although it says no-transform: every event costs a flush, and a hop that does not flush holds it back.`,
    remedy: hopOf(headers).compression,
  };
}

function headersKept(got: Measurement['headers'], sent: Readonly<Record<string, string>>): Finding {
  const name = 'headers';
  const lost = Object.entries(headersThatCount).filter(
    ([header]) => sent[header] !== undefined && got[header] !== sent[header],
  );
  if (lost.length === 0)
    return { name, status: 'ok', what: 'The headers that count have arrived.' };
  const what = lost.map(
    ([header, why]) => `${header} is ${got[header] ?? 'gone'} instead of ${sent[header]}: ${why}.`,
  );
  return {
    name,
    status: 'warning',
    what: what.join(' '),
    remedy: 'Let the headers of the application through, unchanged.',
  };
}

/**
 * Whether a stream survives its own silences.
 *
 * @param limit ms without a byte after which the connection was cut; `undefined` when it was not
 * @param tried the longest silence that was tried, in ms
 */
export function diagnoseSilence(
  limit: number | undefined,
  tried: number,
  headers: Measurement['headers'],
): Finding {
  const name = 'silence';
  if (limit === undefined) {
    return {
      name,
      status: 'ok',
      what: `The connection survives ${seconds(tried)} without a byte.`,
    };
  }
  const hop = hopOf(headers);
  const what = `${named(hop.name)} cuts a connection after ${seconds(limit)} without a byte`;
  if (limit > KEEP_ALIVE * 1.2) {
    return {
      name,
      status: 'ok',
      what: `${what}; a comment every ${seconds(KEEP_ALIVE)} keeps it alive.`,
    };
  }
  const keepAlive = Math.max(1_000, Math.floor(limit / 2_000) * 1_000);
  return {
    name,
    status: 'failed',
    what: `${what}, before the first keep-alive comment.`,
    remedy: `${hop.idle}\nclaudeStream({ keepAlive: ${keepAlive} })    // or this`,
  };
}

function named(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
