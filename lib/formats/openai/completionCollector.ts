import type { ClaudeMessage } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { Answer, type AnswerSink } from '../answer.js';
import { type Collector, type EncoderContext, failureOf, type JsonResponse } from '../format.js';
import { completionFields, completionUsage, finishReason } from './completionFields.js';
import { errorResponse } from './errorResponse.js';
import { escapeReasoningTagsInJson, ReasoningTagEscaper } from './reasoningTags.js';

/** Not streamed: the same text and thinking as one message, without tools and notices. */
export class CompletionCollector implements Collector, AnswerSink {
  readonly #context: EncoderContext;
  readonly #answer = new Answer(this);
  readonly #tags = new ReasoningTagEscaper();
  readonly #content: string[] = [];
  readonly #reasoning: string[] = [];

  constructor(context: EncoderContext) {
    this.#context = context;
  }

  message(message: ClaudeMessage): void {
    this.#answer.message(message);
  }

  text(text: string): void {
    if (this.#context.request.turn.schema === undefined) this.#write(this.#tags.write(text));
  }

  thinking(text: string): void {
    this.#reasoning.push(text);
  }

  toolBegun(): void {}

  toolEnded(): void {}

  notice(): void {}

  end(outcome: Outcome): JsonResponse {
    if (outcome.status !== 'success') {
      return errorResponse(failureOf(outcome, this.#context.exposeErrors));
    }
    if (this.#context.request.turn.schema === undefined) this.#write(this.#tags.flush());
    else this.#write(escapeReasoningTagsInJson(JSON.stringify(outcome.structuredOutput)));
    const reasoning = this.#reasoning.join('');
    const message = {
      role: 'assistant',
      content: this.#content.join(''),
      refusal: null,
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    };
    const finish_reason = finishReason(outcome.stopReason);
    const body = {
      ...completionFields(this.#context, 'chat.completion', outcome.model),
      choices: [{ index: 0, message, logprobs: null, finish_reason }],
      usage: completionUsage(outcome.usage),
    };
    return { status: 200, body };
  }

  #write(text: string): void {
    if (text === '') return;
    this.#content.push(text);
    this.#context.onAnswer?.(text);
  }
}
