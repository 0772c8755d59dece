import { createHash } from 'node:crypto';
import type { ContentBlock } from '../claude/messages.js';
import type { ChatMessage } from '../formats/readMessages.js';
import { withoutWhiteSpace } from './answerDigest.js';

/**
 * The keys under which the end of a turn is found, from the most to the least telling. For a client that does not name
 * its conversations: everything that was said up to the turn. For one that does: the same in this conversation, the
 * same in any (it was cloned), and how many questions this conversation had. The last serves a client that has changed
 * something of what it had sent before: Open WebUI puts documents around a question and leaves them out of the history.
 */
export function historyKeys(
  scope: string,
  chatId: string | undefined,
  messages: readonly ChatMessage[],
): string[] {
  const history = hashOf([scope, 'history', normalised(messages)]);
  if (chatId === undefined) return [history];
  const questions = messages.filter(({ role }) => role === 'user').length;
  return [
    hashOf([scope, 'history of', chatId, history]),
    history,
    hashOf([scope, 'questions of', chatId, questions]),
  ];
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url');
}

/**
 * What stays the same of a conversation however its client keeps it: in which parts and messages it puts an answer, the
 * white space, and the calls of its own tools differ.
 */
function normalised(messages: readonly ChatMessage[]): (readonly unknown[])[] {
  const turns: { readonly role: string; readonly parts: unknown[] }[] = [];
  for (const { role, blocks } of messages) {
    if (role !== 'user' && role !== 'assistant') continue;
    const last = turns.at(-1);
    const parts = role === 'assistant' && last?.role === role ? last.parts : [];
    if (parts !== last?.parts) turns.push({ role, parts });
    for (const block of blocks) addPart(parts, role, block);
  }
  return turns.map(({ role, parts }) => [role, ...parts]);
}

function addPart(parts: unknown[], role: string, block: ContentBlock): void {
  if (block.text === undefined) {
    parts.push({ block });
    return;
  }
  const text = withoutWhiteSpace(role === 'user' ? withoutDocuments(block.text) : block.text);
  const last = parts.at(-1);
  if (typeof last === 'string') parts[parts.length - 1] = last + text;
  else parts.push(text);
}

const DOCUMENTS = '### Task:\nRespond to the user query using the provided context';
const DOCUMENTS_END = '</context>';

/** A question without the documents that Open WebUI puts before it (0.10.2, `DEFAULT_RAG_TEMPLATE`). */
function withoutDocuments(text: string): string {
  const end = text.lastIndexOf(DOCUMENTS_END);
  return text.startsWith(DOCUMENTS) && end !== -1 ? text.slice(end + DOCUMENTS_END.length) : text;
}
