import {
  type ClaudeMessage,
  isAssistant,
  isStreamEvent,
  isSystem,
  type SystemMessage,
} from '../claude/messages.js';
import { Answer, type ToolResult } from '../formats/answer.js';
import type {
  AnthropicEvent,
  ClaudeEvent,
  ClientFormat,
  EventsByFormat,
  OpenAIEvent,
  Status,
  UiMessageEvent,
  UiMessageMetadata,
} from './events.js';
import { type Message, MessageBuilder } from './message.js';

type Reduce<Event> = (event: Event) => Message;

const reducers: { readonly [Format in ClientFormat]: () => Reduce<EventsByFormat[Format]> } = {
  claude: claudeReducer,
  openai: openaiReducer,
  anthropic: anthropicReducer,
  'ui-message': uiMessageReducer,
};

/**
 * Makes a function that takes the events of one run, in their order, and returns the message so far after each.
 *
 * @param format default `'claude'`
 */
export function messageReducer<Format extends ClientFormat = 'claude'>(
  format: Format = 'claude' as Format,
): Reduce<EventsByFormat[Format]> {
  const create: (() => Reduce<EventsByFormat[Format]>) | undefined = reducers[format];
  if (create === undefined) throw new TypeError(`There is no format "${format}".`);
  return create();
}

function claudeReducer(): Reduce<ClaudeEvent> {
  const builder = new MessageBuilder();
  const answer = new Answer({
    text: (text) => builder.words('text', text),
    thinking: (text) => builder.words('thinking', text),
    toolStarted: (id, name) => builder.toolStarted(id, name),
    toolInput: (id, json) => builder.toolInput(id, json),
    toolBrokenOff: (id) => builder.toolEnded(id, undefined, 'unfinished'),
    toolBegun: ({ id, label, input }) => builder.toolBegun(id, label.name, input),
    toolEnded: ({ id }, result) => builder.toolEnded(id, result?.text, toolState(result)),
    notice: (description, done, within) => builder.activity(description, done, within),
  });
  return (event) => {
    learnRun(builder, event.id);
    switch (event.kind) {
      case 'message': {
        const { message } = event;
        if (isSystem(message)) learnSession(builder, message);
        if (beginsBlock(message)) builder.blockBegun();
        answer.message(message);
        break;
      }
      case 'queue':
        setPosition(builder, event.position);
        break;
      case 'outcome': {
        answer.end();
        const { model, sessionId } = { ...builder.message, ...event.outcome };
        builder.set({ model, sessionId, usage: event.outcome.usage });
        builder.end(event.outcome);
        break;
      }
      case 'gap':
        answer.gap();
        builder.gap(event);
        break;
      // A failure is followed by another try.
    }
    return builder.message;
  };
}

function openaiReducer(): Reduce<OpenAIEvent> {
  const builder = new MessageBuilder();
  return ({ id, chunk }) => {
    learnRun(builder, id);
    const { model, choices = [], event, usage, error } = chunk;
    if (model !== undefined) builder.set({ model });
    for (const { delta, finish_reason } of choices) {
      if (delta.reasoning_content) builder.words('thinking', delta.reasoning_content);
      if (delta.content) builder.words('text', delta.content);
      if (finish_reason !== null) builder.end({ status: 'success', stopReason: finish_reason });
    }
    if (event?.type === 'status') builder.activity(event.data.description, event.data.done);
    if (usage) {
      const { prompt_tokens, completion_tokens, prompt_tokens_details } = usage;
      const cacheReadTokens = prompt_tokens_details?.cached_tokens ?? 0;
      const inputTokens = prompt_tokens - cacheReadTokens;
      builder.set({ usage: { inputTokens, outputTokens: completion_tokens, cacheReadTokens } });
    }
    if (error) builder.end(failureOf(error.message, error.code ?? undefined));
    return builder.message;
  };
}

function anthropicReducer(): Reduce<AnthropicEvent> {
  const builder = new MessageBuilder();
  let stopReason: string | undefined;
  return ({ id, event }) => {
    learnRun(builder, id);
    switch (event.type) {
      case 'message_start':
        builder.set({ model: event.message?.model });
        break;
      case 'content_block_start':
        builder.setApart();
        break;
      case 'content_block_delta':
        if (event.delta?.text) builder.words('text', event.delta.text);
        if (event.delta?.thinking) builder.words('thinking', event.delta.thinking);
        break;
      case 'ping':
        if (event.status) setStatus(builder, event.status);
        break;
      case 'message_delta':
        stopReason = event.delta?.stop_reason ?? undefined;
        if (event.usage) {
          builder.set({
            usage: {
              inputTokens: event.usage.input_tokens ?? 0,
              outputTokens: event.usage.output_tokens,
              cacheReadTokens: event.usage.cache_read_input_tokens ?? 0,
              cacheCreationTokens: event.usage.cache_creation_input_tokens ?? 0,
            },
          });
        }
        break;
      case 'message_stop':
        builder.end({ status: 'success', ...(stopReason !== undefined && { stopReason }) });
        break;
      case 'error':
        builder.end(failureOf(event.error?.message, event.error?.code ?? event.error?.type));
        break;
    }
    return builder.message;
  };
}

function uiMessageReducer(): Reduce<UiMessageEvent> {
  const builder = new MessageBuilder();
  return ({ id: eventId, chunk }) => {
    learnRun(builder, eventId);
    const { type, toolCallId = '', toolName = '' } = chunk;
    const metadata = (chunk.messageMetadata ?? undefined) as UiMessageMetadata | undefined;
    if (metadata?.model !== undefined) builder.set({ model: metadata.model });
    if (metadata?.sessionId !== undefined) builder.set({ sessionId: metadata.sessionId });
    if (metadata?.usage !== undefined) builder.set({ usage: metadata.usage });
    switch (type) {
      case 'text-start':
      case 'reasoning-start':
        builder.setApart();
        break;
      case 'text-delta':
        builder.words('text', chunk.delta ?? '');
        break;
      case 'reasoning-delta':
        builder.words('thinking', chunk.delta ?? '');
        break;
      case 'tool-input-start':
        builder.toolStarted(toolCallId, toolName);
        break;
      case 'tool-input-delta':
        builder.toolInput(toolCallId, chunk.inputTextDelta ?? '');
        break;
      case 'tool-input-available':
        builder.toolBegun(toolCallId, toolName, chunk.input);
        break;
      case 'tool-output-available':
        builder.toolEnded(toolCallId, String(chunk.output), 'done');
        break;
      case 'tool-output-error':
        builder.toolEnded(toolCallId, chunk.errorText, 'failed');
        break;
      case 'data-status':
        if (isStatus(chunk.data)) setStatus(builder, chunk.data);
        break;
      case 'finish':
        builder.end({ status: 'success', ...metadata });
        break;
      case 'abort':
        builder.end({ status: 'interrupted', code: 'cancelled', message: 'It was cancelled.' });
        break;
      case 'error':
        builder.end(failureOf(chunk.errorText, undefined));
        break;
    }
    return builder.message;
  };
}

function toolState(result: ToolResult | undefined) {
  if (result === undefined) return 'unfinished';
  return result.isError ? 'failed' : 'done';
}

function failureOf(message: string | undefined, code: string | undefined) {
  return { status: 'error', ...(message && { message }), ...(code && { code }) } as const;
}

function isStatus(data: unknown): data is Status {
  const { description, done } = (data ?? {}) as Partial<Status>;
  return typeof description === 'string' && typeof done === 'boolean';
}

function setStatus(builder: MessageBuilder, { description, done, position }: Status): void {
  if (position === undefined) builder.activity(description, done);
  else setPosition(builder, position);
}

function setPosition(builder: MessageBuilder, position: number): void {
  builder.set({ position: position === 0 ? undefined : position });
}

/** Of the conversation itself: blocks of subagents are not its words. */
function beginsBlock(message: ClaudeMessage): boolean {
  if (message.parent_tool_use_id != null) return false;
  if (isAssistant(message)) return true;
  return isStreamEvent(message) && message.event.type === 'content_block_start';
}

function learnSession(builder: MessageBuilder, { model, session_id }: SystemMessage): void {
  if (typeof model === 'string') builder.set({ model });
  if (typeof session_id !== 'string' || session_id === builder.message.sessionId) return;
  builder.set({ sessionId: session_id });
}

/** Every event id begins with the run's. */
function learnRun(builder: MessageBuilder, id: string | undefined): void {
  if (id === undefined || builder.message.runId !== undefined) return;
  builder.set({ runId: id.slice(0, id.lastIndexOf(':')) });
}
