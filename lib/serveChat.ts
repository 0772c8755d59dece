import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import { type Command, commandFor, type Turn } from './claude/command.js';
import type { PermissionRequest } from './claude/permissionPrompts.js';
import { startProcess } from './claude/process.js';
import type { ConversationTurn } from './conversations/conversations.js';
import { channels } from './diagnostics.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest, Encoder, EncoderContext, JsonResponse } from './formats/format.js';
import { guardedHooks, type Hooks } from './hooks.js';
import { LiveRun } from './liveRun.js';
import type { RunContext, Settings } from './options.js';
import type { StopReason } from './outcome.js';
import { type PlannedRequest, readRequest, refuseIfTooLarge } from './readRequest.js';
import { createRunId, type Run } from './run.js';
import { sendError, sendJson } from './sendJson.js';
import { lastEventId, parsePosition, positionAt, serveReplay } from './serveReplay.js';
import type { Service } from './service.js';
import { sendEventStream } from './sse/eventStream.js';
import { watchClient } from './watchClient.js';

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
  let leave: ((reason: StopReason) => void) | undefined;
  // Before anything is awaited: a client that leaves now must not get a process later.
  const client = watchClient(request, response, (reason) => leave?.(reason));
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
    const conversation = client.gone ? undefined : await recognised(service, planned, request);
    const command = commandTo(settings, planned, conversation, context.runId);
    if (client.gone) return;
    if (runs.closed) throw shuttingDown();

    const collected = planned.chat.stream ? undefined : new Collected();
    const live = liveRun(settings, planned, conversation, context, hooks, collected);
    run = live.run;
    runs.add(live);
    leave = live.attendance.enter();
    const source = collected ? undefined : run.reader(settings.highWaterMark);
    await run.start(
      () => startProcess(command),
      conversation?.continuation &&
        (async () => startProcess(commandTo(settings, planned, undefined, context.runId))),
    );
    conversation?.begun();
    const ended = run.outcome.then(hooks.onEnd);
    if (conversation) void run.outcome.then((outcome) => conversation.ended(outcome));
    // Nobody has been told the run's id: nobody can come back.
    if (client.gone) run.stop('disconnected');
    else response.setHeader('Claude-Run-Id', context.runId);
    if (source) {
      const position = settings.runStore && positionAt(context.runId, 0);
      sendEventStream(response, source, { ...settings, position }, () => {
        client.stalled = true;
        const { runId } = context;
        channels.stall({ runId, request, stallTimeout: settings.stallTimeout });
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

/** The answer of a request that is not streamed, once it is complete. */
class Collected {
  answer: JsonResponse | undefined;

  /**
   * Stands in the place of an encoder.
   *
   * @param encoder of the events by which the run is kept, if it is
   */
  encoder({ format }: Settings, context: EncoderContext, encoder: Encoder | undefined): Encoder {
    const collector = format.collector(context);
    return {
      message: (message, text) => {
        collector.message(message);
        encoder?.message(message, text);
      },
      end: (outcome) => {
        this.answer = collector.end(outcome);
        encoder?.end(outcome);
      },
    };
  }
}

function liveRun(
  settings: Settings,
  { chat }: PlannedRequest,
  conversation: ConversationTurn | undefined,
  context: RunContext,
  hooks: Hooks,
  collected: Collected | undefined,
): LiveRun {
  const { canUseTool, toolDisplay, exposeErrors, format, runStore } = settings;
  const { runId, request } = context;
  const startedAt = Date.now();
  const encoderContext: EncoderContext = {
    runId,
    startedAt,
    request: chat,
    toolDisplay,
    exposeErrors,
    onAnswer: conversation && ((text) => conversation.answered(text)),
  };
  const options = {
    ...settings,
    runs: runStore,
    grace: graceOf(settings, chat),
    structured: chat.turn.schema !== undefined,
    onSpawn: (pid: number) => {
      channels.runStart({ runId, pid, request });
      hooks.onStart(pid);
    },
    onMessage: hooks.onMessage,
    decidePermission:
      canUseTool &&
      ((asked: PermissionRequest, signal: AbortSignal) =>
        canUseTool(asked, { ...context, signal })),
    onPermissionFailure: (cause: unknown) => hooks.onFailure('canUseTool', cause),
  };
  return new LiveRun({ runId, startedAt, user: chat.user }, options, (emit) => {
    if (collected === undefined) return format.encoder(encoderContext, emit);
    const kept = runStore && format.encoder({ ...encoderContext, onAnswer: undefined }, emit);
    return collected.encoder(settings, encoderContext, kept);
  });
}

/** How long a run goes on without its client. One that is not streamed has never told the client its id. */
function graceOf(
  { onDisconnect, disconnectGrace, runStore }: Settings,
  { stream }: ChatRequest,
): number | false {
  const policy = onDisconnect ?? (runStore && stream ? 'continue' : 'stop');
  return policy === 'continue' ? disconnectGrace : 0;
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
  else await serveReplay(service, request, response, () => position);
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
