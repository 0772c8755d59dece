import type { MessageUsage, ModelUsage, ResultMessage } from './claude/messages.js';
import { ClaudeStreamError, type ErrorCode, publicMessageOf } from './errors.js';

/** Token counts of a run. Input tokens are the ones that were neither written to nor read from the cache. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheCreationTokens: number;
}

/** What is known of a run when it is over, however it ended. Durations are ms since the run was started. */
export interface RunFacts {
  readonly runId: string;
  readonly durationMs: number;
  readonly timeToFirstMessageMs: number | undefined;
  readonly timeToFirstTokenMs: number | undefined;
  readonly exitCode: number | null | undefined;
  readonly signal: NodeJS.Signals | null | undefined;
  readonly sessionId: string | undefined;
  /** The UUID of the last assistant message of the conversation itself: the session can be forked there. */
  readonly lastMessageId: string | undefined;
  readonly model: string | undefined;
  readonly turns: number;
  readonly usage: Usage | undefined;
  readonly costUsd: number | undefined;
  /** Lines of stdout that were no message: not JSON, or longer than `maxLineLength`. */
  readonly invalidLines: number;
  /** The last 8 192 characters of stderr. Never shown to a client unless `exposeErrors` is set. */
  readonly stderrTail: string;
}

/** Why a run was stopped before it was over. */
export type StopReason = 'disconnected' | 'stalled' | 'cancelled' | 'closed';

/** Which deadline passed. */
export type Deadline = 'queue' | 'firstMessage' | 'idle' | 'total';

/** How a run ended. Only `success` means that the answer is complete. */
export type Ending =
  | {
      readonly status: 'success';
      readonly result: string;
      readonly stopReason: string | undefined;
      /** The answer as an object, when the request asked for one that meets a schema. */
      readonly structuredOutput?: unknown;
    }
  /**
   * Claude Code says that the run failed, and `message` is its own text, meant for users; or its process could not be
   * started, and `detail` tells the operator why.
   */
  | {
      readonly status: 'error';
      readonly code: ErrorCode;
      readonly message: string;
      readonly detail?: string;
    }
  | {
      readonly status: 'interrupted';
      readonly code: ErrorCode;
      readonly message: string;
      readonly reason: StopReason | 'signal';
    }
  | {
      readonly status: 'timeout';
      readonly code: ErrorCode;
      readonly message: string;
      readonly deadline: Deadline;
    }
  /** The process ended without a `result`; `detail` tells the operator why. */
  | {
      readonly status: 'crashed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly detail: string;
    };

export type Outcome = Ending & RunFacts;

/**
 * How a run ended, for whoever comes later: without the answer itself, which stands in the run's events, and without
 * what only the operator may see.
 */
export type OutcomeSummary = Pick<Ending, 'status'> &
  Partial<Record<'code' | 'message' | 'reason' | 'deadline' | 'stopReason', string>> &
  Omit<RunFacts, 'stderrTail'>;

export function summaryOf(outcome: Outcome): OutcomeSummary {
  const shown: Partial<Record<string, unknown>> = { ...outcome };
  for (const field of ['result', 'structuredOutput', 'detail', 'stderrTail']) delete shown[field];
  return shown as OutcomeSummary;
}

/**
 * The ending that a final `result` stands for.
 *
 * @param apiError the `error` of the synthetic message before it
 * @param structured whether the answer has to meet a schema: a model that does not use the tool for it ends as if all
 * were well, without `structured_output` (2.1.197 and 2.1.330)
 */
export function endingOf(
  result: ResultMessage,
  apiError: string | undefined,
  structured = false,
): Ending {
  if (result.is_error !== true) {
    const { structured_output: structuredOutput } = result;
    if (structured && structuredOutput === undefined) {
      return failure('schema_not_met', publicMessageOf('schema_not_met'));
    }
    return {
      status: 'success',
      result: typeof result.result === 'string' ? result.result : '',
      stopReason: typeof result.stop_reason === 'string' ? result.stop_reason : undefined,
      ...(structured ? { structuredOutput } : {}),
    };
  }
  const { terminal_reason: reason } = result;
  if (typeof reason === 'string' && reason.startsWith('aborted')) return interruption('signal');
  const code = codeOf(result, apiError);
  return failure(code, errorText(result) ?? publicMessageOf(code));
}

export function failure(code: ErrorCode, message: string): Ending {
  return { status: 'error', code, message };
}

/** The ending of a run whose process could not be started, for clients that have their headers already. */
export function startFailure(cause: unknown): Ending {
  if (!(cause instanceof ClaudeStreamError)) {
    return crash(`The process could not be started: ${cause}`);
  }
  const { code, publicMessage, message } = cause;
  const ending = { status: 'error', code, message: publicMessage } as const;
  return message === publicMessage ? ending : { ...ending, detail: message };
}

/** Whether a process could not find the session, or the message in it, that it was to go on from. */
export function isSessionLost(result: ResultMessage): boolean {
  return result.is_error === true && errorsOf(result).some((error) => LOST_SESSION.test(error));
}

const LOST_SESSION = /^(?:No (?:conversation|message) found with |Failed to resume session)/;

export function interruption(reason: StopReason | 'signal'): Ending {
  const codes = { closed: 'shutting_down', cancelled: 'cancelled' } as const;
  const code = reason === 'closed' || reason === 'cancelled' ? codes[reason] : 'interrupted';
  return { status: 'interrupted', code, message: publicMessageOf(code), reason };
}

export function timeout(deadline: Deadline): Ending {
  const code = deadline === 'firstMessage' ? 'first_message' : deadline;
  return {
    status: 'timeout',
    code: `${code}_timeout`,
    message: publicMessageOf(`${code}_timeout`),
    deadline,
  };
}

export function crash(detail: string): Ending {
  return { status: 'crashed', code: 'crashed', message: publicMessageOf('crashed'), detail };
}

/**
 * The tokens of the run: what the main model used since the process started, all turns together. Side calls of a
 * small model stand beside it in `modelUsage` and are left out.
 */
export function usageOf(result: ResultMessage, model: string | undefined): Usage | undefined {
  const models = Object.entries(objectOr(result.modelUsage, {})).map(([name, usage]) => ({
    name,
    usage: objectOr<ModelUsage>(usage, {}),
  }));
  const main =
    models.find(({ name, usage }) => model && (name === model || usage.canonicalModel === model)) ??
    models.sort((a, b) => count(b.usage.outputTokens) - count(a.usage.outputTokens))[0];
  if (main) return fromModelUsage(main.usage);
  return result.usage && fromMessageUsage(objectOr(result.usage, {}));
}

function fromModelUsage(usage: ModelUsage): Usage {
  return {
    inputTokens: count(usage.inputTokens),
    outputTokens: count(usage.outputTokens),
    cacheReadTokens: count(usage.cacheReadInputTokens),
    cacheCreationTokens: count(usage.cacheCreationInputTokens),
  };
}

function fromMessageUsage(usage: MessageUsage): Usage {
  return {
    inputTokens: count(usage.input_tokens),
    outputTokens: count(usage.output_tokens),
    cacheReadTokens: count(usage.cache_read_input_tokens),
    cacheCreationTokens: count(usage.cache_creation_input_tokens),
  };
}

/** A field that the next version of the CLI fills otherwise must not take the server down. */
function objectOr<T extends object>(value: T | undefined | null, fallback: T): T {
  return typeof value === 'object' && value !== null ? value : fallback;
}

function count(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** What `result` and the messages before it say, from the most to the least specific (2.1.330). */
function codeOf(result: ResultMessage, apiError: string | undefined): ErrorCode {
  if (result.subtype === 'error_max_turns') return 'max_turns';
  if (result.subtype === 'error_max_budget_usd') return 'max_budget';
  if (result.stop_reason === 'refusal') return 'refused';
  if (result.terminal_reason === 'prompt_too_long') return 'prompt_too_long';
  if (result.subtype === 'error_max_structured_output_retries') return 'schema_not_met';
  if (isSessionLost(result)) return 'session_not_found';
  switch (apiError) {
    case 'authentication_failed':
      return 'not_logged_in';
    case 'billing_error':
      return 'billing';
    case 'rate_limit':
      return 'rate_limited';
    case 'max_output_tokens':
      return 'max_output_tokens';
  }
  switch (result.api_error_status) {
    case 401:
    case 403:
      return 'not_logged_in';
    case 429:
      return 'rate_limited';
    case 503:
    case 529:
      return 'overloaded';
    case 400:
    case 413:
    case 422:
      return 'request_rejected';
    default:
      return 'claude_error';
  }
}

/** The CLI's own words, but not its diagnostics: `[ede_diagnostic] …` is meant for its developers. */
function errorText(result: ResultMessage): string | undefined {
  if (typeof result.result === 'string' && result.result !== '') return result.result;
  const errors = errorsOf(result).filter((error) => !error.startsWith('['));
  return errors.length > 0 ? errors.join('\n') : undefined;
}

function errorsOf({ errors }: ResultMessage): string[] {
  return Array.isArray(errors) ? errors.filter((error) => typeof error === 'string') : [];
}
