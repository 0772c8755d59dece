export {
  type AssistantMessage,
  type ClaudeMessage,
  type ContentBlock,
  isAssistant,
  isResult,
  isStreamEvent,
  isSystem,
  isUser,
  type ResultMessage,
  type StreamEventMessage,
  type SystemMessage,
  type UserMessage,
} from './claude/messages.js';
export { ClientError, type ClientErrorCode } from './client/clientError.js';
export type {
  AnthropicEvent,
  ClaudeEvent,
  ClientFormat,
  EventsByFormat,
  MessageUsage,
  OpenAIEvent,
  ShownOutcome,
  Status,
  UiMessageEvent,
  UiMessageMetadata,
} from './client/events.js';
export {
  type Activity,
  emptyMessage,
  endMessage,
  type Gap,
  type Message,
  type Part,
  type ToolPart,
  type WordsPart,
  wordsOf,
} from './client/message.js';
export { messageReducer } from './client/messageReducer.js';
export { type ReadOptions, readEvents } from './client/readEvents.js';
export { type StreamOptions, streamClaude } from './client/streamClaude.js';
