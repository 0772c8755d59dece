import { inspect } from 'node:util';
import createDebug from 'debug';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { type CommandOptions, commandFor } from './claude/command.js';
import type { ClaudeMessage } from './claude/messages.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest, EncoderContext, JsonResponse } from './formats/format.js';
import {
  type ClaudeStreamOptions,
  type RunContext,
  readOptions,
  readOverrides,
  type Settings,
} from './options.js';
import type { Outcome } from './outcome.js';
import { createRunId, Run } from './run.js';
import { Runs } from './runs.js';
import { sendEventStream } from './sse/eventStream.js';

const debug = createDebug('claude-stream:run');

export interface ClaudeStreamHandler extends RequestHandler {
  /**
   * Stops every run and refuses new ones with 503. Settles when no process of this handler is alive; clients that are
   * still there get an ending that says so.
   */
  close(): Promise<void>;
}

/**
 * Express middleware that runs Claude Code for a request and streams what it does while it does it.
 *
 * @throws ClaudeStreamError `invalid_option`; `not_called` when it was mounted without parentheses
 */
export function claudeStream(options?: ClaudeStreamOptions): ClaudeStreamHandler {
  const settings = readOptions(options);
  const runs = new Runs();
  const handler = (request: Request, response: Response, next: NextFunction) => {
    // `next(undefined)` would mean that there was no error.
    serve(settings, runs, request, response).catch((error) =>
      next(error ?? new Error('The function "request" threw nothing.')),
    );
  };
  return Object.assign(handler, { close: () => runs.close() });
}

/** @throws what the application's own `request` function throws, and only while no headers have been sent */
async function serve(
  settings: Settings,
  runs: Runs,
  request: Request,
  response: Response,
): Promise<void> {
  // Before anything is awaited: a client that leaves now must not get a process later. A run that is over is not
  // affected; one that is not must not go on for a response that other middleware has ended, either.
  let gone = response.destroyed;
  let stalled = false;
  let run: Run | undefined;
  const leave = () => {
    gone = true;
    request.socket.off('close', abandon);
    run?.stop(stalled ? 'stalled' : 'disconnected');
  };
  response.once('close', leave);
  // The response to a pipelined request has no socket until its turn comes, and Node tells it of no 'close' before.
  const abandon = () => {
    if (response.socket !== null) return;
    response.destroy();
    response.emit('close');
  };

  const context: RunContext = { runId: createRunId(), request };
  const hooks = guardedHooks(settings.hooks, context);
  try {
    refuseIfSent(response);
    if (response.socket === null) request.socket.once('close', abandon);
    if (isReconnection(request)) {
      response.status(204).end();
      return;
    }
    // Express sends HEAD to the handler of GET; a monitor that asks for headers must not start Claude.
    if (request.method === 'HEAD') {
      response.status(405).end();
      return;
    }
    if (runs.closed) throw shuttingDown();
    const { chat, commandOptions } = await readRequest(settings, request);
    const command = commandFor(commandOptions, chat.turn, context.runId, process.env);
    refuseIfTooLarge(command.stdin, chat.turn.system, settings.maxPromptBytes);
    if (gone) return;
    if (runs.closed) throw shuttingDown();

    const encoderContext: EncoderContext = {
      runId: context.runId,
      startedAt: Date.now(),
      request: chat,
      toolDisplay: settings.toolDisplay,
      exposeErrors: settings.exposeErrors,
    };
    const collector = chat.stream ? undefined : settings.format.collector(encoderContext);
    let collected: JsonResponse | undefined;
    run = new Run(context.runId, { ...settings, onMessage: hooks.onMessage }, (emit) =>
      collector
        ? {
            message: (message) => collector.message(message),
            end: (outcome) => {
              collected = collector.end(outcome);
            },
          }
        : settings.format.encoder(encoderContext, emit),
    );
    runs.add(run);
    const source = collector ? undefined : run.reader(settings.highWaterMark);
    await run.start(command);
    hooks.onStart(run.pid ?? 0);
    const ended = run.outcome.then(hooks.onEnd);
    if (gone) run.stop('disconnected');
    else response.setHeader('Claude-Run-Id', context.runId);
    if (source) {
      sendEventStream(response, source, settings, () => {
        stalled = true;
        hooks.onError(
          new ClaudeStreamError('interrupted', 'The client read nothing for stallTimeout.'),
        );
      });
    }
    await ended;
    if (collected) sendJson(response, collected, settings.stallTimeout);
  } catch (error) {
    // Nobody is left to read it: without this the process would go on alone.
    run?.stop('disconnected');
    if (!(error instanceof ClaudeStreamError)) throw error;
    hooks.onError(error);
    if (error.code === 'response_already_sent') {
      // An answer that is complete must not be torn down by an error handler; one that is not, must.
      if (response.writableEnded) return;
      throw error;
    }
    const message = settings.exposeErrors ? error.message : error.publicMessage;
    if (error.status === 503) response.setHeader('Retry-After', '5');
    const body = settings.format.errorBody(error.code, message);
    sendJson(response, { status: error.status, body }, settings.stallTimeout);
  }
}

async function readRequest(
  settings: Settings,
  request: Request,
): Promise<{ chat: ChatRequest; commandOptions: CommandOptions }> {
  if (settings.request === undefined) {
    const chat = settings.format.read(request.body);
    return { chat: withOfferedModel(chat, settings), commandOptions: settings.command };
  }
  const { command, body } = readOverrides(await settings.request(request));
  const { prompt, messages, ...rest } = isObject(request.body) ? request.body : {};
  // The application's prompt replaces the client's, whichever of the two fields it came in, and so does every field
  // that it names, be it with `undefined`: a session that a user does not have must not be one that the client names.
  const asked = 'prompt' in body || 'messages' in body ? {} : { prompt, messages };
  const chat = withOfferedModel(settings.format.read({ ...rest, ...asked, ...body }), settings);
  return {
    // What the application says itself needs no offer, and stands above the client's wish.
    chat: {
      ...chat,
      turn: {
        ...chat.turn,
        model: command.model ?? chat.turn.model,
        effort: command.effort ?? chat.turn.effort,
      },
    },
    commandOptions: { ...settings.command, ...command },
  };
}

/** A request may choose among `models`; without that option its model is ignored. */
function withOfferedModel(chat: ChatRequest, { models }: Settings): ChatRequest {
  const { model } = chat.turn;
  if (model === undefined) return chat;
  if (models === undefined) return { ...chat, turn: { ...chat.turn, model: undefined } };
  if (models.includes(model)) return chat;
  throw new ClaudeStreamError(
    'model_not_offered',
    `The model "${model.slice(0, 100)}" is not offered. Offered are: ${models.join(', ')}.`,
  );
}

/**
 * An EventSource reconnects after every end and says where it was. Running the prompt again would cost the user a
 * second answer, so it is told that there is nothing more, which also stops it.
 */
function isReconnection(request: Request): boolean {
  return request.headers['last-event-id'] !== undefined;
}

function refuseIfSent(response: Response): void {
  if (!response.headersSent && !response.writableEnded) return;
  throw new ClaudeStreamError(
    'response_already_sent',
    'The response was already sent when the request reached claudeStream(). Earlier middleware must either answer ' +
      'or call next(), not both.',
  );
}

/** Linux takes 128 KiB an argument, and the application's own system prompt stands in the same one. */
const LONGEST_SYSTEM_TEXT = 100 * 1_024;

function refuseIfTooLarge(stdin: string, system: string | undefined, maxPromptBytes: number): void {
  if (Buffer.byteLength(stdin) > maxPromptBytes) {
    throw new ClaudeStreamError(
      'prompt_too_large',
      `The prompt is larger than ${maxPromptBytes} bytes.`,
    );
  }
  if (Buffer.byteLength(system ?? '') > LONGEST_SYSTEM_TEXT) {
    throw new ClaudeStreamError(
      'prompt_too_large',
      `The system messages are larger than ${LONGEST_SYSTEM_TEXT} bytes. Move what is long into a user message.`,
    );
  }
}

function shuttingDown(): ClaudeStreamError {
  return new ClaudeStreamError('shutting_down', 'claudeStream was closed: no new runs.');
}

/** Errors after the spawn say `x-should-retry: false`, or the openai SDK would run Claude two more times. */
function sendJson(
  response: Response,
  { status, body }: JsonResponse,
  stallTimeout: number | false,
): void {
  if (response.destroyed || response.headersSent) return;
  if (status >= 400 && response.hasHeader('Claude-Run-Id')) {
    response.setHeader('x-should-retry', 'false');
  }
  // Node counts only a socket on which nothing moves, and sets its own timeout again after the response.
  if (stallTimeout !== false) response.setTimeout(stallTimeout, () => response.destroy());
  response.status(status).json(body);
}

/**
 * The application's hooks. What one of them throws, or rejects with, must not end a run: it goes to `onError`, once for
 * each hook, since `onMessage` may be called a hundred thousand times.
 */
function guardedHooks(hooks: Settings['hooks'], context: RunContext) {
  const reported = new Set<string>();
  const guarded = (name: string, call: () => unknown, onFailure: (cause: unknown) => void) => {
    const fail = (cause: unknown) => {
      if (!reported.has(name)) onFailure(cause);
      reported.add(name);
    };
    try {
      const returned = call();
      if (returned !== undefined) Promise.resolve(returned).catch(fail);
    } catch (cause) {
      fail(cause);
    }
  };
  const report = (error: ClaudeStreamError) => {
    debug('%s: %o', context.runId, error);
    guarded(
      'onError',
      () => hooks.onError?.(error, context),
      (cause) => process.emitWarning(`claude-stream: the hook onError failed: ${inspect(cause)}`),
    );
  };
  const run = (name: string, call: () => unknown) =>
    guarded(name, call, (cause) =>
      report(
        new ClaudeStreamError('hook_failed', `The hook ${name} failed: ${inspect(cause)}`, {
          cause,
        }),
      ),
    );
  const { onMessage } = hooks;
  return {
    onError: report,
    onStart: (pid: number) => run('onStart', () => hooks.onStart?.({ ...context, pid })),
    onMessage: onMessage
      ? (message: ClaudeMessage) => run('onMessage', () => onMessage(message, context))
      : () => {},
    onEnd: (outcome: Outcome) => {
      run('onEnd', () => hooks.onEnd?.(outcome, context));
      if (outcome.status !== 'success' && outcome.status !== 'interrupted') {
        report(new ClaudeStreamError(outcome.code, operatorMessage(outcome)));
      }
    },
  };
}

function operatorMessage(outcome: Exclude<Outcome, { status: 'success' }>): string {
  if (outcome.status === 'crashed') return outcome.detail;
  const stderr = outcome.stderrTail.trim();
  return stderr === '' ? outcome.message : `${outcome.message}\n${stderr}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
