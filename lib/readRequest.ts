import type { Request } from 'express';
import type { CommandOptions } from './claude/command.js';
import { ClaudeStreamError } from './errors.js';
import type { ChatRequest } from './formats/format.js';
import type { Models } from './models.js';
import { readOverrides, type Settings } from './options.js';

/** What a request asks for, and how the process for it is run. */
export interface PlannedRequest {
  readonly chat: ChatRequest;
  readonly commandOptions: CommandOptions;
}

/**
 * Reads a request: the application's own `request` function first, whose word stands above the client's.
 *
 * @param models `undefined` when a request has no choice
 * @throws ClaudeStreamError with a status of 400; `invalid_option` for what `request` returned
 * @throws whatever `request` throws
 */
export async function readRequest(
  settings: Settings,
  models: Models | undefined,
  request: Request,
): Promise<PlannedRequest> {
  const { format } = settings;
  const { command, body } =
    settings.request === undefined
      ? { command: {}, body: request.body }
      : overridden(request.body, readOverrides(await settings.request(request)));
  const chat = format.read(body, request.headers);
  const commandOptions = { ...settings.command, ...command };
  if (chat.background && settings.taskModel !== false) {
    const { model = settings.taskModel, effort = 'low' } = command;
    return background(chat, { ...commandOptions, model, effort });
  }
  const { turn } = chat;
  // What the application says itself needs no offer, and then the client's name for a model says nothing.
  const isChosen = command.model === undefined && turn.model !== undefined && models !== undefined;
  const model = isChosen ? await models.resolve(String(turn.model)) : command.model;
  return {
    chat: {
      ...chat,
      modelName: isChosen ? chat.modelName : undefined,
      background: false,
      turn: { ...turn, model, effort: command.effort ?? turn.effort },
    },
    commandOptions,
  };
}

/**
 * Whose request it is, as far as turns go; `undefined` where there are none to take.
 *
 * @throws ClaudeStreamError `invalid_option`
 * @throws whatever `key` throws
 */
export function keyOf({ concurrency, key }: Settings, request: Request): string | undefined {
  if (concurrency === false || key === undefined) return undefined;
  const value: unknown = key(request);
  if (typeof value === 'string') return value;
  throw new ClaudeStreamError(
    'invalid_option',
    `The function "key" must return a string, not ${value instanceof Promise ? 'a promise' : typeof value}.`,
  );
}

/**
 * Lays the application's fields over the body's. Its prompt replaces the client's, whichever of the two fields it came
 * in, and so does every field that it names, be it with `undefined`: a session that a user does not have must not be
 * one that the client names.
 */
function overridden(
  clientBody: unknown,
  { command, body }: ReturnType<typeof readOverrides>,
): { command: CommandOptions; body: unknown } {
  const { prompt, messages, ...rest } = isObject(clientBody) ? clientBody : {};
  const asked = 'prompt' in body || 'messages' in body ? {} : { prompt, messages };
  return { command, body: { ...rest, ...asked, ...body } };
}

const TASK_SYSTEM_PROMPT =
  'You answer requests that a chat application makes for itself, such as for a title or tags. ' +
  'Answer in exactly the form that the request asks for, and say nothing else.';

/** A title needs no tools, no session, no servers, and not the most expensive model. */
function background(chat: ChatRequest, commandOptions: CommandOptions): PlannedRequest {
  const { args = [], mcpConfig: _mcpConfig, ...rest } = commandOptions;
  const { model, effort } = commandOptions;
  return {
    chat: {
      ...chat,
      modelName: undefined,
      conversation: undefined,
      turn: { ...chat.turn, model, effort, session: undefined },
    },
    commandOptions: {
      // Shorter than the CLI's own; the application's is not the client's to take away.
      systemPrompt: TASK_SYSTEM_PROMPT,
      ...rest,
      tools: [],
      strictMcpConfig: true,
      args: [...args, '--no-session-persistence'],
    },
  };
}

export function refuseIfTooLarge(stdin: string, maxPromptBytes: number): void {
  if (Buffer.byteLength(stdin) <= maxPromptBytes) return;
  throw new ClaudeStreamError(
    'prompt_too_large',
    `The prompt is larger than ${maxPromptBytes} bytes.`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
