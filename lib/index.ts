export type { CommandOptions, Effort } from './claude/command.js';
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
export type { PermissionDecision, PermissionRequest } from './claude/permissionPrompts.js';
export { type ClaudeStreamHandler, claudeStream, type RunInfo } from './claudeStream.js';
export type { DeadlineOptions } from './deadlines.js';
export type {
  FirstTokenFacts,
  QueueFacts,
  ReplayFacts,
  RunEndFacts,
  RunStartFacts,
  StallFacts,
} from './diagnostics.js';
export { ClaudeStreamError, type ErrorCode } from './errors.js';
export type { ToolDisplay } from './formats/format.js';
export { type OpenAIRouter, openaiRouter } from './openaiRouter.js';
export type {
  ApiKey,
  CanUseTool,
  ClaudeStreamOptions,
  FormatName,
  OpenAIRouterOptions,
  PermissionContext,
  RequestOverrides,
  RunContext,
} from './options.js';
export type {
  Deadline,
  Ending,
  Outcome,
  OutcomeSummary,
  RunFacts,
  StopReason,
  Usage,
} from './outcome.js';
export type { CloseOptions } from './service.js';
export { type MemoryStoreOptions, memoryStore } from './stores/memoryStore.js';
export type {
  KeptRun,
  Recording,
  RunKeepingStore,
  RunPage,
  RunRecord,
  RunStore,
  SessionStore,
  Store,
} from './stores/store.js';
export { streamProbe } from './streamProbe.js';
