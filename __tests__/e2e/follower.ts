import { EventEmitter, once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';

/** An event as it came, and when: ms on the clock of `performance.now()`. */
export interface SeenFrame {
  readonly text: string;
  readonly event: string | undefined;
  /** The number in its id; `undefined` for one without an id. */
  readonly number: number | undefined;
  readonly data: string;
  readonly at: number;
}

/** A client of an event stream that keeps every event, in a Node that never comes back by itself. */
export class Follower {
  readonly runId: string;
  readonly frames: SeenFrame[] = [];
  /** Settles with whether the stream was ended, and not cut off. */
  readonly ended: Promise<boolean>;
  readonly #response: IncomingMessage;
  readonly #news = new EventEmitter();
  #over = false;

  constructor(response: IncomingMessage) {
    this.#response = response;
    this.runId = String(response.headers['claude-run-id']);
    this.ended = this.#read();
  }

  /** Settles when there are so many events; fails when the stream is over before. */
  async seen(count: number): Promise<void> {
    while (this.frames.length < count) {
      if (this.#over) throw new Error(`The stream is over after ${this.frames.length} events.`);
      await once(this.#news, 'news');
    }
  }

  get text(): string {
    return this.frames.map(({ text }) => text).join('');
  }

  get numbers(): (number | undefined)[] {
    return this.frames.map(({ number }) => number);
  }

  get last(): SeenFrame {
    const frame = this.frames.at(-1);
    if (frame === undefined) throw new Error('There was no event.');
    return frame;
  }

  leave(): void {
    this.#response.destroy();
  }

  async #read(): Promise<boolean> {
    let rest = '';
    this.#response.setEncoding('utf8');
    this.#response.on('data', (chunk) => {
      const blocks = `${rest}${chunk}`.split('\n\n');
      rest = blocks.pop() ?? '';
      this.frames.push(...blocks.flatMap(frameOf));
      this.#news.emit('news');
    });
    this.#response.on('error', () => {});
    await new Promise((resolve) => this.#response.once('close', resolve));
    this.#over = true;
    this.#news.emit('news');
    return this.#response.complete && rest === '';
  }
}

function frameOf(block: string): SeenFrame[] {
  if (/^: |^retry: \d+\nid: .+:\d+$/.test(block)) return [];
  const [, event, id, data] = /^(?:event: (.+)\n)?(?:id: .+:(\d+)\n)?data: (.+)$/.exec(block) ?? [];
  if (data === undefined) throw new Error(`Not an event: ${block.slice(0, 200)}`);
  const number = id === undefined ? undefined : Number(id);
  return [{ text: `${block}\n\n`, event, number, data, at: performance.now() }];
}

/** Asks for an answer and follows it. */
export function begin(url: string, prompt = 'hi'): Promise<Follower> {
  return open(url, 'POST', { 'content-type': 'application/json' }, JSON.stringify({ prompt }));
}

/**
 * Follows a run.
 *
 * @param url of the route, with the run's id as its last part
 * @param after the number of the last event that was seen
 */
export function follow(url: string, after = 0): Promise<Follower> {
  const runId = url.split('/').at(-1);
  return open(url, 'GET', after === 0 ? {} : { 'last-event-id': `${runId}:${after}` });
}

async function open(url: string, method: string, headers: Record<string, string>, body?: string) {
  const sent = request(url, { method, agent: false, headers });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  expect(response.statusCode).toBe(200);
  return new Follower(response);
}

/** 1, 2, 3 … */
export const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
