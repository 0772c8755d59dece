import type { Turn } from '../claude/command.js';
import type { ClaudeMessage } from '../claude/messages.js';
import type { ErrorCode } from '../errors.js';
import type { Outcome } from '../outcome.js';

/** How tools show in a format whose clients have no place for them. */
export const toolDisplays = ['status', 'text', 'none'] as const;
export type ToolDisplay = (typeof toolDisplays)[number];

/** What a request body asks for, in any format. */
export interface ChatRequest {
  readonly turn: Turn;
  /** Whether the answer is an event stream; otherwise it is one JSON body. */
  readonly stream: boolean;
  /** Whether a stream ends with the token usage, where a format leaves that to the client. */
  readonly includeUsage: boolean;
}

export interface EncoderContext {
  readonly runId: string;
  /** When the run began: ms since 1970. */
  readonly startedAt: number;
  readonly request: ChatRequest;
  readonly toolDisplay: ToolDisplay;
  /** Whether a client may see what the operator sees: stderr, paths. */
  readonly exposeErrors: boolean;
}

/** Takes one event: `data` on one line, and the event's name if it has one. */
export type Emit = (data: string, event?: string) => void;

/** Turns the messages of one run into events, as they come. */
export interface Encoder {
  /** @param text the message as the CLI wrote it, one line */
  message(message: ClaudeMessage, text: string): void;
  /** The run is over: the last events, which say truthfully how it ended. */
  end(outcome: Outcome): void;
}

/** Turns the messages of one run into one body. */
export interface Collector {
  message(message: ClaudeMessage): void;
  end(outcome: Outcome): JsonResponse;
}

export interface JsonResponse {
  readonly status: number;
  readonly body: object;
}

/** One wire format. It knows nothing of processes, sockets or time. */
export interface Format {
  /** Reads a request body. @throws ClaudeStreamError with a status of 400 */
  read(body: unknown): ChatRequest;
  encoder(context: EncoderContext, emit: Emit): Encoder;
  collector(context: EncoderContext): Collector;
  /** The body of an error response. */
  errorBody(code: ErrorCode, message: string): object;
}

/** What a client is told about an ending that is no success. */
export function failureMessage(
  outcome: Exclude<Outcome, { status: 'success' }>,
  exposeErrors: boolean,
): string {
  if (!exposeErrors) return outcome.message;
  const detail = outcome.status === 'crashed' ? outcome.detail : outcome.stderrTail.trim();
  return detail === '' ? outcome.message : `${outcome.message}\n${detail}`;
}
