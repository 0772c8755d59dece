import type { Turn } from '../claude/command.js';
import type { ContentBlock } from '../claude/messages.js';
import { ClaudeStreamError } from '../errors.js';
import { readImageData, readImageUrl } from './readImage.js';
import { setApart } from './setApart.js';

/** One message of a chat client. */
export interface ChatMessage {
  readonly role: string;
  readonly blocks: readonly ContentBlock[];
}

/** A conversation as its client remembers it, without system messages. */
export interface Conversation {
  /** Everything up to the user message that was answered last. */
  readonly earlier: readonly ChatMessage[];
  /** The last answer, as the client kept it; absent in the first turn. */
  readonly answer: string | undefined;
  /** What the user has said since. */
  readonly fresh: readonly ChatMessage[];
  /** `fresh` as content for a session that knows the rest. */
  readonly content: Turn['content'];
}

/** How the messages of a format are written. */
export interface MessageFields {
  /** The field of a message that holds its words. Default `'content'`. */
  readonly contentField?: string;
  /** An image among them, as it is shown to whoever has written a part that is none. Default: OpenAI's. */
  readonly imagePart?: string;
}

/** What is said for a client that wants the last answer to go on: it sends no message of the user. */
const CONTINUE: ChatMessage = {
  role: 'user',
  blocks: [{ type: 'text', text: 'Continue your last answer exactly where it stopped.' }],
};

/** Parts that clients send and the CLI is not told. */
const UNSUPPORTED = ['input_audio', 'file', 'video_url', 'document'];

const SYSTEM_ROLES = ['system', 'developer'];
const ROLES = [...SYSTEM_ROLES, 'user', 'assistant', 'tool', 'function'];

/**
 * Reads the messages of a chat client. System and developer messages become the system prompt, the last user message
 * the prompt. What lies between is told as the conversation so far, since the CLI takes only the user's side of a
 * conversation; a session that knows it gets only what is new.
 *
 * @param cleanAnswer takes out of an earlier answer what was only shown beside it
 * @throws ClaudeStreamError `invalid_messages` or `unsupported_parameter`, naming the message
 */
export function readMessages(
  messages: unknown,
  cleanAnswer: (text: string) => string,
  {
    contentField = 'content',
    imagePart = '{"type": "image_url", "image_url": {"url": data URL}}',
  }: MessageFields = {},
): { content: Turn['content']; system: string | undefined; conversation: Conversation } {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalid('messages', 'must be an array with at least one message.');
  }
  const chat = messages.map((message, index) =>
    readMessage(message, index, { contentField, imagePart }, cleanAnswer),
  );
  // A stopped or failed answer leaves an empty message, as does one that only called tools.
  const said = chat.filter(
    (message) =>
      !SYSTEM_ROLES.includes(message.role) && (message.role === 'user' || !isEmpty(message)),
  );
  if (said.at(-1)?.role === 'assistant') said.push(CONTINUE);
  const last = said.at(-1);
  if (last?.role !== 'user') {
    throw new ClaudeStreamError('invalid_messages', 'The last of "messages" must be of the user.', {
      field: 'messages',
    });
  }
  if (isEmpty(last)) {
    throw new ClaudeStreamError('invalid_messages', 'The last of "messages" must not be empty.', {
      field: `messages[${chat.lastIndexOf(last)}].${contentField}`,
    });
  }
  const system = chat
    .filter(({ role }) => SYSTEM_ROLES.includes(role))
    .map(({ blocks }) => textOf(blocks))
    .join('\n\n');
  const history = said.slice(0, -1);
  return {
    content: simplified([...history.flatMap(told), ...lastWords(history, last)]),
    system: system.trim() === '' ? undefined : system,
    conversation: conversationOf(said),
  };
}

function conversationOf(said: readonly ChatMessage[]): Conversation {
  const answerEnd = said.findLastIndex(({ role }) => role !== 'user') + 1;
  const answerStart = said.slice(0, answerEnd).findLastIndex(({ role }) => role === 'user') + 1;
  const answer = said.slice(answerStart, answerEnd).filter(({ role }) => role === 'assistant');
  const fresh = said.slice(answerEnd);
  return {
    earlier: said.slice(0, answerStart),
    answer: answerEnd === 0 ? undefined : answer.map(({ blocks }) => textOf(blocks)).join('\n\n'),
    fresh,
    content: simplified(
      fresh.flatMap(({ blocks }, index) =>
        index === 0 ? blocks : [{ type: 'text', text: '\n\n' }, ...blocks],
      ),
    ),
  };
}

function told({ role, blocks }: ChatMessage, index: number): ContentBlock[] {
  const opening = index === 0 ? 'The conversation so far:\n\n' : '';
  return [
    { type: 'text', text: `${opening}[${role}]\n` },
    ...blocks,
    { type: 'text', text: '\n\n' },
  ];
}

function lastWords(history: readonly ChatMessage[], last: ChatMessage): readonly ContentBlock[] {
  if (history.length === 0) return last.blocks;
  return [
    { type: 'text', text: "The user's new message, to be answered now:\n\n" },
    ...last.blocks,
  ];
}

/** Neighbouring texts become one, and text alone a string. */
function simplified(blocks: readonly ContentBlock[]): Turn['content'] {
  const merged: ContentBlock[] = [];
  let texts: string[] = [];
  const flush = () => {
    const text = texts.join('');
    // The Messages API refuses a blank text beside an image.
    if (text.trim() !== '') merged.push({ type: 'text', text });
    texts = [];
  };
  for (const block of blocks) {
    if (block.type === 'text') {
      texts.push(block.text ?? '');
    } else {
      flush();
      merged.push(block);
    }
  }
  flush();
  const [only] = merged;
  return merged.length === 1 && only?.type === 'text' ? (only.text ?? '') : merged;
}

function readMessage(
  message: unknown,
  index: number,
  { contentField, imagePart }: Required<MessageFields>,
  cleanAnswer: (text: string) => string,
): ChatMessage {
  const field = `messages[${index}]`;
  if (typeof message !== 'object' || message === null) throw invalid(field, 'must be an object.');
  const { role, [contentField]: content, name } = message as Record<string, unknown>;
  if (typeof role !== 'string' || !ROLES.includes(role)) {
    throw invalid(`${field}.role`, `must be one of ${ROLES.join(', ')}.`);
  }
  const blocks = readContent(role, content, `${field}.${contentField}`, imagePart);
  if (role === 'assistant') {
    const clean = blocks.map((block) =>
      block.text === undefined ? block : { ...block, text: cleanAnswer(block.text) },
    );
    return { role, blocks: setApart(clean) };
  }
  if (name != null && typeof name !== 'string') throw invalid(`${field}.name`, 'must be a string.');
  if (role !== 'user' || name == null || isEmpty({ role, blocks })) return { role, blocks };
  // Several people in one conversation are told apart by their names.
  return { role, blocks: [{ type: 'text', text: `${name}: ` }, ...blocks] };
}

function readContent(
  role: string,
  content: unknown,
  field: string,
  imagePart: string,
): ContentBlock[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  // An assistant message that only called tools has no content.
  if (content == null && role === 'assistant') return [];
  if (!Array.isArray(content)) throw invalid(field, 'must be a string or an array of parts.');
  return content.map((part, at) => readPart(part, `${field}[${at}]`, imagePart));
}

function readPart(part: unknown, field: string, imagePart: string): ContentBlock {
  const { type, text, refusal, image_url, source } = (part ?? {}) as Record<string, unknown>;
  if (type === 'text' && typeof text === 'string') return { type, text };
  if (type === 'refusal' && typeof refusal === 'string') return { type: 'text', text: refusal };
  if (type === 'image_url') {
    const url = typeof image_url === 'string' ? image_url : fieldsOf(image_url).url;
    return readImageUrl(url, `${field}.image_url`);
  }
  if (type === 'image') {
    const { type: sourceType, data } = fieldsOf(source);
    if (sourceType === 'base64' && typeof data === 'string') {
      return readImageData(data, `${field}.source`);
    }
  }
  if (typeof type === 'string' && UNSUPPORTED.includes(type)) {
    throw new ClaudeStreamError(
      'unsupported_parameter',
      `${field} is of the type "${type}", which is not supported. Send text or images.`,
      { field },
    );
  }
  throw invalid(field, `must be {"type": "text", "text": string} or ${imagePart}.`);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isEmpty({ blocks }: ChatMessage): boolean {
  return !blocks.some((block) => block.type !== 'text' || block.text?.trim());
}

function textOf(blocks: readonly ContentBlock[]): string {
  return blocks.map(({ text }) => text ?? '').join('');
}

function invalid(field: string, problem: string): ClaudeStreamError {
  return new ClaudeStreamError('invalid_messages', `${field} ${problem}`, { field });
}
