import { type ClaudeMessage, isResult } from '../claude/messages.js';
import { statusOf } from '../errors.js';
import type { Outcome } from '../outcome.js';
import { escapeLineSeparators } from '../sse/frames.js';
import {
  type Collector,
  type Emit,
  type Encoder,
  type EncoderContext,
  type Format,
  failureOf,
} from './format.js';
import { readBody, readFlag, readTurn } from './readTurn.js';

/**
 * A message type that can be an event's name. Some are taken: EventSource fires `error` for lost connections, `outcome`
 * is the last event, `queue` tells of the time before the first, and `gap` and `failure` are notices.
 */
const EVENT_NAME = /^(?!(?:error|outcome|queue|gap|failure)$)[\w.-]{1,64}$/;

/**
 * The CLI's own messages, as they came: the event's name is the message's `type`, its data the line of the CLI.
 * The last event is `outcome`, so a client can always tell a finished run from a cut connection.
 */
export const claude: Format = {
  read(body) {
    const fields = readBody(body);
    const { turn, conversation, user } = readTurn(fields, { effortField: 'effort' });
    return {
      turn,
      conversation,
      user,
      stream: readFlag(fields.stream, 'stream', true),
      includeUsage: true,
      modelName: turn.model,
      background: false,
    };
  },
  encoder: (context, emit) => new ClaudeEncoder(context, emit),
  collector: (context) => new ClaudeCollector(context),
  notice(notice, emit) {
    const { code, message } = notice.failure;
    switch (notice.kind) {
      case 'gap':
        // The messages that follow are whole, and most repeat what their deltas have said.
        emit(json({ code, message, first: notice.first, last: notice.last }), 'gap');
        return true;
      case 'lost':
        emit(json({ status: 'crashed', code, message, runId: notice.runId }), 'outcome');
        return false;
      case 'unavailable':
        emit(json({ code, message }), 'failure');
        return false;
    }
  },
  errorResponse: ({ code, message }) => ({
    status: statusOf(code),
    body: { error: { code, message } },
  }),
};

class ClaudeEncoder implements Encoder {
  readonly #context: EncoderContext;
  readonly #emit: Emit;

  constructor(context: EncoderContext, emit: Emit) {
    this.#context = context;
    this.#emit = emit;
  }

  waiting(position: number): void {
    this.#emit(JSON.stringify({ position }), 'queue');
  }

  message(message: ClaudeMessage, text: string): void {
    // JSON allows CR between its tokens, an event stream takes it for the end of the line.
    const line = text.includes('\r') ? JSON.stringify(message) : text;
    const { type } = message;
    this.#emit(
      escapeLineSeparators(line),
      type === 'stream_event' || EVENT_NAME.test(type) ? type : undefined,
    );
  }

  end(outcome: Outcome): void {
    this.#emit(json(shownOutcome(outcome, this.#context.exposeErrors)), 'outcome');
  }
}

/** Not streamed, the answer is the CLI's last `result` message, as with `--output-format=json`, and the outcome. */
class ClaudeCollector implements Collector {
  readonly #context: EncoderContext;
  #result: ClaudeMessage | null = null;

  constructor(context: EncoderContext) {
    this.#context = context;
  }

  message(message: ClaudeMessage): void {
    if (isResult(message)) this.#result = message;
  }

  end(outcome: Outcome) {
    const shown = shownOutcome(outcome, this.#context.exposeErrors);
    if (outcome.status === 'success') {
      return { status: 200, body: { result: this.#result, outcome: shown } };
    }
    const failure = failureOf(outcome, this.#context.exposeErrors);
    return { status: statusOf(failure.code), body: { error: failure, outcome: shown } };
  }
}

/** The outcome without what only the operator may see. */
function shownOutcome(outcome: Outcome, exposeErrors: boolean): object {
  if (exposeErrors) return outcome;
  const { stderrTail: _stderrTail, ...facts } = outcome;
  if (!('detail' in facts)) return facts;
  const { detail: _detail, ...shown } = facts;
  return shown;
}

function json(value: object): string {
  return escapeLineSeparators(JSON.stringify(value));
}
