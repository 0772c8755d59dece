import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { type Command, commandFor, type Turn } from './claude/command.js';
import type { PermissionRequest } from './claude/permissionPrompts.js';
import type { ConversationTurn } from './conversations/conversations.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest, Encoder, EncoderContext, JsonResponse } from './formats/format.js';
import { guardedHooks, type Hooks } from './hooks.js';
import type { RunContext, Settings } from './options.js';
import { type PlannedRequest, readRequest, refuseIfTooLarge } from './readRequest.js';
import { createRunId, Run } from './run.js';
import { sendError, sendJson } from './sendJson.js';
import type { Service } from './service.js';
import { sendEventStream } from './sse/eventStream.js';

/**
 * One request from end to end: read it, run Claude, stream the answer, say how it ended.
 *
 * @throws what the application's own `request` function throws, and only while no headers have been sent
 */
export async function serveChat(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  const { settings, runs } = service;
  const context: RunContext = { runId: createRunId(), request };
  const hooks = guardedHooks(settings.hooks, context);
  let run: Run | undefined;
  // Before anything is awaited: a client that leaves now must not get a process later.
  const client = watchClient(request, response, (reason) => run?.stop(reason));
  try {
    refuseIfSent(response);
    client.watchPipeline();
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
    const planned = await readRequest(settings, service.models, request);
    const conversation = client.gone ? undefined : await recognised(service, planned, request);
    const command = commandTo(settings, planned, conversation, context.runId);
    if (client.gone) return;
    if (runs.closed) throw shuttingDown();

    const collected = planned.chat.stream ? undefined : new Collected();
    run = runFor(settings, planned, conversation, context, hooks, collected);
    runs.add(run);
    const source = collected ? undefined : run.reader(settings.highWaterMark);
    await run.start(
      command,
      conversation?.continuation && (() => commandTo(settings, planned, undefined, context.runId)),
    );
    conversation?.begun();
    const ended = run.outcome.then(hooks.onEnd);
    if (conversation) void run.outcome.then((outcome) => conversation.ended(outcome));
    if (client.gone) run.stop('disconnected');
    else response.setHeader('Claude-Run-Id', context.runId);
    if (source) {
      sendEventStream(response, source, settings, () => {
        client.stalled = true;
        hooks.onError(
          new ClaudeStreamError('interrupted', 'The client read nothing for stallTimeout.'),
        );
      });
    }
    await ended;
    if (collected?.answer) sendJson(response, collected.answer, settings.stallTimeout);
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

interface Client {
  readonly gone: boolean;
  /** Whether it is to be said of it, when it goes, that it read nothing any more. */
  stalled: boolean;
  watchPipeline(): void;
}

/**
 * Tells when the client has left. A run that is over is not affected; one that is not must not go on for a response
 * that other middleware has ended, either.
 */
function watchClient(
  request: Request,
  response: Response,
  onLeave: (reason: 'stalled' | 'disconnected') => void,
): Client {
  const { socket } = request;
  // The response to a pipelined request has no socket until its turn comes, and Node tells it of no 'close' before.
  const abandon = () => {
    if (response.socket !== null) return;
    response.destroy();
    response.emit('close');
  };
  const client = {
    gone: response.destroyed || socket.destroyed,
    stalled: false,
    watchPipeline: () => {
      if (response.socket === null) socket.once('close', abandon);
    },
  };
  response.once('close', () => {
    client.gone = true;
    socket.off('close', abandon);
    onLeave(client.stalled ? 'stalled' : 'disconnected');
  });
  return client;
}

/** The answer of a request that is not streamed, once it is complete. */
class Collected {
  answer: JsonResponse | undefined;

  /** Stands in the place of an encoder, and emits nothing. */
  encoder({ format }: Settings, context: EncoderContext): Encoder {
    const collector = format.collector(context);
    return {
      message: (message) => collector.message(message),
      end: (outcome) => {
        this.answer = collector.end(outcome);
      },
    };
  }
}

function runFor(
  settings: Settings,
  { chat }: PlannedRequest,
  conversation: ConversationTurn | undefined,
  context: RunContext,
  hooks: Hooks,
  collected: Collected | undefined,
): Run {
  const { canUseTool, toolDisplay, exposeErrors } = settings;
  const encoderContext: EncoderContext = {
    runId: context.runId,
    startedAt: Date.now(),
    request: chat,
    toolDisplay,
    exposeErrors,
    onAnswer: conversation && ((text) => conversation.answered(text)),
  };
  const options = {
    ...settings,
    onSpawn: hooks.onStart,
    onMessage: hooks.onMessage,
    decidePermission:
      canUseTool &&
      ((asked: PermissionRequest, signal: AbortSignal) =>
        canUseTool(asked, { ...context, signal })),
    onPermissionFailure: (cause: unknown) => hooks.onFailure('canUseTool', cause),
  };
  return new Run(
    context.runId,
    options,
    (emit) =>
      collected?.encoder(settings, encoderContext) ?? settings.format.encoder(encoderContext, emit),
  );
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
  { conversations, settings }: Service,
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
