import { EventEmitter, once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  type ClaudeStreamError,
  type ClaudeStreamHandler,
  type ClaudeStreamOptions,
  claudeStream,
  type OpenAIRouter,
  type OpenAIRouterOptions,
  type Outcome,
  openaiRouter,
} from 'claude-stream';
import express5, { type Express, type RequestHandler } from 'express';
import express4 from 'express4';
import { afterTest } from './afterTest';
import { killAll } from './processes';

export const expressVersions = { 'Express 4': express4, 'Express 5': express5 };

/** What has become of the runs of a middleware or a router. */
export interface Runs {
  /** Their ids, in the order in which they were started. */
  readonly started: readonly string[];
  /** Settles with the id of the first run that says something. */
  firstToSpeak(): Promise<string>;
  /** Settles with how a run ended. */
  outcomeOf(runId: string): Promise<Outcome>;
  /** When it ended, on the clock of `performance.now()`; `undefined` while it goes on. */
  endedAt(runId: string): number | undefined;
}

export interface Server extends Runs {
  readonly origin: string;
  readonly port: number;
  /** The route of the middleware; those of its runs are below it. */
  readonly url: string;
  readonly chat: ClaudeStreamHandler;
}

/** An application with `openaiRouter` at /v1. */
export interface RouterServer extends Runs {
  readonly origin: string;
  readonly port: number;
  /** What a client is given as the URL of the API. */
  readonly baseURL: string;
  readonly router: OpenAIRouter;
  /** What `onError` was told. */
  readonly errors: readonly ClaudeStreamError[];
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
  const { hooks, runs } = watchRuns();
  const chat = claudeStream({ ...options, ...hooks });
  const app = express();
  for (const middleware of before) app.use(middleware);
  app.use(express.json({ limit: '1mb' }));
  app.post('/chat', chat);
  app.get('/chat', chat);
  app.get('/chat/:run', chat.replay);
  app.delete('/chat/:run', chat.cancel);
  app.get('/chat/:chat/stream', chat.resume);
  app.post('/v1/chat/completions', chat);
  app.post('/v1/messages', chat);
  const { port, origin } = await listen(app, () => chat.close(), runs);
  return { ...runs, origin, port, url: `${origin}/chat`, chat };
}

/** The same with the router, which reads bodies itself. */
export async function serveRouter(
  options: OpenAIRouterOptions,
  express: typeof express5 = express5,
): Promise<RouterServer> {
  const { hooks, runs } = watchRuns();
  const errors: ClaudeStreamError[] = [];
  const router = openaiRouter({ ...options, ...hooks, onError: (error) => errors.push(error) });
  const app = express();
  app.use('/v1', router);
  const { port, origin } = await listen(app, () => router.close(), runs);
  return { ...runs, origin, port, baseURL: `${origin}/v1`, router, errors };
}

function watchRuns() {
  const started: string[] = [];
  let spoken: string | undefined;
  const outcomes = new Map<string, Outcome>();
  const ends = new Map<string, number>();
  const news = new EventEmitter();
  const hooks = {
    onStart: ({ runId }: { runId: string }) => {
      started.push(runId);
    },
    onMessage: (_message: unknown, { runId }: { runId: string }) => {
      spoken ??= runId;
      news.emit('message');
    },
    onEnd: (outcome: Outcome) => {
      ends.set(outcome.runId, performance.now());
      outcomes.set(outcome.runId, outcome);
      news.emit(outcome.runId);
    },
  };
  const runs: Runs = {
    started,
    async firstToSpeak() {
      if (spoken === undefined) await once(news, 'message');
      return String(spoken);
    },
    async outcomeOf(runId) {
      if (!outcomes.has(runId)) await once(news, runId);
      return outcomes.get(runId) as Outcome;
    },
    endedAt: (runId) => ends.get(runId),
  };
  return { hooks, runs };
}

async function listen(app: Express, close: () => Promise<void>, { started }: Runs) {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    await close();
    // Only a test that has failed leaves something to kill.
    for (const runId of started) killAll(runId);
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  const { port } = server.address() as AddressInfo;
  return { port, origin: `http://127.0.0.1:${port}` };
}
