import { MOST_EVENTS } from '../streamProbe.js';
import { type Measurement, type ProbeOptions, probePath } from './probePath.js';

/** How a path bears silence. Times in ms. */
export type Silence =
  | { readonly kind: 'survived' }
  /** After so long without a byte a connection is gone. */
  | { readonly kind: 'cut'; readonly after: number }
  /** After so long every stream is gone, whatever is sent. */
  | { readonly kind: 'too long'; readonly after: number }
  | { readonly kind: 'unknown'; readonly why: string };

/** How one stream ended. */
type Attempt =
  | { readonly kind: 'whole' }
  | {
      readonly kind: 'cut';
      readonly silentFor: number;
      readonly endedAt: number;
      readonly events: number;
    }
  /** It was still open, or so it seemed. */
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'refused'; readonly why: string };

interface Stream {
  readonly events: number;
  readonly interval: number;
  readonly silence: number;
}

/** How much longer than its events a stream may take, in ms. */
const MARGIN = 5_000;

/** By these a hop says that it has waited in vain; by any other status, that it has not waited. */
const WAITED_IN_VAIN = [408, 504, 524];

/** How exactly a limit is told that shows only by what does not come, in ms. */
const EXACT = 1_000;

/**
 * How long a connection may be silent, up to `most` ms.
 *
 * Most hops close the connection, which tells the limit at once. One that drops it without a word leaves the client
 * waiting: then the limit is found by bisection, which takes as long as some streams of about that length. A connection
 * that was cut may have been so by accident, or by a limit for all streams: so it is tried again, and with a stream that
 * is never silent.
 */
export async function measureSilence(
  url: string,
  most: number,
  headers?: ProbeOptions['headers'],
): Promise<Silence> {
  const tryStream = async (stream: Stream): Promise<Attempt> => {
    const first = await attemptOf(url, stream, headers);
    // One of several instances may be down, or a limit of requests be reached for a moment.
    return first.kind === 'refused' ? attemptOf(url, stream, headers) : first;
  };
  const tryFor = (silence: number) => tryStream({ events: 2, interval: 100, silence });
  const conclude = async (limit: number, endedAt: number): Promise<Silence> => {
    const control = await tryStream(neverSilentFor(endedAt));
    switch (control.kind) {
      case 'refused':
        return { kind: 'unknown', why: control.why };
      case 'forgotten':
        return { kind: 'too long', after: endedAt };
      case 'cut': {
        const isAsLong = Math.abs(control.endedAt - endedAt) < Math.max(300, endedAt * 0.05);
        // A hop that has passed on nothing of it has been silent, too.
        if (isAsLong && control.events > 0) return { kind: 'too long', after: endedAt };
      }
    }
    return { kind: 'cut', after: limit };
  };

  const longest = await tryFor(most);
  switch (longest.kind) {
    case 'whole':
      return { kind: 'survived' };
    case 'refused':
      return { kind: 'unknown', why: longest.why };
    case 'cut': {
      const again = await tryFor(most);
      if (again.kind === 'refused') return { kind: 'unknown', why: again.why };
      if (again.kind !== 'cut')
        return { kind: 'unknown', why: 'it was cut off once, and once not' };
      return conclude(longest.silentFor, longest.endedAt);
    }
  }
  let [survived, lost] = [0, most];
  while (lost - survived > EXACT) {
    const middle = Math.round((survived + lost) / 2);
    const tried = await tryFor(middle);
    if (tried.kind === 'refused') return { kind: 'unknown', why: tried.why };
    if (tried.kind === 'whole') survived = middle;
    else lost = middle;
  }
  return conclude(lost, lost);
}

/** A stream that takes a fifth longer than so many ms. */
function neverSilentFor(ms: number): Stream {
  const duration = ms * 1.2 + 500;
  const interval = Math.ceil(Math.min(5_000, Math.max(50, duration / 100)));
  return { events: Math.min(MOST_EVENTS, Math.ceil(duration / interval)), interval, silence: 0 };
}

async function attemptOf(
  url: string,
  { events, interval, silence }: Stream,
  headers: ProbeOptions['headers'],
): Promise<Attempt> {
  const timeout = events * interval + silence + MARGIN;
  const query = { events, interval, silence, padding: 0, pause: 0 };
  const began = performance.now();
  try {
    return readAttempt(await probePath(url, { query, timeout, headers }), events);
  } catch (error) {
    // Before its headers came: a hop has held them back.
    const endedAt = performance.now() - began;
    if (endedAt >= timeout) return { kind: 'forgotten' };
    const { code } = error as Partial<NodeJS.ErrnoException>;
    if (code === 'ECONNRESET') return { kind: 'cut', silentFor: endedAt, endedAt, events: 0 };
    return { kind: 'refused', why: String(error) };
  }
}

function readAttempt(measurement: Measurement, expected: number): Attempt {
  const { status, ending, events, headersAt, endedAt } = measurement;
  if (WAITED_IN_VAIN.includes(status)) {
    return { kind: 'cut', silentFor: headersAt, endedAt: headersAt, events: 0 };
  }
  if (status !== 200) return { kind: 'refused', why: `it answers ${status}` };
  // Not by how it ended: a hop may end in order what another has cut off, or not end it at all.
  if (events.length === expected) return { kind: 'whole' };
  if (ending === 'timeout') return { kind: 'forgotten' };
  // By when it was sent, since a hop may have held it back until the end.
  const silentFor = endedAt - (events.at(-1)?.at ?? 0);
  return { kind: 'cut', silentFor, endedAt, events: events.length };
}
