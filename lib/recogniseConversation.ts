import { createHash } from 'node:crypto';
import type { Request } from 'express';
import type { ConversationTurn } from './conversations/conversations.js';
import type { PlannedRequest } from './readRequest.js';
import type { Service } from './service.js';

/** The conversation that a request goes on with, if it may be one that is known. */
export async function recogniseConversation(
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
      .update(JSON.stringify([request.headers.authorization, request.headers['x-api-key']]))
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
