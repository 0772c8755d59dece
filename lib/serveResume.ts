import type { Request, Response } from 'express';
import { ClaudeStreamError } from './errors.js';
import { serveReplay } from './serveReplay.js';
import type { Service } from './service.js';

/**
 * The run that is going on in a conversation, from its first event on; 204 when none is. It is how the AI SDK resumes: it
 * knows its chat, and neither runs nor events.
 *
 * @throws what the application's own `authorize` function throws, and only while no headers have been sent
 */
export async function serveResume(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  await serveReplay(
    service,
    request,
    response,
    async () => {
      const runId = await service.chats?.runOf(chatOf(request));
      return runId === undefined ? undefined : { runId, after: 0 };
    },
    'live',
  );
}

/** @throws ClaudeStreamError `invalid_option` when the route names no conversation */
function chatOf({ params }: Request): string {
  const { chat } = params;
  if (typeof chat === 'string' && chat !== '') return chat;
  throw new ClaudeStreamError(
    'invalid_option',
    'The route has no parameter "chat". Write app.get(\'/api/chat/:chat/stream\', chat.resume).',
  );
}
