import { isEventStream } from '../sse/isEventStream.js';
import { WRONG_SETTINGS } from '../streamProbe.js';
import type { Finding } from './finding.js';
import { hopOf } from './hop.js';
import type { Silence } from './measureSilence.js';
import { isReadable, type Measurement, type SeenEvent } from './probePath.js';

/** An event that comes this much later than the quickest one was held back, in ms. */
const LATE = 350;

/** So much before it was sent no event comes, in ms, whatever the clocks do. */
const EARLY = 50;

/** Events within this many ms have come together. */
const TOGETHER = 15;

/** Our default `keepAlive`, in ms: the longest silence of a stream. */
const KEEP_ALIVE = 15_000;

const MOUNT = "app.get('/probe', streamProbe());    // and give its URL";

const OTHERWISE =
  "curl -i shows what it answers: whose words are they, the application's or those of a hop before it?";

/** What to do about an answer that is no stream, by its status. */
const remedies: Readonly<Record<number, string>> = {
  400: WRONG_SETTINGS,
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
  const { headers } = measurement;
  const arrival = reached(measurement);
  if (!isProbe(measurement)) return [arrival];
  return [
    arrival,
    completeness(measurement),
    streaming(measurement),
    compression(headers),
    headersKept(headers),
  ];
}

/** Whether a probe has answered. */
export function isProbe({ status, events }: Measurement): boolean {
  return status === 200 && events.length > 0;
}

function reached(measurement: Measurement): Finding {
  const { url, status, headers, strangers, ending, endedAt } = measurement;
  const name = 'reachable';
  const { 'content-type': type = 'none', location } = headers;
  if (status !== 200) {
    return {
      name,
      status: 'failed',
      what: `${url} answers ${status}${location === undefined ? '' : ` and points to ${location}`}.`,
      remedy: location === undefined ? (remedies[status] ?? OTHERWISE) : 'Give that URL.',
    };
  }
  if (isProbe(measurement)) return { name, status: 'ok', what: `${url} answers.` };
  const { 'content-encoding': encoding } = headers;
  if (!isReadable(encoding)) {
    return {
      name,
      status: 'failed',
      what: `${url} answers in the encoding ${encoding}, for which nobody has asked.`,
      remedy: hopOf(headers).compression,
    };
  }
  if (strangers > 0 || ending === 'complete') {
    return {
      name,
      status: 'failed',
      what: `${url} answers, but not with a probe: its content type is ${type}.`,
      remedy: MOUNT,
    };
  }
  return {
    name,
    status: 'failed',
    what: `${url} answers, but no event came ${ending === 'cut' ? `before it was cut off after ${seconds(endedAt)}` : `within ${seconds(endedAt)}`}.`,
    remedy: ending === 'cut' ? CUT : hopOf(headers).buffering,
  };
}

/** A hop may repeat what it passes on. */
function numbersOf(events: readonly SeenEvent[]): ReadonlySet<number> {
  return new Set(events.map(({ number }) => number));
}

const CUT =
  'Something closes the connection: the log of the hop tells why. --silence=60 finds out whether it is silence that it does not bear.';

function completeness({ events, ending, endedAt, headers }: Measurement): Finding {
  const name = 'complete';
  const of = events[0]?.of ?? 0;
  const numbers = numbersOf(events);
  const came = `${numbers.size} of ${of} events`;
  if (ending === 'timeout' && numbers.size === of) {
    return {
      name,
      status: 'failed',
      what: `All ${of} events came, and ${seconds(endedAt)} after the request the connection was still open.`,
      remedy: `A hop does not pass on the end of a response.\n${hopOf(headers).buffering}`,
    };
  }
  if (ending !== 'complete' || numbers.size < of) {
    const how = { cut: 'was cut off', timeout: 'did not end', complete: 'ended' }[ending];
    return {
      name,
      status: 'failed',
      what: `The stream ${how} after ${seconds(endedAt)}, with ${came}.`,
      remedy: ending === 'timeout' ? hopOf(headers).buffering : CUT,
    };
  }
  if (events.some(({ number }, index) => number !== index + 1)) {
    return {
      name,
      status: 'failed',
      what: `The events came in another order than they were sent, or more than once: ${events.length} for ${of}.`,
      remedy: 'A hop repeats or mixes what it passes on: look for retries or a cache in it.',
    };
  }
  return { name, status: 'ok', what: `All ${of} events came, each once.` };
}

function streaming({ headers, headersAt, events }: Measurement): Finding {
  const name = 'streams';
  const hop = hopOf(headers);
  // The quickest event tells how long the way is; the clocks of the two ends need not agree.
  const way = Math.min(...events.map(({ arrivedAt, at }) => arrivedAt - at));
  const delayOf = ({ arrivedAt, at }: SeenEvent) => arrivedAt - at - way;
  const latest = Math.max(...events.map(delayOf));
  if (way < -EARLY) {
    return {
      name,
      status: 'failed',
      what: `Events came up to ${seconds(-way)} before they can have been sent: ${hop.name}, or a hop behind it, answers from a cache.`,
      remedy: 'Turn its cache off for this path; for nginx that is:\nproxy_cache off;',
    };
  }
  if (latest < LATE) {
    const isWhole = numbersOf(events).size === events[0]?.of;
    return {
      name,
      status: isWhole ? 'ok' : 'warning',
      what: isWhole
        ? `Every event came within ${Math.ceil(latest)} ms of when it could.`
        : `What came, came within ${Math.ceil(latest)} ms of when it could.`,
    };
  }
  const groups = groupsOf(events);
  const held = groups.filter((group) => group.length > 1 && delayOf(group[0] as SeenEvent) >= LATE);
  const first = events[0]?.arrivedAt ?? 0;
  const headersToo = headersAt > first - TOGETHER ? ', and the headers with them' : '';
  const remedy = hop.buffering;
  const who = `${hop.name}, or a hop behind it,`;
  const failed = (what: string): Finding => ({ name, status: 'failed', what, remedy });
  if (groups.length === 1) {
    return failed(
      `All events came at once, at the end of the stream after ${seconds(first)}: ${who} holds them back until then${headersToo}.`,
    );
  }
  if (held.length > 1 || held.some((group) => group.length > events.length / 2)) {
    const sizes = held.map((group) => group.reduce((sum, { bytes }) => sum + bytes, 0));
    return failed(
      `The events came in ${groups.length} groups, up to ${seconds(latest)} late: ${who} collects about ${(Math.max(...sizes) / 1_024).toFixed(1)} KiB before it passes them on${headersToo}.`,
    );
  }
  if (fallsBehind(events.map(delayOf), groups.length)) {
    return {
      name,
      status: 'warning',
      what: `The way is slow: every event came by itself, and they fell behind by up to ${seconds(latest)}. That is no buffer.`,
    };
  }
  const waiting = lastBeforePause(events);
  if (waiting !== undefined && delayOf(waiting) >= LATE) {
    return failed(
      `What was sent before a pause came only after it, ${seconds(delayOf(waiting))} late: ${who} holds back the last bytes until more come${headersToo}.`,
    );
  }
  return {
    name,
    status: 'warning',
    what: `The stream stood still once, for ${seconds(latest)}. That is no buffer, and may have been the network: look again.`,
  };
}

/** Whether events came later and later, little by little: so does a line that is too slow for them, and no buffer. */
function fallsBehind(delays: readonly number[], groups: number): boolean {
  const worst = delays.indexOf(Math.max(...delays));
  const until = delays.slice(0, worst + 1);
  const steps = until.slice(1).map((delay, index) => delay - (until[index] ?? 0));
  const isAlone = groups > delays.length * 0.8;
  return isAlone && worst >= delays.length / 3 && Math.max(...steps) < (delays[worst] ?? 0) / 3;
}

/** The event after which the probe waited longest. */
function lastBeforePause(events: readonly SeenEvent[]): SeenEvent | undefined {
  const waits = events.slice(1).map(({ at }, index) => at - (events[index]?.at ?? 0));
  return events[waits.indexOf(Math.max(...waits))];
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
  const although = forbidsTransforming(headers) ? ', although it says no-transform' : '';
  return {
    name,
    status: 'warning',
    what: `The stream is compressed (${encoding})${although}: every event costs a flush, and a hop that does not flush holds it back.`,
    remedy: hopOf(headers).compression,
  };
}

function forbidsTransforming({ 'cache-control': control = '' }: Measurement['headers']): boolean {
  return /(?:^|,)\s*no-transform\s*(?:,|$)/i.test(control);
}

/** `X-Accel-Buffering` is kept by the nginx that it is for. */
function headersKept(headers: Measurement['headers']): Finding {
  const name = 'headers';
  const { 'content-type': type = 'gone', 'cache-control': control } = headers;
  const remedy = 'Let the headers of the application through, unchanged.';
  if (!isEventStream(type)) {
    return {
      name,
      status: 'failed',
      what: `content-type is ${type}, and was text/event-stream: a hop has changed it, and clients will not read it as a stream.`,
      remedy,
    };
  }
  if (forbidsTransforming(headers)) {
    return { name, status: 'ok', what: 'The headers that count have arrived.' };
  }
  return {
    name,
    status: 'warning',
    what: `cache-control is ${control ?? 'gone'}, without no-transform: a hop further out may compress the stream, and hold it back for that.`,
    remedy,
  };
}

/**
 * Whether a stream survives its own silences.
 *
 * @param tried the longest silence that was tried, in ms
 */
export function diagnoseSilence(
  silence: Silence,
  tried: number,
  headers: Measurement['headers'],
): Finding {
  const name = 'silence';
  switch (silence.kind) {
    case 'survived':
      return {
        name,
        status: 'ok',
        what: `The connection survives ${seconds(tried)} without a byte.`,
      };
    case 'unknown':
      return {
        name,
        status: 'failed',
        what: `How long a connection may be silent could not be measured: ${silence.why}.`,
        remedy: 'Try again in a moment.',
      };
    case 'too long':
      return {
        name,
        status: 'failed',
        what: `${named(hopOf(headers).name)}, or a hop behind it, ends every stream after ${seconds(silence.after)}, whatever is sent.`,
        remedy:
          'Raise its limit for a whole response, which no keep-alive comment changes: a run takes minutes.',
      };
    case 'cut':
      return diagnoseLimit(silence.after, headers);
  }
}

function diagnoseLimit(limit: number, headers: Measurement['headers']): Finding {
  const name = 'silence';
  const hop = hopOf(headers);
  const what = `${named(hop.name)} cuts a connection after ${seconds(limit)} without a byte`;
  if (limit > KEEP_ALIVE * 1.2) {
    return {
      name,
      status: 'ok',
      what: `${what}; a comment every ${seconds(KEEP_ALIVE)} keeps it alive.`,
    };
  }
  const unit = limit < 4_000 ? 100 : 1_000;
  const keepAlive = Math.max(100, Math.floor(limit / 2 / unit) * unit);
  const when = limit < KEEP_ALIVE ? 'before the first' : 'hardly later than the first';
  return {
    name,
    status: 'failed',
    what: `${what}, ${when} keep-alive comment.`,
    remedy: `${hop.idle}\nclaudeStream({ keepAlive: ${keepAlive} })    // or this`,
  };
}

function named(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
