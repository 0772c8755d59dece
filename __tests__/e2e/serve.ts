import { EventEmitter, once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  type ClaudeStreamHandler,
  type ClaudeStreamOptions,
  claudeStream,
  type Outcome,
} from 'claude-stream';
import express5, { type RequestHandler } from 'express';
import express4 from 'express4';
import { afterTest } from './afterTest';
import { killAll } from './processes';

export const expressVersions = { 'Express 4': express4, 'Express 5': express5 };

export interface Server {
  readonly origin: string;
  readonly port: number;
  /** The route of the middleware. */
  readonly url: string;
  readonly chat: ClaudeStreamHandler;
  /** The ids of the runs that have been started, in order. */
  readonly started: readonly string[];
  /** Settles with the id of the first run that says something. */
  firstToSpeak(): Promise<string>;
  /** Settles with how a run ended. */
  outcomeOf(runId: string): Promise<Outcome>;
}

/** The path of a fixture executable. */
export const fixture = (name: string) => join(__dirname, '..', 'fixtures', `${name}.js`);

/**
 * Starts an application with the middleware on the loopback; the test's end stops it.
 *
 * @param before middleware in front of it, such as `compression()`
 */
export async function serve(
  options: ClaudeStreamOptions,
  {
    express = express5,
    before = [],
  }: { express?: typeof express5; before?: RequestHandler[] } = {},
): Promise<Server> {
  const started: string[] = [];
  let spoken: string | undefined;
  const outcomes = new Map<string, Outcome>();
  const news = new EventEmitter();
  const chat = claudeStream({
    ...options,
    onStart: ({ runId }) => {
      started.push(runId);
    },
    onMessage: (_message, { runId }) => {
      spoken ??= runId;
      news.emit('message');
    },
    onEnd: (outcome) => {
      outcomes.set(outcome.runId, outcome);
      news.emit(outcome.runId);
    },
  });
  const app = express();
  for (const middleware of before) app.use(middleware);
  app.use(express.json({ limit: '1mb' }));
  app.post('/chat', chat);
  app.post('/v1/chat/completions', chat);

  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    await chat.close();
    // Only a test that has failed leaves something to kill.
    for (const runId of started) killAll(runId);
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    port,
    url: `${origin}/chat`,
    chat,
    started,
    async firstToSpeak() {
      if (spoken === undefined) await once(news, 'message');
      return String(spoken);
    },
    async outcomeOf(runId) {
      if (!outcomes.has(runId)) await once(news, runId);
      return outcomes.get(runId) as Outcome;
    },
  };
}
