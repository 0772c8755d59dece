import type { Turn } from '../claude/command.js';
import type { ClaudeMessage } from '../claude/messages.js';
import type { ErrorCode } from '../errors.js';
import type { Outcome } from '../outcome.js';
import type { Conversation } from './readMessages.js';

/** How tools show in a format whose clients have no place for them. */
export const toolDisplays = ['status', 'text', 'details', 'none'] as const;
export type ToolDisplay = (typeof toolDisplays)[number];

/** The headers of a request, in lower case. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a request asks for, in any format. */
export interface ChatRequest {
  readonly turn: Turn;
  /** Whether the answer is an event stream; otherwise it is one JSON body. */
  readonly stream: boolean;
  /** Whether a stream ends with the token usage, where a format leaves that to the client. */
  readonly includeUsage: boolean;
  /** The model's name as the client wrote it, which is how an answer calls it. */
  readonly modelName: string | undefined;
  /** Whose conversation it is, if the client says so. */
  readonly user: string | undefined;
  /** The client's own name for the conversation, by which it asks for what is going on in it. */
  readonly chat?: string | undefined;
  /** The client's own name for the answer that is to go on; absent when a new one is asked for. */
  readonly answer?: string | undefined;
  /** What came before the turn; absent when the request is a bare prompt. */
  readonly conversation: Conversation | undefined;
  /** Asked by the client's program for itself (a title, tags), not by the person in front of it. */
  readonly background: boolean;
}

export interface EncoderContext {
  readonly runId: string;
  /** When the run began: ms since 1970. */
  readonly startedAt: number;
  readonly request: ChatRequest;
  readonly toolDisplay: ToolDisplay;
  /** Whether a client may see what the operator sees: stderr, paths. */
  readonly exposeErrors: boolean;
  /** Called with the text that the client will keep as the answer, piece by piece. */
  readonly onAnswer?: ((text: string) => void) | undefined;
}

/** Takes one event: `data` on one line, and the event's name if it has one. */
export type Emit = (data: string, event?: string) => void;

/** Turns the messages of one run into events, as they come. */
export interface Encoder {
  /**
   * The run waits for its turn; told at once, and again when its position has changed.
   *
   * @param position 1 for the next; 0 when its turn has come
   */
  waiting(position: number): void;
  /** The process has been started, and has not spoken yet: what can be said without it. May come twice. */
  spawned?(): void;
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

/** What went wrong, as a client may know it. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  /** The field of the request that is wrong, if it is one. */
  readonly field?: string | undefined;
}

/** What a reader has to be told that the run itself has not said. */
export type Notice =
  /** Some events are not kept any more. */
  | {
      readonly kind: 'gap';
      readonly failure: Failure;
      readonly first: number;
      readonly last: number;
    }
  /** The run has ended without an ending: the server that it belonged to is gone. */
  | { readonly kind: 'lost'; readonly failure: Failure; readonly runId: string }
  /** The events cannot be had at the moment; the run goes on. */
  | { readonly kind: 'unavailable'; readonly failure: Failure };

/** One wire format. It knows nothing of processes, sockets or time. */
export interface Format {
  /** Headers of its event streams, beside those that every event stream has. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Reads a request. @throws ClaudeStreamError with a status of 400 */
  read(body: unknown, headers: Headers): ChatRequest;
  encoder(context: EncoderContext, emit: Emit): Encoder;
  collector(context: EncoderContext): Collector;
  /**
   * Emits the events for a notice.
   *
   * @returns whether a reader can make sense of what comes after them
   */
  notice(notice: Notice, emit: Emit): boolean;
  /** The status and the body of an error before the first byte. */
  errorResponse(failure: Failure): JsonResponse;
}

/** What a client is told about an ending that is no success. */
export function failureOf(
  outcome: Exclude<Outcome, { status: 'success' }>,
  exposeErrors: boolean,
): Failure {
  const { code, message } = outcome;
  if (!exposeErrors) return { code, message };
  const told = 'detail' in outcome ? outcome.detail : undefined;
  const detail = told ?? outcome.stderrTail.trim();
  return { code, message: detail === '' ? message : `${message}\n${detail}` };
}
