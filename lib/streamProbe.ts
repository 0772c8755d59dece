import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Request, RequestHandler } from 'express';
import { sendEventStream } from './sse/eventStream.js';
import { encodeFrame } from './sse/frames.js';

/** Most probes at once: each is a connection that somebody may hold for minutes. */
const MOST_AT_ONCE = 20;

/** How long a client may read nothing, in ms. */
const STALL_TIMEOUT = 60_000;

/** Most events of a probe. */
export const MOST_EVENTS = 200;

const settings = {
  /** How many events. */
  events: { default: 24, least: 1, most: MOST_EVENTS },
  /** ms between two. */
  interval: { default: 100, least: 0, most: 5_000 },
  /** Bytes that each is padded with, which cannot be compressed. By default an event is as long as a delta of the CLI. */
  padding: { default: 160, least: 0, most: 65_536 },
  /** ms between two more in the middle: what a hop holds back until more comes shows there. */
  pause: { default: 600, least: 0, most: 60_000 },
  /** ms before the last event in which nothing is sent, no comment either. */
  silence: { default: 0, least: 0, most: 15 * 60_000 },
} as const;

type ProbeSettings = Record<keyof typeof settings, number>;

/** The data of an event of a probe. */
export interface ProbeEvent {
  /** From 1. */
  readonly number: number;
  readonly of: number;
  /** When it was written: ms since the request reached the application. */
  readonly at: number;
}

/**
 * Middleware that sends numbered events with the time at which each was written, as `claudeStream` would, but without any
 * CLI: `app.get('/probe', streamProbe())`. `npx claude-stream doctor <url>` reads them and tells what the hops in between
 * do to a stream.
 *
 * It costs a timer and a connection for each client, 20 of them at most; it tells nothing of the server.
 */
export function streamProbe(): RequestHandler {
  let atOnce = 0;
  return (request, response) => {
    if (request.method !== 'GET') {
      response.setHeader('Allow', 'GET');
      response.status(405).end();
      return;
    }
    const probe = readSettings(request);
    if (probe === undefined) {
      response.status(400).json({ error: { code: 'invalid_request', message: WRONG_SETTINGS } });
      return;
    }
    if (atOnce >= MOST_AT_ONCE) {
      response.setHeader('Retry-After', '5');
      response.status(429).json({ error: { message: 'Too many probes at once.' } });
      return;
    }
    atOnce += 1;
    response.once('close', () => {
      atOnce -= 1;
    });
    const options = { keepAlive: false, stallTimeout: STALL_TIMEOUT } as const;
    sendEventStream(response, new ProbeFrames(probe), options, () => {});
  };
}

/** Bytes of padding in all: it is what a client that does not read can have held for it. */
const MOST_PADDING = 2 ** 20;

/** What a query may have. */
export const WRONG_SETTINGS = `The query may have ${Object.entries(settings)
  .map(([name, { least, most }]) => `"${name}" (${least} to ${most})`)
  .join(', ')}, and 1 MiB of padding in all.`;

/** How long a probe with such a query sends, in ms; nothing when it is refused. */
export function durationOf(query: Readonly<Record<string, string>>): number {
  const probe = readSettings({ query });
  return probe ? probe.events * probe.interval + probe.pause + probe.silence : 0;
}

function readSettings({ query }: Pick<Request, 'query'>): ProbeSettings | undefined {
  const read = Object.entries(settings).map(([name, { default: fallback, least, most }]) => {
    const { [name]: text = String(fallback) } = query;
    const value = typeof text === 'string' && /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    return [name, value >= least && value <= most ? value : undefined] as const;
  });
  if (read.some(([, value]) => value === undefined)) return undefined;
  const probe = Object.fromEntries(read) as ProbeSettings;
  return probe.events * probe.padding > MOST_PADDING ? undefined : probe;
}

/** The events, each at its time. */
class ProbeFrames extends Readable {
  readonly #settings: ProbeSettings;
  readonly #began = performance.now();
  #number = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(probe: ProbeSettings) {
    super();
    this.#settings = probe;
  }

  override _construct(callback: () => void): void {
    callback();
    this.#next();
  }

  /** What is pushed is pushed by the clock; at most all events are held, which is little. */
  override _read(): void {}

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#timer);
    callback(error);
  }

  #next(): void {
    const { events, interval, pause, silence } = this.#settings;
    if (this.#number >= events) {
      this.push(null);
      return;
    }
    const isLast = this.#number === events - 1;
    const isMiddle = this.#number === Math.ceil(events / 2) && !isLast;
    const wait = isLast && silence > 0 ? silence : interval + (isMiddle ? pause : 0);
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  #send(): void {
    this.#number += 1;
    const { events, padding } = this.#settings;
    const event: ProbeEvent = {
      number: this.#number,
      of: events,
      at: Math.round((performance.now() - this.#began) * 10) / 10,
    };
    // Random, or a hop that compresses would hold it for longer than it would a real stream.
    const filler = randomBytes(Math.ceil((padding * 3) / 4)).toString('base64');
    const data = JSON.stringify({ ...event, padding: filler });
    this.push(Buffer.from(encodeFrame(undefined, data, 'probe')));
    this.#next();
  }
}
