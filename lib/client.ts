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
