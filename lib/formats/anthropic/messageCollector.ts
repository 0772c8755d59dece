import type { ClaudeMessage } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { Answer, type AnswerSink } from '../answer.js';
import { type Collector, type EncoderContext, failureOf, type JsonResponse } from '../format.js';
import { errorResponse } from './errorResponse.js';
import { messageFields, messageUsage, stopReasonOf } from './messageFields.js';

interface Block {
  readonly type: 'text' | 'thinking';
  readonly texts: string[];
}

/** Not streamed: the same blocks as one message. */
export class MessageCollector implements Collector, AnswerSink {
  readonly #context: EncoderContext;
  readonly #answer = new Answer(this);
  readonly #blocks: Block[] = [];
  #isApart = true;

  constructor(context: EncoderContext) {
    this.#context = context;
  }

  message(message: ClaudeMessage): void {
    this.#answer.message(message);
  }

  text(text: string): void {
    if (this.#context.request.turn.schema === undefined) this.#say(text);
  }

  thinking(text: string): void {
    this.#write('thinking', text);
  }

  toolBegun(): void {
    this.#isApart = true;
  }

  toolEnded(): void {}

  notice(): void {}

  end(outcome: Outcome): JsonResponse {
    if (outcome.status !== 'success') {
      return errorResponse(failureOf(outcome, this.#context.exposeErrors));
    }
    if (this.#context.request.turn.schema !== undefined) {
      this.#say(JSON.stringify(outcome.structuredOutput));
    }
    const body = {
      ...messageFields(this.#context, outcome.model),
      content: this.#blocks.map(({ type, texts }) =>
        type === 'text'
          ? { type, text: texts.join('') }
          : { type, thinking: texts.join(''), signature: '' },
      ),
      stop_reason: stopReasonOf(outcome),
      stop_sequence: null,
      usage: messageUsage(outcome.usage),
    };
    return { status: 200, body };
  }

  #say(text: string): void {
    this.#context.onAnswer?.(text);
    this.#write('text', text);
  }

  #write(type: Block['type'], text: string): void {
    const last = this.#blocks.at(-1);
    if (last?.type === type && !this.#isApart) last.texts.push(text);
    else this.#blocks.push({ type, texts: [text] });
    this.#isApart = false;
  }
}
