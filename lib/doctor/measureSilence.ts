import { type Measurement, type ProbeOptions, probePath } from './probePath.js';

/** How a path bears silence. Times in ms. */
export type Silence =
  | { readonly kind: 'survived' }
  /** After so long without a byte a connection is gone. */
  | { readonly kind: 'cut'; readonly after: number }
  /** After so long every stream is gone, whatever is sent. */
  | { readonly kind: 'too long'; readonly after: number }
  | { readonly kind: 'unknown'; readonly why: string };

/** How one stream with a silence in it ended. */
type Attempt =
  | { readonly kind: 'whole' }
  | { readonly kind: 'cut'; readonly silentFor: number; readonly endedAt: number }
  /** It was still open, or so it seemed. */
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'refused'; readonly why: string };

/** How much longer than its silence a stream may take, in ms. */
const MARGIN = 5_000;

const EVENTS = 2;

/** A probe has no more. */
const MOST_EVENTS = 200;

/** Who answers sooner with an error has not waited for anything, in ms: that is a refusal, and no silence was too long. */
const EARLY = 500;

/** How exactly a limit is told that shows only by what does not come, in ms. */
const EXACT = 1_000;

/**
 * How long a connection may be silent, up to `most` ms.
 *
 * Most hops close the connection, which tells the limit at once. One that drops it without a word leaves the client
 * waiting: then the limit is found by bisection, which takes as long as some streams of about that length. A limit that is
 * found is tried again with a stream that is never silent, since it may be one for all streams.
 */
export async function measureSilence(
  url: string,
  most: number,
  headers?: ProbeOptions['headers'],
): Promise<Silence> {
  const tryFor = async (silence: number): Promise<Attempt> => {
    const query = { events: EVENTS, interval: 100, padding: 0, silence };
    const attempt = () => attemptOf(url, { query, timeout: silence + MARGIN, headers }, EVENTS);
    const first = await attempt();
    // One of several instances may be down, or a limit of requests be reached for a moment.
    return first.kind === 'refused' ? attempt() : first;
  };
  const longest = await tryFor(most);
  switch (longest.kind) {
    case 'whole':
      return { kind: 'survived' };
    case 'refused':
      return { kind: 'unknown', why: longest.why };
    case 'cut': {
      const { silentFor, endedAt } = longest;
      const isForAll = await endsAnyway(url, endedAt, headers);
      return isForAll ? { kind: 'too long', after: endedAt } : { kind: 'cut', after: silentFor };
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
  const isForAll = await endsAnyway(url, lost, headers);
  return { kind: isForAll ? 'too long' : 'cut', after: lost };
}

/** Whether a stream that is never silent is over after about as long, too. */
async function endsAnyway(
  url: string,
  limit: number,
  headers: ProbeOptions['headers'],
): Promise<boolean> {
  const duration = limit * 1.2 + EARLY;
  const interval = Math.ceil(Math.min(5_000, Math.max(50, duration / 100)));
  const events = Math.min(MOST_EVENTS, Math.ceil(duration / interval));
  const query = { events, interval, padding: 0, pause: 0, silence: 0 };
  const control = await attemptOf(url, { query, timeout: duration + MARGIN, headers }, events);
  if (control.kind === 'forgotten') return true;
  return control.kind === 'cut' && control.endedAt > limit * 0.8;
}

async function attemptOf(url: string, options: ProbeOptions, expected: number): Promise<Attempt> {
  const began = performance.now();
  try {
    return readAttempt(await probePath(url, options), expected);
  } catch (error) {
    // The connection was gone before its headers came: a hop has held them back.
    const endedAt = performance.now() - began;
    if (endedAt < EARLY) return { kind: 'refused', why: String(error) };
    const isForgotten = endedAt >= (options.timeout ?? Number.POSITIVE_INFINITY);
    return isForgotten ? { kind: 'forgotten' } : { kind: 'cut', silentFor: endedAt, endedAt };
  }
}

function readAttempt(measurement: Measurement, expected: number): Attempt {
  const { status, ending, events, headersAt, endedAt } = measurement;
  if (status !== 200) {
    const why = `it answers ${status}`;
    return headersAt < EARLY
      ? { kind: 'refused', why }
      : { kind: 'cut', silentFor: headersAt, endedAt: headersAt };
  }
  // Not when it ended in order alone: a hop may end what another has cut off.
  if (ending === 'complete' && events.length === expected) return { kind: 'whole' };
  if (ending === 'timeout') return { kind: 'forgotten' };
  return { kind: 'cut', silentFor: endedAt - (events.at(-1)?.arrivedAt ?? 0), endedAt };
}
