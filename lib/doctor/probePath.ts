import { once } from 'node:events';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Readable, Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { createParser } from 'eventsource-parser';
import { isEventStream } from '../sse/isEventStream.js';
import { durationOf, MOST_EVENTS, type ProbeEvent } from '../streamProbe.js';

/** What was seen of one stream. Times are ms since the request was sent. */
export interface Measurement {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly headersAt: number;
  readonly events: readonly SeenEvent[];
  /** How many events came that are not a probe's. */
  readonly strangers: number;
  /** How the connection ended: in order, cut off, or not within the time. */
  readonly ending: 'complete' | 'cut' | 'timeout';
  readonly endedAt: number;
}

export interface SeenEvent extends ProbeEvent {
  readonly arrivedAt: number;
  readonly bytes: number;
}

export interface ProbeOptions {
  /** For the query of the probe. */
  readonly query?: Readonly<Record<string, number>>;
  /** How long the whole may take, in ms. Default: 26 000 more than the events of the query take; 29 000 without one. */
  readonly timeout?: number;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** So would a browser ask; a hop that compresses only does so when it may. */
const ENCODINGS = 'gzip, br';

/** How much longer than its events a stream may take, in ms. */
const MARGIN = 26_000;

/** What calls itself no event stream may be one, and shows it within so many characters, and ms after its end. */
const LONGEST_SURPRISE = 65_536;
const LATEST_SURPRISE = 2_000;

/** Longest event, in characters: a probe pads with 64 KiB at most. */
const LONGEST_EVENT = 2 ** 18;

/** A hop may repeat them, but nobody need see them all. */
const MOST_REPEATED = 10 * MOST_EVENTS;

/** After so many events of another stream nobody need wait for its end, which may never come. */
const ENOUGH_STRANGERS = 20;

/**
 * Reads the stream of a probe once.
 *
 * @throws whatever makes the connection fail before there is an answer
 */
export async function probePath(
  url: string,
  { query = {}, timeout, headers = {} }: ProbeOptions = {},
): Promise<Measurement> {
  const target = new URL(url);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, String(value));
  const duration = durationOf(Object.fromEntries(target.searchParams));
  const longest = timeout ?? MARGIN + duration;
  const request = target.protocol === 'https:' ? requestHttps : requestHttp;
  const began = performance.now();
  const now = () => performance.now() - began;
  const sent = request(target, {
    agent: false,
    headers: { accept: 'text/event-stream', 'accept-encoding': ENCODINGS, ...headers },
  });
  // Told by the response, or by the wait for one.
  sent.on('error', () => {});
  sent.end();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    sent.destroy(new Error(`There was no answer within ${longest} ms.`));
  }, longest);
  let surprise: NodeJS.Timeout | undefined;
  try {
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    const headersAt = now();
    const events: SeenEvent[] = [];
    let strangers = 0;
    let isEnough = false;
    const leave = () => {
      isEnough = true;
      sent.destroy();
    };
    const parser = createParser({
      maxBufferSize: LONGEST_EVENT,
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') leave();
      },
      onEvent: ({ event, data }) => {
        const probe = event === 'probe' ? readProbe(data) : undefined;
        if (probe) events.push({ ...probe, arrivedAt: now(), bytes: data.length });
        else strangers += 1;
        if (strangers >= ENOUGH_STRANGERS || events.length >= MOST_REPEATED) leave();
      },
    });
    const isStream = isEventStream(response.headers['content-type']);
    let isGivenUp = false;
    let characters = 0;
    const giveUp = () => {
      if (isStream || events.length > 0) return;
      isGivenUp = true;
      leave();
    };
    // A hop may have changed the type. Of anything else nobody knows how long it is.
    surprise = setTimeout(giveUp, duration + LATEST_SURPRISE);
    const isWhole = await readAll(decoded(response), (text) => {
      if (isEnough) return;
      parser.feed(text);
      characters += text.length;
      if (characters > LONGEST_SURPRISE) giveUp();
    });
    return {
      url,
      status: response.statusCode ?? 0,
      headers: Object.fromEntries(
        Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
      ),
      headersAt,
      events,
      strangers,
      ending: endingOf(isLate, isGivenUp || (isWhole && response.complete)),
      endedAt: now(),
    };
  } finally {
    clearTimeout(timer);
    clearTimeout(surprise);
    sent.destroy();
  }
}

function endingOf(isLate: boolean, isComplete: boolean): Measurement['ending'] {
  if (isLate) return 'timeout';
  return isComplete ? 'complete' : 'cut';
}

/** `undefined` for what another server calls a probe. */
function readProbe(data: string): ProbeEvent | undefined {
  try {
    const { padding: _padding, ...event } = JSON.parse(data);
    return typeof event.number === 'number' && typeof event.at === 'number' ? event : undefined;
  } catch {
    return undefined;
  }
}

/** @returns whether it came to its end */
async function readAll(stream: Readable, onText: (text: string) => void): Promise<boolean> {
  stream.setEncoding('utf8');
  stream.on('data', onText);
  return new Promise((resolve) => {
    stream.once('end', () => resolve(true));
    stream.once('error', () => resolve(false));
    stream.once('close', () => resolve(false));
  });
}

/** Without waiting for whole blocks: what has come is to be seen now. */
const flush = { flush: constants.Z_SYNC_FLUSH };
const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: () => createGunzip(flush),
  'x-gzip': () => createGunzip(flush),
  deflate: () => createInflate(flush),
  br: () => createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
};

/** Whether a body in a content encoding can be read here. */
export function isReadable(encoding = 'identity'): boolean {
  return encoding === 'identity' || Object.hasOwn(decoders, encoding.toLowerCase());
}

function decoded(response: IncomingMessage): Readable {
  const encoding = response.headers['content-encoding']?.toLowerCase() ?? 'identity';
  const decoder = Object.hasOwn(decoders, encoding) ? decoders[encoding]?.() : undefined;
  if (decoder === undefined) return response;
  response.once('error', (error) => decoder.destroy(error));
  response.once('aborted', () => decoder.destroy());
  return response.pipe(decoder);
}
