import { type Effort, efforts, type Turn } from '../claude/command.js';
import { ClaudeStreamError } from '../errors.js';
import { type Conversation, type MessageFields, readMessages } from './readMessages.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What differs between formats in the fields that all of them have. */
export interface TurnFields extends MessageFields {
  /** The field that holds the effort. */
  readonly effortField: string;
  /** Names of efforts beside Claude's own. */
  readonly effortNames?: Readonly<Record<string, Effort>>;
  /** Takes out of an earlier answer what was only shown beside it. */
  readonly cleanAnswer?: (text: string) => string;
}

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
 * @throws ClaudeStreamError with a status of 400
 */
export function readTurn(
  body: Record<string, unknown>,
  { effortField, effortNames = {}, cleanAnswer = (text) => text, ...fields }: TurnFields,
): { turn: Turn; conversation: Conversation | undefined; user: string | undefined } {
  const { prompt, messages } = body;
  const session = readText(body, 'session');
  if (session !== undefined && !UUID.test(session)) {
    throw new ClaudeStreamError('invalid_request', '"session" must be the UUID of a session.', {
      field: 'session',
    });
  }
  const choices = {
    model: readText(body, 'model'),
    effort: readEffort(body[effortField], effortField, effortNames),
    session,
  };
  const user = readText(body, 'user');
  if (messages != null) {
    const { conversation, ...words } = readMessages(messages, cleanAnswer, fields);
    return { turn: { ...words, ...choices }, conversation, user };
  }
  return { turn: { content: readPrompt(prompt), ...choices }, conversation: undefined, user };
}

/** An object in a body; an empty one when it is absent. @throws ClaudeStreamError `invalid_request` */
export function readObject(value: unknown, field: string): Record<string, unknown> {
  if (value == null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ClaudeStreamError('invalid_request', `"${field}" must be an object.`, { field });
}

/** A body's string; `undefined` when it is absent. @throws ClaudeStreamError `invalid_request` */
export function readText(body: Record<string, unknown>, name: string): string | undefined {
  const value = body[name];
  if (value == null || typeof value === 'string') return value ?? undefined;
  throw new ClaudeStreamError('invalid_request', `"${name}" must be a string.`, { field: name });
}

/** A body's boolean, or `fallback` when it is absent. */
export function readFlag(value: unknown, name: string, fallback: boolean): boolean {
  if (value == null) return fallback;
  if (typeof value === 'boolean') return value;
  throw new ClaudeStreamError('invalid_request', `"${name}" must be true or false.`, {
    field: name,
  });
}

function readEffort(
  value: unknown,
  field: string,
  names: Readonly<Record<string, Effort>>,
): Effort | undefined {
  if (value == null) return undefined;
  const own = efforts.find((effort) => effort === value);
  if (own !== undefined) return own;
  if (typeof value === 'string' && Object.hasOwn(names, value)) return names[value];
  throw new ClaudeStreamError(
    'invalid_request',
    `"${field}" must be one of ${[...Object.keys(names), ...efforts].join(', ')}.`,
    { field },
  );
}

function readPrompt(prompt: unknown): string {
  if (prompt == null) {
    throw new ClaudeStreamError(
      'invalid_prompt',
      'The request has neither "prompt" nor "messages".',
    );
  }
  if (typeof prompt !== 'string') {
    throw new ClaudeStreamError('invalid_prompt', '"prompt" must be a string.', {
      field: 'prompt',
    });
  }
  if (prompt.trim() === '') {
    throw new ClaudeStreamError('invalid_prompt', '"prompt" must not be empty.', {
      field: 'prompt',
    });
  }
  return prompt;
}
