import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Place } from './admission.js';
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
import { type StopReason, startFailure, timeout } from './outcome.js';
import { keyOf, type PlannedRequest, readRequest, refuseIfTooLarge } from './readRequest.js';
import { createRunId } from './run.js';
import { sendError, sendJson, sendRefusal } from './sendJson.js';
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
  const runId = createRunId();
  const context: RunContext = { runId, request };
  const hooks = guardedHooks(settings.hooks, context);
  let stop: ((reason: StopReason) => void) | undefined;
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
    const key = keyOf(settings, request);
    if (client.gone) return;
    if (runs.closed) throw shuttingDown();

    const place = service.admission.enter(key);
    const { position } = place;
    const collected = planned.chat.stream ? undefined : new Collected();
    // Recognised when the turn has come: not before is it known where the conversation stands by then.
    let conversation: ConversationTurn | undefined;
    const onAnswer = service.conversations && ((text: string) => conversation?.answered(text));
    const live = liveRun(settings, planned, context, hooks, collected, onAnswer);
    const { run } = live;
    runs.add(live);
    void run.closed.then(() => place.leave());
    stop = (reason) => run.stop(reason);
    leave = live.attendance.enter();
    const ended = run.outcome.then(hooks.onEnd);
    const source = collected ? undefined : run.reader(settings.highWaterMark);

    const start = async () => {
      if (run.ended) return false;
      conversation = await recognised(service, planned, request);
      const command = commandTo(settings, planned, continued(planned, conversation), runId);
      // Meanwhile its client has left, or it was cancelled, or the service closed.
      if (run.ended) return false;
      await run.start(
        service.launch(command),
        conversation?.continuation &&
          (async () => startProcess(commandTo(settings, planned, undefined, runId))),
      );
      conversation?.begun();
      if (conversation) void run.outcome.then(conversation.ended);
      return true;
    };
    /** Whoever follows a run that has waited has its headers: what goes wrong is how it ended. */
    const fail = (error: unknown) => {
      run.abandon(startFailure(error));
      return false;
    };
    /** Tells the client of the run, and everything that comes of it. */
    const tell = () => {
      response.setHeader('Claude-Run-Id', runId);
      if (source === undefined) return;
      const beginning = settings.runStore && positionAt(runId, 0);
      sendEventStream(response, source, { ...settings, position: beginning }, () => {
        client.stalled = true;
        channels.stall({ runId, request, stallTimeout: settings.stallTimeout });
        hooks.onError(
          new ClaudeStreamError('interrupted', 'The client read nothing for stallTimeout.'),
        );
      });
    };

    if (position > 0) {
      // What is too large even for a session that knows the conversation must not wait to hear so.
      commandTo(settings, planned, leastOf(service, planned), runId);
      channels.queue({ runId, request, position });
      if (source) tell();
    }
    const isTold = position > 0 && source !== undefined;
    const isStarted =
      position > 0
        ? await turnOf(place, live, settings.deadlines.queue).then(start).catch(fail)
        : await start();
    if (isStarted && !isTold) {
      // Nobody has been told the run's id: nobody can come back.
      if (client.gone) run.stop('disconnected');
      else tell();
    } else if (!isStarted && position === 0) {
      if (client.gone) return;
      throw shuttingDown();
    }
    await ended;
    if (collected?.answer) {
      const send = isStarted ? sendJson : sendRefusal;
      send(response, collected.answer, settings.stallTimeout);
    }
  } catch (error) {
    // Nobody is left to read it: without this the process would go on alone.
    stop?.('disconnected');
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
      waiting: (position) => encoder?.waiting(position),
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
  context: RunContext,
  hooks: Hooks,
  collected: Collected | undefined,
  onAnswer: EncoderContext['onAnswer'],
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
    onAnswer,
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

/** Waits until a run has its place, or gave it up; those who follow it are told their position meanwhile. */
async function turnOf(place: Place, live: LiveRun, limit: number | false): Promise<void> {
  const timer =
    limit === false
      ? undefined
      : setTimeout(() => live.run.abandon(timeout('queue')), limit).unref();
  try {
    await place.wait((position) => live.waiting(position));
  } finally {
    clearTimeout(timer);
  }
}

/** The process for a request; where no session knows the conversation it is told everything from the beginning. */
function commandTo(
  { canUseTool, maxPromptBytes }: Settings,
  { chat, commandOptions }: PlannedRequest,
  continuedTurn: Partial<Turn> | undefined,
  runId: string,
): Command {
  const asksPermission = canUseTool !== undefined && !chat.background;
  const turn = { ...chat.turn, ...continuedTurn };
  const command = commandFor(commandOptions, turn, runId, process.env, asksPermission);
  refuseIfTooLarge(`${command.setup}${command.prompt}`, maxPromptBytes);
  return command;
}

function continued(
  { chat: { conversation } }: PlannedRequest,
  turn: ConversationTurn | undefined,
): Pick<Turn, 'session' | 'forkAt' | 'content'> | undefined {
  if (conversation === undefined || turn?.continuation === undefined) return undefined;
  return { ...turn.continuation, content: conversation.content };
}

/** The least that a process may have to be told. */
function leastOf({ conversations }: Service, { chat }: PlannedRequest): Partial<Turn> | undefined {
  return conversations && chat.conversation && { content: chat.conversation.content };
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
