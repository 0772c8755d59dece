/**
 * The messages of the CLI, one JSON object a line, as far as this library reads them.
 *
 * Measured on Claude Code 2.1.197 and 2.1.330. New types and subtypes appear with every release, so a message is
 * only ever narrowed by a guard, and what no guard knows is passed on as it came.
 */
export interface ClaudeMessage {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A content block of the Messages API, as far as it is read here. */
export interface ContentBlock {
  readonly type: string;
  readonly text?: string;
  readonly thinking?: string;
  readonly id?: string;
  readonly name?: string;
  readonly input?: unknown;
  readonly tool_use_id?: string;
  readonly is_error?: boolean;
  readonly [field: string]: unknown;
}

/** One streaming event of the Messages API; `parent_tool_use_id` is set when it comes from a subagent. */
export interface StreamEventMessage extends ClaudeMessage {
  readonly type: 'stream_event';
  readonly parent_tool_use_id: string | null;
  readonly event: StreamEvent;
}

export interface StreamEvent {
  readonly type: string;
  readonly index?: number;
  readonly message?: { readonly id?: string; readonly model?: string };
  readonly content_block?: ContentBlock;
  readonly delta?: {
    readonly type?: string;
    readonly text?: string;
    readonly thinking?: string;
    readonly partial_json?: string;
    readonly stop_reason?: string | null;
  };
}

/** One finished content block; its text repeats the deltas of that block, unless the message is synthetic. */
export interface AssistantMessage extends ClaudeMessage {
  readonly type: 'assistant';
  readonly parent_tool_use_id: string | null;
  readonly message: {
    readonly id?: string;
    readonly model?: string;
    readonly content: readonly ContentBlock[];
  };
  /** Set on a synthetic message that reports a failed API call; the `result` that follows repeats its text. */
  readonly error?: string;
}

/** Tool results, and words that are not the user's (`isSynthetic`, `isReplay`). */
export interface UserMessage extends ClaudeMessage {
  readonly type: 'user';
  readonly parent_tool_use_id: string | null;
  readonly message: { readonly content: string | readonly ContentBlock[] };
}

export interface SystemMessage extends ClaudeMessage {
  readonly type: 'system';
  readonly subtype: string;
}

/** Token counts of one turn. */
export interface MessageUsage {
  readonly input_tokens?: number;
  readonly output_tokens?: number;
  readonly cache_creation_input_tokens?: number;
  readonly cache_read_input_tokens?: number;
}

/** Token counts of one model since the process started. */
export interface ModelUsage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  readonly cacheReadInputTokens?: number;
  readonly cacheCreationInputTokens?: number;
  readonly canonicalModel?: string;
}

/** The end of a turn, which is not always the end of the run; `is_error` decides, not `subtype`. */
export interface ResultMessage extends ClaudeMessage {
  readonly type: 'result';
  readonly subtype?: string;
  readonly is_error?: boolean;
  readonly result?: string;
  readonly errors?: readonly unknown[];
  readonly stop_reason?: string | null;
  readonly terminal_reason?: string;
  readonly api_error_status?: number | null;
  readonly session_id?: string;
  readonly num_turns?: number;
  readonly total_cost_usd?: number;
  readonly usage?: MessageUsage;
  readonly modelUsage?: Readonly<Record<string, ModelUsage>>;
  /** The answer that meets the schema which was asked for. */
  readonly structured_output?: unknown;
}

/** The CLI asks something and waits for a `control_response` with the same id on its stdin. */
export interface ControlRequestMessage extends ClaudeMessage {
  readonly type: 'control_request';
  readonly request_id: string;
  readonly request: { readonly subtype?: unknown; readonly [field: string]: unknown };
}

/** The CLI's answer to a control request that was written to its stdin. */
export interface ControlResponseMessage extends ClaudeMessage {
  readonly type: 'control_response';
  readonly response: {
    readonly subtype?: unknown;
    readonly request_id?: unknown;
    readonly response?: unknown;
    readonly error?: unknown;
  };
}

export function isMessage(value: unknown): value is ClaudeMessage {
  return isObject(value) && typeof value.type === 'string';
}

export function isStreamEvent(message: ClaudeMessage): message is StreamEventMessage {
  return message.type === 'stream_event' && isObject(message.event);
}

export function isAssistant(message: ClaudeMessage): message is AssistantMessage {
  return (
    message.type === 'assistant' &&
    isObject(message.message) &&
    isBlockList(message.message.content)
  );
}

export function isUser(message: ClaudeMessage): message is UserMessage {
  return (
    message.type === 'user' &&
    isObject(message.message) &&
    (typeof message.message.content === 'string' || isBlockList(message.message.content))
  );
}

export function isSystem(message: ClaudeMessage): message is SystemMessage {
  return message.type === 'system' && typeof message.subtype === 'string';
}

export function isResult(message: ClaudeMessage): message is ResultMessage {
  return message.type === 'result';
}

export function isControlRequest(message: ClaudeMessage): message is ControlRequestMessage {
  return (
    message.type === 'control_request' &&
    typeof message.request_id === 'string' &&
    isObject(message.request)
  );
}

export function isControlResponse(message: ClaudeMessage): message is ControlResponseMessage {
  return message.type === 'control_response' && isObject(message.response);
}

/**
 * Whether the CLI says that it has nothing left to do. It says so right after a `result`, unless another turn is
 * already queued: a subagent may have reported while the turn was still being written. Asked for by the variable
 * `CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS` (2.1.197 and 2.1.330).
 */
export function isIdle(message: ClaudeMessage): boolean {
  return (
    isSystem(message) && message.subtype === 'session_state_changed' && message.state === 'idle'
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isBlockList(value: unknown): value is readonly ContentBlock[] {
  return Array.isArray(value) && value.every(isMessage);
}
