import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { type Command, commandFor, inquiryFor, type Turn } from './claude/command.js';
import { listModels } from './claude/listModels.js';
import type { PermissionRequest } from './claude/permissionPrompts.js';
import { Conversations, type ConversationTurn } from './conversations/conversations.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest, EncoderContext, JsonResponse } from './formats/format.js';
import { guardedHooks } from './hooks.js';
import { Models } from './models.js';
import type { RunContext, Settings } from './options.js';
import { type PlannedRequest, readRequest, refuseIfTooLarge } from './readRequest.js';
import { createRunId, Run } from './run.js';
import { Runs } from './runs.js';
import { sendEventStream } from './sse/eventStream.js';

/** What the requests to one middleware share. */
export class Chat {
  readonly settings: Settings;
  readonly runs = new Runs();
  /** `undefined` when a request has no choice. */
  readonly models: Models | undefined;
  readonly conversations: Conversations | undefined;

  constructor(settings: Settings) {
    const { command, models, sessions } = settings;
    this.settings = settings;
    this.models =
      models === 'none'
        ? undefined
        : new Models(models === 'any' ? undefined : models, (signal) =>
            listModels(inquiryFor(command, createRunId(), process.env), signal),
          );
    this.conversations = sessions && new Conversations(sessions.store);
  }

  /** Stops every run and refuses new ones; settles when no process is alive. */
  async close(): Promise<void> {
    await Promise.all([this.runs.close(), this.models?.close()]);
  }
}

/**
 * One request from end to end: read it, run Claude, stream the answer, say how it ended.
 *
 * @throws what the application's own `request` function throws, and only while no headers have been sent
 */
export async function serveChat(shared: Chat, request: Request, response: Response): Promise<void> {
  const { settings, runs } = shared;
  // Before anything is awaited: a client that leaves now must not get a process later. A run that is over is not
  // affected; one that is not must not go on for a response that other middleware has ended, either.
  let gone = response.destroyed || request.socket.destroyed;
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
    const planned = await readRequest(settings, shared.models, request);
    const { chat } = planned;
    const conversation = gone ? undefined : await recognised(shared, planned, request);
    const command = commandTo(settings, planned, conversation, context.runId);
    if (gone) return;
    if (runs.closed) throw shuttingDown();

    const encoderContext: EncoderContext = {
      runId: context.runId,
      startedAt: Date.now(),
      request: chat,
      toolDisplay: settings.toolDisplay,
      exposeErrors: settings.exposeErrors,
      onAnswer: conversation && ((text) => conversation.answered(text)),
    };
    const collector = chat.stream ? undefined : settings.format.collector(encoderContext);
    let collected: JsonResponse | undefined;
    const { canUseTool } = settings;
    const runOptions = {
      ...settings,
      onSpawn: hooks.onStart,
      onMessage: hooks.onMessage,
      decidePermission:
        canUseTool && !chat.background
          ? (asked: PermissionRequest, signal: AbortSignal) =>
              canUseTool(asked, { ...context, signal })
          : undefined,
      onPermissionFailure: (cause: unknown) => hooks.onFailure('canUseTool', cause),
    };
    run = new Run(context.runId, runOptions, (emit) =>
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
    await run.start(
      command,
      conversation?.continuation && (() => commandTo(settings, planned, undefined, context.runId)),
    );
    conversation?.begun();
    const ended = run.outcome.then(hooks.onEnd);
    if (conversation) void run.outcome.then((outcome) => conversation.ended(outcome));
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
    sendError(response, settings, error);
  }
}

/** Answers with an error in the format's shape. */
export function sendError(
  response: Response,
  { exposeErrors, format, stallTimeout }: Settings,
  error: ClaudeStreamError,
): void {
  const { code, status, field } = error;
  const message = exposeErrors ? error.message : error.publicMessage;
  if (status === 503) response.setHeader('Retry-After', '5');
  sendJson(response, format.errorResponse({ code, message, field }), stallTimeout);
}

/** The process for a request; without a conversation it is told everything from the beginning. */
function commandTo(
  { canUseTool, maxPromptBytes }: Settings,
  { chat, commandOptions }: PlannedRequest,
  conversation: ConversationTurn | undefined,
  runId: string,
): Command {
  const asksPermission = canUseTool !== undefined && !chat.background;
  const turn = { ...chat.turn, ...continued(chat, conversation) };
  const command = commandFor(commandOptions, turn, runId, process.env, asksPermission);
  refuseIfTooLarge(command.stdin, maxPromptBytes);
  return command;
}

function continued(
  { conversation }: ChatRequest,
  turn: ConversationTurn | undefined,
): Pick<Turn, 'session' | 'forkAt' | 'content'> | undefined {
  if (conversation === undefined || turn?.continuation === undefined) return undefined;
  return { ...turn.continuation, content: conversation.content };
}

/** The conversation that a request goes on with, if it may be one that is known. */
async function recognised(
  { conversations, settings }: Chat,
  { chat, commandOptions }: PlannedRequest,
  request: Request,
): Promise<ConversationTurn | undefined> {
  const { conversation, turn, user } = chat;
  if (conversations === undefined || conversation === undefined || turn.session !== undefined) {
    return undefined;
  }
  const { cwd, env = {} } = commandOptions;
  // A session belongs to a directory and a home, a conversation to whoever held it.
  const scope = [
    createHash('sha256')
      .update(request.headers.authorization ?? '')
      .digest('base64url'),
    headerOf(request, 'x-openwebui-user-id'),
    user,
    cwd,
    env.HOME,
    env.CLAUDE_CONFIG_DIR,
  ];
  const chatId = settings.sessions && headerOf(request, settings.sessions.header);
  // Open WebUI's temporary chats share one id for as long as the page is open.
  const isUnique = chatId !== undefined && !chatId.startsWith('local:');
  return conversations.turn(scope, isUnique ? chatId : undefined, conversation);
}

/** A header's text; one that a client's template has left empty or unfilled is none. */
function headerOf(request: Request, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' && value !== '' && !value.includes('{{') ? value : undefined;
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

function shuttingDown(): ClaudeStreamError {
  return new ClaudeStreamError('shutting_down', 'claudeStream was closed: no new runs.');
}

/** Errors after the spawn say `x-should-retry: false`, or the openai SDK would run Claude two more times. */
export function sendJson(
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
