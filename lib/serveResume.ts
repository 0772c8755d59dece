import type { Request, Response } from 'express';
import { ClaudeStreamError, type ErrorCode } from './errors.js';
import { type FoundRun, findRun, isOver } from './findRun.js';
import { uiMessage } from './formats/uiMessage/uiMessage.js';
import { serveReplay } from './serveReplay.js';
import type { Service } from './service.js';

/**
 * The latest run that is going on in a conversation, from its first event on; 204 when none is that the client may see.
 * It is how the AI SDK resumes: it knows its chat, and neither runs nor events.
 *
 * @throws what the application's own `authorize` function throws, and only while no headers have been sent
 */
export async function serveResume(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  await serveReplay(service, request, response, async () => {
    const found = await runGoingOn(service, request, chatOf(service, request));
    return found && { found, after: 0 };
  });
}

async function runGoingOn(
  service: Service,
  request: Request,
  chat: string,
): Promise<FoundRun | undefined> {
  if (service.chats === undefined) return undefined;
  // Those of this instance first: they are known whatever becomes of the store.
  const local = service.runs.ofChat(chat).map(({ record }) => record.runId);
  for (const runId of new Set([...local, ...(await service.chats.runsOf(chat))])) {
    const found = await findRun(service, request, runId).catch(ifNotForThisClient);
    if (found && !isOver(found)) return found;
  }
  return undefined;
}

/** A name may be somebody else's, too: to this client nothing is going on there. */
const NOT_FOR_THIS_CLIENT: readonly ErrorCode[] = [
  'run_not_found',
  'run_expired',
  'not_authorized',
];

function ifNotForThisClient(error: unknown): undefined {
  const isNothing = error instanceof ClaudeStreamError && NOT_FOR_THIS_CLIENT.includes(error.code);
  if (!isNothing) throw error;
}

/** @throws ClaudeStreamError `invalid_option` when the route, or the format, names no conversation */
function chatOf({ settings }: Service, { params }: Request): string {
  if (settings.format !== uiMessage) {
    throw new ClaudeStreamError(
      'invalid_option',
      'chat.resume is for the format "ui-message": in others no client names its conversation. Use chat.replay.',
    );
  }
  const { chat } = params;
  if (typeof chat === 'string' && chat !== '') return chat;
  throw new ClaudeStreamError(
    'invalid_option',
    'The route has no parameter "chat". Write app.get(\'/api/chat/:chat/stream\', chat.resume).',
  );
}
