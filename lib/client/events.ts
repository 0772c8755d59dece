import type { ClaudeMessage } from '../claude/messages.js';

/** The formats by the events that a client reads. */
export interface EventsByFormat {
  readonly claude: ClaudeEvent;
  readonly openai: OpenAIEvent;
  readonly anthropic: AnthropicEvent;
  readonly 'ui-message': UiMessageEvent;
}

export type ClientFormat = keyof EventsByFormat;

/** What every event has. */
interface Numbered {
  /** `<run>:<number>`: where to go on after a cut. */
  readonly id: string | undefined;
}

/** How a run ended, as its last event says. */
export interface ShownOutcome {
  readonly status: 'success' | 'error' | 'interrupted' | 'timeout' | 'crashed';
  readonly code?: string;
  readonly message?: string;
  readonly runId?: string;
  readonly sessionId?: string;
  readonly model?: string;
  readonly stopReason?: string;
  readonly usage?: MessageUsage;
  readonly costUsd?: number;
  readonly durationMs?: number;
  readonly [field: string]: unknown;
}

/** What goes on beside an answer, as the formats but `claude` tell it. */
export interface Status {
  readonly description: string;
  readonly done: boolean;
  /** Of a run that waits for its turn: 1 for the next, 0 when it has come. */
  readonly position?: number;
}

/** Tokens. Those of the input were neither written to nor read from the cache. */
export interface MessageUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens?: number;
  readonly cacheCreationTokens?: number;
}

/** Events of the format `claude`. */
export type ClaudeEvent = Numbered &
  (
    | { readonly kind: 'message'; readonly message: ClaudeMessage }
    /** The run waits for its turn; 0 when it has come. */
    | { readonly kind: 'queue'; readonly position: number }
    /** Events from `first` to `last` are not kept any more; a message may have begun in them. */
    | {
        readonly kind: 'gap';
        readonly first: number;
        readonly last: number;
        readonly code: string;
        readonly message: string;
      }
    /** The rest cannot be had at the moment. */
    | { readonly kind: 'failure'; readonly code: string; readonly message: string }
    /** The last event. */
    | { readonly kind: 'outcome'; readonly outcome: ShownOutcome }
  );

/** Chunks of the format `openai`, as far as they are read here. */
export interface OpenAIEvent extends Numbered {
  readonly chunk: {
    readonly id?: string;
    readonly model?: string;
    readonly choices?: readonly {
      readonly delta: { readonly content?: string | null; readonly reasoning_content?: string };
      readonly finish_reason: string | null;
    }[];
    readonly event?: {
      readonly type: string;
      readonly data: Status;
    };
    readonly usage?: {
      readonly prompt_tokens: number;
      readonly completion_tokens: number;
      readonly prompt_tokens_details?: { readonly cached_tokens?: number };
    } | null;
    readonly error?: { readonly message: string; readonly code: string | null };
  };
}

/** Events of the format `anthropic`, as far as they are read here. */
export interface AnthropicEvent extends Numbered {
  readonly event: {
    readonly type: string;
    readonly message?: { readonly id?: string; readonly model?: string };
    readonly index?: number;
    readonly content_block?: { readonly type: string };
    readonly delta?: {
      readonly type?: string;
      readonly text?: string;
      readonly thinking?: string;
      readonly stop_reason?: string | null;
    };
    readonly usage?: {
      readonly input_tokens: number | null;
      readonly output_tokens: number;
      readonly cache_read_input_tokens?: number | null;
      readonly cache_creation_input_tokens?: number | null;
    };
    readonly status?: Status;
    readonly error?: { readonly type: string; readonly message: string; readonly code?: string };
  };
}

/** Chunks of the format `ui-message`, as far as they are read here. */
export interface UiMessageEvent extends Numbered {
  readonly chunk: {
    readonly type: string;
    readonly id?: string;
    readonly delta?: string;
    readonly toolCallId?: string;
    readonly toolName?: string;
    readonly input?: unknown;
    readonly inputTextDelta?: string;
    readonly output?: unknown;
    readonly errorText?: string;
    /** Of `data-status` a `Status`; of other parts it is the application's own. */
    readonly data?: unknown;
    /** A `UiMessageMetadata` here; the AI SDK leaves it open. */
    readonly messageMetadata?: unknown;
  };
}

/** What the message of a run tells beside its parts. */
export interface UiMessageMetadata {
  readonly runId?: string;
  readonly sessionId?: string;
  readonly model?: string;
  readonly stopReason?: string;
  readonly usage?: MessageUsage;
  readonly costUsd?: number;
  readonly durationMs?: number;
}
