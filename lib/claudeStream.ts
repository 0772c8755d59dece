import createDebug from 'debug';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { type ClaudeStreamOptions, readOptions } from './options.js';
import { serveCancel } from './serveCancel.js';
import { serveChat } from './serveChat.js';
import { followingAt, positionOf, serveReplay } from './serveReplay.js';
import { serveResume } from './serveResume.js';
import { type CloseOptions, Service } from './service.js';
import type { RunRecord } from './stores/store.js';

const debug = createDebug('claude-stream:store');

/** A run that is going on. */
export interface RunInfo extends RunRecord {
  /** Whether it belongs to this instance. */
  readonly isLocal: boolean;
  /**
   * Its process, once it has one: a run that waits for its turn has none. Like `clients`, those who follow it here, only
   * known of a run of this instance.
   */
  readonly pid: number | undefined;
  readonly clients: number | undefined;
  /** How many events it has had, as far as this instance knows. */
  readonly events: number;
}

export interface ClaudeStreamHandler extends RequestHandler {
  /**
   * The events of a run after `Last-Event-ID` or `?after=`, and on until its end. Needs a store that keeps runs, and a
   * route with the parameter `run`: `app.get('/chat/:run', chat.replay)`. Never starts a process.
   */
  readonly replay: RequestHandler;
  /**
   * The run that is going on in a conversation of the AI SDK's `useChat`, from its first event on; 204 when none is. Needs
   * a store that keeps runs, and a route with the parameter `chat`: `app.get('/api/chat/:chat/stream', chat.resume)`.
   */
  readonly resume: RequestHandler;
  /** Stops a run, and answers with its outcome: `app.delete('/chat/:run', chat.cancel)`. */
  readonly cancel: RequestHandler;
  /** The runs that are going on, on every instance that shares the store. */
  runs(): Promise<RunInfo[]>;
  /**
   * Refuses new runs and those that wait for their turn with 503, lets those that are going on end for `grace` ms, and
   * stops the rest; clients that are still there get an ending that says so. Settles when no process of this handler is
   * alive.
   *
   * @throws ClaudeStreamError `invalid_option`
   */
  close(options?: CloseOptions): Promise<void>;
}

/**
 * Express middleware that runs Claude Code for a request and streams what it does while it does it.
 *
 * @throws ClaudeStreamError `invalid_option`; `not_called` when it was mounted without parentheses
 */
export function claudeStream(options?: ClaudeStreamOptions): ClaudeStreamHandler {
  const service = new Service(readOptions(options));
  return Object.assign(
    handlerOf((request, response) => serveChat(service, request, response)),
    {
      replay: handlerOf((request, response) =>
        serveReplay(service, request, response, async () =>
          followingAt(service, request, positionOf(request)),
        ),
      ),
      resume: handlerOf((request, response) => serveResume(service, request, response)),
      cancel: handlerOf((request, response) => serveCancel(service, request, response)),
      runs: () => runningRuns(service),
      close: (closeOptions?: CloseOptions) => service.close(closeOptions),
    },
  );
}

function handlerOf(
  serve: (request: Request, response: Response) => Promise<void>,
): (request: Request, response: Response, next: NextFunction) => void {
  return (request, response, next) => {
    // `next(undefined)` would mean that there was no error.
    serve(request, response).catch((error) =>
      next(error ?? new Error("One of the application's functions threw nothing.")),
    );
  };
}

async function runningRuns({ runs, settings }: Service): Promise<RunInfo[]> {
  const local = runs.list().map(({ record, pid, attendance, run }) => ({
    ...record,
    isLocal: true,
    pid,
    clients: attendance.present,
    events: run.lastFrame,
  }));
  // A store that fails must not hide the runs that are here.
  const kept = await Promise.resolve(settings.runStore?.list()).catch((error) => {
    debug('the runs could not be listed: %o', error);
    return [];
  });
  const elsewhere = (kept ?? [])
    .filter(({ record, state }) => state === 'running' && !runs.find(record.runId))
    .map(({ record, last }) => ({
      ...record,
      isLocal: false,
      pid: undefined,
      clients: undefined,
      events: last,
    }));
  return [...local, ...elsewhere];
}
