import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import express, { type Express } from 'express';
import {
  type ClaudeStreamHandler,
  type ClaudeStreamOptions,
  claudeStream,
  memoryStore,
  type Outcome,
  type RunStore,
  type Store,
} from '../lib';

/** The path of a fixture executable. */
export const fixture = (name: string) => join(__dirname, 'fixtures', `${name}.js`);

/** The path of a recorded run. */
export const transcript = (name: string) =>
  join(__dirname, 'fixtures', 'transcripts', `${name}.jsonl`);

export interface ChatServer {
  readonly url: string;
  readonly handler: ClaudeStreamHandler;
  /** The outcomes so far, and the next one. */
  readonly outcomes: Outcome[];
  nextOutcome(): Promise<Outcome>;
  /** The pids of the processes started so far. */
  readonly pids: number[];
  readonly errors: { code: string; message: string }[];
  close(): Promise<void>;
}

/**
 * A real server with a fixture executable in the place of the CLI, on a port of its own.
 *
 * @param env the fixture's parameters
 */
export async function startChatServer(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
  application: (app: Express) => void = (app) => app.use(express.json({ limit: '50mb' })),
): Promise<ChatServer> {
  const outcomes: Outcome[] = [];
  const waiting: ((outcome: Outcome) => void)[] = [];
  const pids: number[] = [];
  const errors: ChatServer['errors'] = [];
  const handler = claudeStream({
    command: fixture(name),
    env,
    ...options,
    onStart: (context) => {
      pids.push(context.pid);
      return options.onStart?.(context);
    },
    onEnd: (outcome, context) => {
      outcomes.push(outcome);
      waiting.shift()?.(outcome);
      return options.onEnd?.(outcome, context);
    },
    onError: (error, context) => {
      errors.push({ code: error.code, message: error.message });
      return options.onError?.(error, context);
    },
  });
  const app = express();
  application(app);
  app.route('/chat').post(handler).get(handler);
  app.route('/chat/:run').get(handler.replay).delete(handler.cancel);
  app.get('/chat/:chat/stream', handler.resume);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/chat`,
    handler,
    outcomes,
    nextOutcome: () =>
      outcomes.length > 0
        ? Promise.resolve(outcomes[outcomes.length - 1] as Outcome)
        : new Promise((resolve) => waiting.push(resolve)),
    pids,
    errors,
    close: async () => {
      await handler.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Posts a body and reads the whole answer. */
export async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** A store of which one function for runs fails. */
export function storeFailingAt(method: keyof RunStore, { sessions, runs } = memoryStore()): Store {
  const failing = new Proxy(runs, {
    get: (target, name: keyof RunStore) =>
      name === method
        ? () => Promise.reject(new Error('/secret/place'))
        : target[name].bind(target),
  });
  return { sessions, runs: failing };
}

/** Sends a request without a body and reads the whole answer. */
export async function send(method: string, url: string, headers: Record<string, string> = {}) {
  const response = await fetch(url, { method, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** The text of a response, as it comes. */
export interface Reading {
  /** Settles with all that has come, once it fits or the response is over. */
  until(fits: (text: string) => boolean): Promise<string>;
  /** Settles with everything, at the end. */
  end(): Promise<string>;
}

/** Reads a response from now on. */
export function reading(response: http.IncomingMessage): Reading {
  let text = '';
  let over = false;
  const waiting = new Set<() => void>();
  const look = () => {
    for (const one of waiting) one();
  };
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    look();
  });
  response.once('close', () => {
    over = true;
    look();
  });
  const until = (fits: (text: string) => boolean) =>
    new Promise<string>((resolve) => {
      const one = () => {
        if (!over && !fits(text)) return;
        waiting.delete(one);
        resolve(text);
      };
      waiting.add(one);
      one();
    });
  return { until, end: () => until(() => false) };
}

/** Settles when no run of the server is going on, and everything to be kept of them is kept. */
export async function allKept({ handler }: Pick<ChatServer, 'handler'>): Promise<void> {
  while ((await handler.runs()).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Posts a body and hands over the response while it is still coming: for clients that leave, pause or never read. */
export async function open(url: string, body: unknown): Promise<http.IncomingMessage> {
  const request = http.request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  });
  request.on('error', () => undefined);
  request.end(JSON.stringify(body));
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  response.on('error', () => undefined);
  return response;
}

/** The events of a stream as text; comments, and what has no data, are left out. */
export function eventsOf(text: string): { event: string; id: string; data: string }[] {
  return text
    .split('\n\n')
    .filter((block) => /^data:/m.test(block))
    .map((block) => {
      const fields = Object.fromEntries(
        block
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      return { event: fields.event ?? 'message', id: fields.id ?? '', data: fields.data ?? '' };
    });
}

/** The text of an answer in the native format. */
export function textOf(stream: string): string {
  return eventsOf(stream)
    .filter(({ event }) => event === 'stream_event')
    .map(({ data }) => JSON.parse(data).event.delta?.text ?? '')
    .join('');
}

/** The last event of a stream in the native format. */
export function outcomeOf(stream: string): Outcome {
  const last = eventsOf(stream).at(-1);
  if (last?.event !== 'outcome') throw new Error(`The stream ends with ${last?.event}.`);
  return JSON.parse(last.data);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Settles when none of the processes is alive; fails after `ms`. */
export async function allGone(pids: readonly number[], ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  while (pids.some(isAlive)) {
    if (performance.now() > deadline) {
      throw new Error(`Still alive after ${ms} ms: ${pids.filter(isAlive)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
