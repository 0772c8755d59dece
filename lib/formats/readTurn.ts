import { efforts, type Turn } from '../claude/command.js';
import type { ContentBlock } from '../claude/messages.js';
import { ClaudeStreamError } from '../errors.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The image types that the Messages API takes. */
const IMAGE_DATA_URL = /^data:(image\/(?:jpeg|png|gif|webp));base64,([A-Za-z0-9+/=\s]+)$/;

/** A request body as an object. @throws ClaudeStreamError `body_not_parsed` */
export function readBody(body: unknown): Record<string, unknown> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body) && !Buffer.isBuffer(body)) {
    return body as Record<string, unknown>;
  }
  throw new ClaudeStreamError(
    'body_not_parsed',
    'The request has no parsed JSON object as its body. Send "Content-Type: application/json", and mount ' +
      'express.json() before claudeStream(): app.use(express.json()).',
  );
}

/**
 * Reads the part of a body that all formats share: `prompt`, or `messages`, and the few things a request may choose.
 *
 * @param effortField the field that holds the effort; its name differs by format
 * @throws ClaudeStreamError with a status of 400
 */
export function readTurn(body: Record<string, unknown>, effortField: string): Turn {
  const { prompt, messages, model, session } = body;
  const effort = body[effortField];
  if (model != null && typeof model !== 'string') {
    throw new ClaudeStreamError('invalid_request', '"model" must be a string.');
  }
  const known = effort == null ? undefined : efforts.find((name) => name === effort);
  if (effort != null && known === undefined) {
    throw new ClaudeStreamError(
      'invalid_request',
      `"${effortField}" must be one of ${efforts.join(', ')}.`,
    );
  }
  if (session != null && !(typeof session === 'string' && UUID.test(session))) {
    throw new ClaudeStreamError('invalid_request', '"session" must be the UUID of a session.');
  }
  return {
    ...(prompt == null && messages != null
      ? readMessages(messages)
      : { content: readPrompt(prompt) }),
    model: model ?? undefined,
    effort: known,
    session: session ?? undefined,
  };
}

/** A body's boolean, or `fallback` when it is absent. */
export function readFlag(value: unknown, name: string, fallback: boolean): boolean {
  if (value == null) return fallback;
  if (typeof value === 'boolean') return value;
  throw new ClaudeStreamError('invalid_request', `"${name}" must be true or false.`);
}

function readPrompt(prompt: unknown): string {
  if (prompt == null) {
    throw new ClaudeStreamError(
      'invalid_prompt',
      'The request has neither "prompt" nor "messages".',
    );
  }
  if (typeof prompt !== 'string') {
    throw new ClaudeStreamError('invalid_prompt', '"prompt" must be a string.');
  }
  if (prompt.trim() === '') {
    throw new ClaudeStreamError('invalid_prompt', '"prompt" must not be empty.');
  }
  return prompt;
}

interface ChatMessage {
  readonly role: string;
  readonly blocks: readonly ContentBlock[];
}

const SYSTEM_ROLES = ['system', 'developer'];
const ROLES = [...SYSTEM_ROLES, 'user', 'assistant', 'tool', 'function'];

/**
 * System and developer messages become the system prompt, the last user message the prompt. What lies between is
 * told as the conversation so far, since the CLI takes only the user's side of a conversation.
 */
function readMessages(messages: unknown): Pick<Turn, 'content' | 'system'> {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalidMessages('"messages" must be an array with at least one message.');
  }
  const chat = messages.map(readMessage);
  const conversation = chat.filter(({ role }) => !SYSTEM_ROLES.includes(role));
  const last = conversation.at(-1);
  if (last?.role !== 'user') throw invalidMessages('The last of "messages" must be of the user.');
  if (!last.blocks.some((block) => block.type !== 'text' || block.text?.trim())) {
    throw invalidMessages('The last of "messages" must not be empty.');
  }
  const system = chat
    .filter(({ role }) => SYSTEM_ROLES.includes(role))
    .map(({ blocks }) => textOf(blocks))
    .join('\n\n');
  // It becomes an argument of the process, which ends at the first NUL.
  if (system.includes('\0')) throw invalidMessages('A system message must not hold a NUL.');
  const history = conversation.slice(0, -1);
  return {
    content: simplified([...history.flatMap(told), ...lastWords(history, last)]),
    system: system === '' ? undefined : system,
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
  for (const block of blocks) {
    const previous = merged.at(-1);
    if (block.type === 'text' && previous?.type === 'text') {
      merged[merged.length - 1] = { type: 'text', text: `${previous.text}${block.text}` };
    } else {
      merged.push(block);
    }
  }
  const [only] = merged;
  return merged.length === 1 && only?.type === 'text' ? (only.text ?? '') : merged;
}

function readMessage(message: unknown, index: number): ChatMessage {
  const place = `messages[${index}]`;
  if (typeof message !== 'object' || message === null) {
    throw invalidMessages(`${place} must be an object.`);
  }
  const { role, content } = message as { role?: unknown; content?: unknown };
  if (typeof role !== 'string' || !ROLES.includes(role)) {
    throw invalidMessages(`${place}.role must be one of ${ROLES.join(', ')}.`);
  }
  if (typeof content === 'string') return { role, blocks: [{ type: 'text', text: content }] };
  // An assistant message that only called tools has no content.
  if (content == null && role === 'assistant') return { role, blocks: [] };
  if (!Array.isArray(content)) {
    throw invalidMessages(`${place}.content must be a string or an array of parts.`);
  }
  return { role, blocks: content.map((part, at) => readPart(part, `${place}.content[${at}]`)) };
}

function readPart(part: unknown, place: string): ContentBlock {
  const { type, text, image_url, source } = (part ?? {}) as Record<string, unknown>;
  if (type === 'text' && typeof text === 'string') return { type: 'text', text };
  if (type === 'image_url') return readImage(image_url, place);
  if (type === 'image' && isBase64Source(source)) return { type: 'image', source };
  throw invalidMessages(
    `${place} must be {"type": "text", "text": string} or {"type": "image_url", "image_url": {"url": data URL}}.`,
  );
}

function readImage(imageUrl: unknown, place: string): ContentBlock {
  const url = typeof imageUrl === 'string' ? imageUrl : (imageUrl as { url?: unknown } | null)?.url;
  const [, mediaType, data] = (typeof url === 'string' && IMAGE_DATA_URL.exec(url)) || [];
  if (data === undefined) {
    throw invalidMessages(
      `${place}.image_url must be a base64 data URL of a JPEG, PNG, GIF or WebP image; other URLs are not fetched.`,
    );
  }
  return { type: 'image', source: { type: 'base64', media_type: mediaType, data } };
}

function isBase64Source(source: unknown): boolean {
  const { type, media_type, data } = (source ?? {}) as Record<string, unknown>;
  return (
    type === 'base64' &&
    typeof data === 'string' &&
    typeof media_type === 'string' &&
    IMAGE_DATA_URL.test(`data:${media_type};base64,${data}`)
  );
}

function textOf(blocks: readonly ContentBlock[]): string {
  return blocks.map(({ text }) => text ?? '').join('');
}

function invalidMessages(message: string): ClaudeStreamError {
  return new ClaudeStreamError('invalid_messages', message);
}
