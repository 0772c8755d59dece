import { createHash } from 'node:crypto';
import type { ContentBlock } from '../claude/messages.js';
import type { ChatMessage } from '../formats/readMessages.js';
import { withoutWhiteSpace } from './answerDigest.js';

/** Under what the end of a turn is found, hashed. */
export interface HistoryKeys {
  /**
   * Everything that was said, from the most to the least telling key: in this conversation of a client that names its
   * conversations, then in any (it was cloned).
   */
  readonly exact: readonly string[];
  /**
   * In this conversation, everything but the last question: Open WebUI puts documents before a question when it asks,
   * and leaves them out afterwards. The question itself is to be compared with `questions`.
   */
  readonly open: string | undefined;
  /** The last question; after it, what it could be without what may have been put on the lines before it. */
  readonly questions: readonly string[];
}

/** How much of a question's end is looked at for what the client may keep of it, in lines and characters. */
const LONGEST_ENDING_LINES = 64;
const LONGEST_ENDING = 16_384;

/** @param chatId the client's own id of the conversation, if it tells */
export function historyKeys(
  scope: string,
  chatId: string | undefined,
  messages: readonly ChatMessage[],
): HistoryKeys {
  const history = hashOf([scope, 'history', normalised(messages)]);
  if (chatId === undefined) return { exact: [history], open: undefined, questions: [] };
  const before = messages.slice(0, -1);
  const last = messages.at(-1)?.blocks ?? [];
  const images = last.filter(({ text }) => text === undefined);
  return {
    exact: [hashOf([scope, 'history of', chatId, history]), history],
    open: hashOf([scope, 'before', chatId, normalised(before), images]),
    questions: endings(last.map(({ text }) => text ?? '').join('')).map(hashOf),
  };
}

/** The whole text, and its last lines: the last one, the last two and so on. */
function endings(text: string): string[] {
  const lines = text.slice(-LONGEST_ENDING).split('\n').slice(-LONGEST_ENDING_LINES);
  let ending = '';
  const all = lines.reverse().map((line) => {
    ending = withoutWhiteSpace(line) + ending;
    return ending;
  });
  return [withoutWhiteSpace(text), ...all.filter((one) => one !== '')];
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
    for (const block of blocks) addPart(parts, block);
  }
  return turns.map(({ role, parts }) => [role, ...parts]);
}

function addPart(parts: unknown[], block: ContentBlock): void {
  if (block.text === undefined) {
    parts.push({ block });
    return;
  }
  const text = withoutWhiteSpace(block.text);
  const last = parts.at(-1);
  if (typeof last === 'string') parts[parts.length - 1] = last + text;
  else parts.push(text);
}
