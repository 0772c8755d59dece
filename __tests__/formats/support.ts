/** Messages as the CLI writes them, the outcomes of runs, and what a format makes of both. */
import type { ClaudeMessage, ContentBlock } from '../../lib/claude/messages.js';
import { ClaudeStreamError } from '../../lib/errors.js';
import type { ChatRequest, EncoderContext, Format } from '../../lib/formats/format.js';
import type { Ending, Outcome, RunFacts } from '../../lib/outcome.js';

export const init = { type: 'system', subtype: 'init', model: 'claude-fixture' };

const streamEvent = (event: object, parent: string | null = null): ClaudeMessage => ({
  type: 'stream_event',
  parent_tool_use_id: parent,
  event,
});

export const messageStart = (id: string) =>
  streamEvent({ type: 'message_start', message: { id, model: 'claude-fixture' } });

export const blockStart = (block: ContentBlock) =>
  streamEvent({ type: 'content_block_start', index: 0, content_block: block });

export const textStart = blockStart({ type: 'text', text: '' });

export const thinkingStart = blockStart({ type: 'thinking', thinking: '' });

export const text = (text: string, parent: string | null = null) =>
  streamEvent(
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } },
    parent,
  );

export const thinking = (thinking: string) =>
  streamEvent({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'thinking_delta', thinking },
  });

export const messageDelta = (stop_reason: string) =>
  streamEvent({ type: 'message_delta', delta: { stop_reason } });

export const assistant = (
  id: string,
  content: readonly ContentBlock[],
  more: object = {},
): ClaudeMessage => ({
  type: 'assistant',
  parent_tool_use_id: null,
  message: { id, content },
  ...more,
});

export const toolUse = (id: string, name: string, input: object): ContentBlock => ({
  type: 'tool_use',
  id,
  name,
  input,
});

export const readNotes = assistant('msg_1', [
  toolUse('toolu_1', 'Read', { file_path: '/srv/notes.md' }),
]);

export const toolResult = (tool_use_id: string, content: unknown = 'Done.'): ClaudeMessage => ({
  type: 'user',
  parent_tool_use_id: null,
  message: { content: [{ type: 'tool_result', tool_use_id, content }] },
});

/** The CLI asks whether a tool may run. */
export const permissionRequest = (
  request_id: string,
  tool_name: string,
  input: object,
): ClaudeMessage => ({
  type: 'control_request',
  request_id,
  request: { subtype: 'can_use_tool', tool_name, input },
});

export const system = (subtype: string, more: object): ClaudeMessage => ({
  type: 'system',
  subtype,
  ...more,
});

export const apiRetry = system('api_retry', {
  attempt: 1,
  max_retries: 10,
  retry_delay_ms: 522,
  error_status: 429,
  error: 'rate_limit',
});

export const result = (result: string, more: object = {}): ClaudeMessage => ({
  type: 'result',
  is_error: false,
  result,
  ...more,
});

/** A streamed answer of one text block, in as many deltas as there are `pieces`. */
export const answered = (...pieces: string[]): ClaudeMessage[] => [
  init,
  messageStart('msg_1'),
  textStart,
  ...pieces.map((piece) => text(piece)),
];

export function outcomeOf(ending: Ending, facts: Partial<RunFacts> = {}): Outcome {
  return {
    runId: 'run',
    durationMs: 1_234,
    timeToFirstMessageMs: 340,
    timeToFirstTokenMs: 410,
    exitCode: 0,
    signal: null,
    sessionId: '11111111-2222-4333-8444-555555555555',
    lastMessageId: '99999999-2222-4333-8444-555555555555',
    model: 'claude-fixture',
    turns: 1,
    usage: undefined,
    costUsd: 0.01,
    invalidLines: 0,
    stderrTail: '',
    ...facts,
    ...ending,
  };
}

export const success = outcomeOf({ status: 'success', result: '', stopReason: 'end_turn' });

export function requestOf(overrides: Partial<ChatRequest> = {}): ChatRequest {
  return {
    turn: { content: 'Hello' },
    stream: true,
    includeUsage: false,
    modelName: undefined,
    user: undefined,
    conversation: undefined,
    background: false,
    ...overrides,
  };
}

export function contextOf(overrides: Partial<EncoderContext> = {}): EncoderContext {
  return {
    runId: 'run',
    startedAt: 1_700_000_000_999,
    request: requestOf(),
    toolDisplay: 'status',
    exposeErrors: false,
    ...overrides,
  };
}

export interface Event {
  readonly data: string;
  readonly event: string | undefined;
}

/** The events of a run that says `messages` and ends with `outcome`. */
export function encode(
  format: Format,
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  context: EncoderContext = contextOf(),
): Event[] {
  const events: Event[] = [];
  const encoder = format.encoder(context, (data, event) => events.push({ data, event }));
  for (const message of messages) encoder.message(message, JSON.stringify(message));
  encoder.end(outcome);
  return events;
}

/** The response of the same run when it is not streamed. */
export function collect(
  format: Format,
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  context: EncoderContext = contextOf(),
) {
  const collector = format.collector(context);
  for (const message of messages) collector.message(message);
  return collector.end(outcome);
}

/** What a client may know of the error that `act` throws; a request is at fault, so that is all of it. */
export function errorOf(act: () => unknown) {
  try {
    act();
  } catch (error) {
    if (!(error instanceof ClaudeStreamError)) throw error;
    const { status, code, message, field, publicMessage } = error;
    expect({ status, publicMessage }).toEqual({ status: 400, publicMessage: message });
    return { code, message, field };
  }
  throw new Error('Nothing was thrown.');
}

/** How many milliseconds `act` takes. */
export function timeOf(act: () => unknown): number {
  const start = performance.now();
  act();
  return performance.now() - start;
}

/** Random numbers from 0 to below 1 that are the same in every test run (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A text made of `length` random picks. */
export function randomText(random: () => number, alphabet: readonly string[], length: number) {
  return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join('');
}

/** Cuts a text into deltas of 1 to `longest` characters; a delta never holds half a character. */
export function randomDeltas(random: () => number, text: string, longest: number): string[] {
  const characters = Array.from(text);
  const deltas: string[] = [];
  while (characters.length > 0) {
    deltas.push(characters.splice(0, 1 + Math.floor(random() * longest)).join(''));
  }
  return deltas;
}
