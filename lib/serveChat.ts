import type { Request, Response } from 'express';
import { ClaudeStreamError } from './errors.js';
import { guardedHooks } from './hooks.js';
import type { RunContext } from './options.js';
import { keyOf, readRequest } from './readRequest.js';
import { createRunId } from './run.js';
import { sendError } from './sendJson.js';
import { followingAt, lastEventId, parsePosition, serveReplay } from './serveReplay.js';
import { serveRun } from './serveRun.js';
import { type Service, shuttingDown } from './service.js';
import { watchClient } from './watchClient.js';

/**
 * One request from end to end: read it, run Claude, stream the answer, say how it ended.
 *
 * @throws what the application's own functions `request` and `key` throw, and only while no headers have been sent
 */
export async function serveChat(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  const { settings, runs } = service;
  const context: RunContext = { runId: createRunId(), request };
  const hooks = guardedHooks(settings.hooks, context);
  // Before anything is awaited: a client that leaves now must not get a process later.
  const client = watchClient(request, response);
  try {
    refuseIfSent(response);
    client.watchPipeline();
    if (isReconnection(request)) {
      await serveReconnection(service, request, response);
      return;
    }
    // Express sends HEAD to the handler of GET; a monitor that asks for headers must not start Claude.
    if (request.method === 'HEAD') {
      response.status(405).end();
      return;
    }
    if (runs.closed) throw shuttingDown();
    const planned = await readRequest(settings, service.models, request);
    const key = keyOf(settings, request);
    if (client.gone) return;
    if (runs.closed) throw shuttingDown();
    await serveRun(service, { planned, key, context, hooks, client, response });
  } catch (error) {
    if (!(error instanceof ClaudeStreamError)) throw error;
    hooks.onError(error);
    if (error.code === 'response_already_sent') {
      // An answer that is complete must not be torn down by an error handler; one that is not, must.
      if (response.writableEnded) return;
      throw error;
    }
    sendError(response, settings, error);
  }
}

/**
 * An EventSource reconnects after every end and says where it was. Running the prompt again would cost the user a
 * second answer, so it gets the rest of the first, or is told that there is nothing more, which also stops it.
 */
function isReconnection(request: Request): boolean {
  return request.headers['last-event-id'] !== undefined;
}

async function serveReconnection(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  const position = parsePosition(lastEventId(request) ?? '');
  if (service.settings.runStore === undefined || position === undefined) response.status(204).end();
  else {
    await serveReplay(service, request, response, () => followingAt(service, request, position));
  }
}

function refuseIfSent(response: Response): void {
  if (!response.headersSent && !response.writableEnded) return;
  throw new ClaudeStreamError(
    'response_already_sent',
    'The response was already sent when the request reached claudeStream(). Earlier middleware must either answer ' +
      'or call next(), not both.',
  );
}
