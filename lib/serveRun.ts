import type { Response } from 'express';
import type { Place } from './admission.js';
import { type Command, commandFor, type Turn } from './claude/command.js';
import type { PermissionRequest } from './claude/permissionPrompts.js';
import { startProcess } from './claude/process.js';
import type { ConversationTurn } from './conversations/conversations.js';
import { channels } from './diagnostics.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest, Encoder, EncoderContext, JsonResponse } from './formats/format.js';
import type { Hooks } from './hooks.js';
import { LiveRun } from './liveRun.js';
import type { RunContext, Settings } from './options.js';
import { startFailure, timeout } from './outcome.js';
import { type PlannedRequest, refuseIfTooLarge } from './readRequest.js';
import { recogniseConversation } from './recogniseConversation.js';
import { sendJson, sendRefusal } from './sendJson.js';
import { positionAt } from './serveReplay.js';
import { type Service, shuttingDown } from './service.js';
import { sendEventStream } from './sse/eventStream.js';
import type { FrameReader } from './sse/frameLog.js';
import type { Client } from './watchClient.js';

/** A request that has been read and found good, and whoever waits for its answer. */
export interface Exchange {
  readonly planned: PlannedRequest;
  /** Whose turn it takes. */
  readonly key: string | undefined;
  readonly context: RunContext;
  readonly hooks: Hooks;
  readonly client: Client;
  readonly response: Response;
}

/**
 * The run of one request: waits for its turn, starts it, streams it or collects its answer.
 *
 * @throws ClaudeStreamError when it cannot be started, and only while no headers have been sent
 */
export async function serveRun(service: Service, exchange: Exchange): Promise<void> {
  const { settings, runs } = service;
  const { planned, context, hooks, client, response } = exchange;
  const place = service.admission.enter(exchange.key);
  const mustWait = place.position > 0;
  const collected = planned.chat.stream ? undefined : new Collected();
  // Recognised when the turn has come: not before is it known where the conversation stands by then.
  let conversation: ConversationTurn | undefined;
  const onAnswer = service.conversations && ((text: string) => conversation?.answered(text));
  const live = liveRun(settings, planned, context, hooks, collected, onAnswer);
  const { run } = live;
  runs.add(live);
  void run.closed.then(() => place.leave());
  client.onLeave = live.attendance.enter();
  const ended = run.outcome.then(hooks.onEnd);
  const tell = collected
    ? () => void response.setHeader('Claude-Run-Id', run.id)
    : streamTo(exchange, settings, run.reader(settings.highWaterMark));

  /** A client that has left was not told the run's id, so it cannot come back. */
  const tellUnlessGone = async () => {
    const { chat } = live;
    await Promise.all([
      live.findable(),
      chat === undefined ? undefined : service.chats?.begun(chat, run.id),
    ]);
    if (client.gone) run.stop('disconnected');
    else tell();
  };

  /** @returns whether it was: not when its client has left meanwhile, it was cancelled, or the service closed */
  const start = async () => {
    if (run.ended) return false;
    conversation = await recogniseConversation(service, planned, context.request);
    const command = commandTo(settings, planned, continued(planned, conversation), run.id);
    if (run.ended) return false;
    await run.start(
      service.launch(command),
      conversation?.continuation &&
        (async () => startProcess(commandTo(settings, planned, undefined, run.id))),
    );
    conversation?.begun();
    if (conversation) void run.outcome.then(conversation.ended);
    return true;
  };

  try {
    let isStarted: boolean;
    // Without a stream the status is told in the headers, which wait for it.
    const isTold = mustWait && !collected;
    if (mustWait) {
      // What is too large even for a session that knows the conversation must not wait to hear so.
      commandTo(settings, planned, leastOf(service, planned), run.id);
      channels.queue({ ...context, position: place.position });
      if (isTold) await tellUnlessGone();
      isStarted = await turnOf(place, live, settings.deadlines.queue)
        .then(start)
        .catch((error) => {
          // Whoever follows it has been told that it waits: what goes wrong now is how it ended.
          run.abandon(startFailure(error));
          return false;
        });
    } else {
      isStarted = await start();
      if (!isStarted && client.gone) return;
      if (!isStarted) throw shuttingDown();
    }
    if (isStarted && !isTold) await tellUnlessGone();
    await ended;
    if (collected?.answer) {
      const send = isStarted ? sendJson : sendRefusal;
      send(response, collected.answer, settings.stallTimeout);
    }
  } catch (error) {
    // Nobody is left to read it: without this the process would go on alone.
    run.stop('disconnected');
    throw error;
  }
}

/** What tells the client of a run, and of everything that comes of it; to be called once. */
function streamTo(
  { context, hooks, client, response }: Exchange,
  settings: Settings,
  source: FrameReader,
): () => void {
  const { runId } = context;
  const position = settings.runStore && positionAt(runId, 0);
  const options = { ...settings, headers: settings.format.headers, position };
  return () => {
    response.setHeader('Claude-Run-Id', runId);
    sendEventStream(response, source, options, () => {
      client.stalled = true;
      channels.stall({ ...context, stallTimeout: settings.stallTimeout });
      hooks.onError(
        new ClaudeStreamError('interrupted', 'The client read nothing for stallTimeout.'),
      );
    });
  };
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
      spawned: () => encoder?.spawned?.(),
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
    // Without a stream there is nothing that a client of the chat could follow.
    chat: collected ? undefined : chat.chat,
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
