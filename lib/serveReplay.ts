import type { Request, Response } from 'express';
import { channels } from './diagnostics.js';
import { ClaudeStreamError, type ErrorCode } from './errors.js';
import { type FoundRun, findRun, isOver } from './findRun.js';
import { guardedHooks } from './hooks.js';
import { replay } from './replay.js';
import { sendError } from './sendJson.js';
import type { Service } from './service.js';
import { sendEventStream } from './sse/eventStream.js';
import type { Position } from './sse/frames.js';
import type { KeptRun } from './stores/store.js';
import { watchClient } from './watchClient.js';

/** How long an EventSource waits before it comes back, in ms. */
const RECONNECTION_TIME = 1_000;

/** Where a client was: of which run, and the number of the event that it had last. */
export interface StreamPosition {
  readonly runId: string;
  readonly after: number;
}

/** A run that a client may follow, and the number of the event that it had last. */
export interface Following {
  readonly found: FoundRun;
  readonly after: number;
}

/**
 * The events of a run that a client has not had yet, and on until its end. Never starts a process.
 *
 * @param find what the client asks for; `undefined` when there is nothing for it
 * @throws what the application's own `authorize` function throws, and only while no headers have been sent
 */
export async function serveReplay(
  service: Service,
  request: Request,
  response: Response,
  find: () => Promise<Following | undefined>,
): Promise<void> {
  const { settings } = service;
  const { runStore, format, highWaterMark } = settings;
  const client = watchClient(request, response);
  client.watchPipeline();
  try {
    if (request.method === 'HEAD') {
      response.setHeader('Allow', 'GET');
      response.status(405).end();
      return;
    }
    if (service.closed) {
      throw new ClaudeStreamError('shutting_down', 'claudeStream was closed: no replays.');
    }
    const following = await find();
    if (client.gone) return;
    if (following === undefined) {
      response.status(204).end();
      return;
    }
    const { found, after } = following;
    const { runId, local, kept } = found;
    response.setHeader('Claude-Run-Id', runId);
    const last = local ? local.run.lastFrame : (kept?.last ?? 0);
    if (isOver(found) && after >= last && !(after > last && isLost(kept))) {
      response.status(204).end();
      return;
    }
    if (runStore === undefined) {
      throw new ClaudeStreamError('run_not_found', 'There is no store: no run can be replayed.');
    }
    const source = replay({
      runId,
      after,
      runs: runStore,
      local: local?.run,
      format,
      highWaterMark,
      signal: service.closing,
    });
    channels.replay({ runId, request, after, isLocal: local !== undefined });
    client.onLeave = local?.attendance.enter();
    const options = { ...settings, headers: format.headers, position: positionAt(runId, after) };
    sendEventStream(response, source, options, () => {
      client.stalled = true;
      channels.stall({ runId, request, stallTimeout: settings.stallTimeout });
    });
  } catch (error) {
    answerError(service, request, response, error);
  }
}

/** Whether its owner is gone, and with it perhaps events that a client has had. */
function isLost(kept: KeptRun | undefined): boolean {
  const code: ErrorCode = 'owner_lost';
  return kept?.end !== undefined && JSON.parse(kept.end).code === code;
}

/** The run of a request that says where its client was. */
export async function followingAt(
  service: Service,
  request: Request,
  { runId, after }: StreamPosition,
): Promise<Following> {
  return { found: await findRun(service, request, runId), after };
}

/** What goes wrong before the headers; the application's own errors are not ours to answer. */
export function answerError(
  { settings }: Service,
  request: Request,
  response: Response,
  error: unknown,
): void {
  if (!(error instanceof ClaudeStreamError)) throw error;
  // A client that asks for what is going on in a chat has named no run.
  const { run = '' } = request.params;
  const runId = parsePosition(lastEventId(request) ?? '')?.runId ?? String(run);
  guardedHooks(settings.hooks, { runId, request }).onError(error);
  sendError(response, settings, error);
}

/**
 * Where a client says that it was: `Last-Event-ID`, which an EventSource sends when it comes back, before `?after=` of
 * its URL.
 *
 * @throws ClaudeStreamError `invalid_request`
 */
export function positionOf(request: Request): StreamPosition {
  const runId = runIdOf(request);
  const header = lastEventId(request);
  if (header !== undefined) {
    const position = parsePosition(header);
    if (position?.runId === runId) return position;
    throw new ClaudeStreamError(
      'invalid_request',
      'The header Last-Event-ID is not the id of an event of this run.',
    );
  }
  const { after = '0' } = request.query;
  const id = typeof after === 'string' && /^\d+$/.test(after) ? `${runId}:${after}` : String(after);
  const position = parsePosition(id);
  if (position?.runId !== runId) {
    throw new ClaudeStreamError(
      'invalid_request',
      '"after" must be the id of an event of this run, or its number.',
      {
        field: 'after',
      },
    );
  }
  return position;
}

/** @throws ClaudeStreamError `invalid_option` when the route names no run */
export function runIdOf({ params }: Request): string {
  const { run } = params;
  if (typeof run === 'string' && run !== '') return run;
  throw new ClaudeStreamError(
    'invalid_option',
    "The route has no parameter \"run\". Write app.get('/chat/:run', chat.replay), and app.delete('/chat/:run', chat.cancel).",
  );
}

export function lastEventId({ headers }: Request): string | undefined {
  const id = headers['last-event-id'];
  return typeof id === 'string' && id !== '' ? id : undefined;
}

/** What a client is told of where it is; `after` is 0 before the first event. */
export function positionAt(runId: string, after: number): Position {
  return { id: `${runId}:${after}`, retry: RECONNECTION_TIME };
}

/** `<run>:<number>`, as every event of a run is called. */
export function parsePosition(id: string): StreamPosition | undefined {
  const [, runId, number] = /^(.+):(\d{1,15})$/.exec(id) ?? [];
  return runId === undefined ? undefined : { runId, after: Number(number) };
}
