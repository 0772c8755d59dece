import { type ClaudeMessage, isSystem } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { escapeLineSeparators } from '../../sse/frames.js';
import { Answer, type AnswerSink, type ToolCall, type ToolResult } from '../answer.js';
import { type Emit, type Encoder, type EncoderContext, failureOf } from '../format.js';
import { firstPiece, piecesOf } from '../pieces.js';
import { described } from '../toolLabel.js';
import { START_NOTICE, toolDetails, toolLine } from './answerText.js';
import { completionFields, completionUsage, finishReason } from './completionFields.js';
import { errorBody } from './errorResponse.js';
import {
  escapeReasoningTags,
  escapeReasoningTagsInJson,
  ReasoningTagEscaper,
} from './reasoningTags.js';

/** What the status of a run that has waited ends as. */
const WAITED = 'Waited in the queue';

/** Streamed: one chunk for each delta, status chunks for what has no place in the text. */
export class ChunkEncoder implements Encoder, AnswerSink {
  readonly #context: EncoderContext;
  readonly #emit: Emit;
  readonly #answer = new Answer(this);
  readonly #tags = new ReasoningTagEscaper();
  readonly #usageField: string;
  /** Everything of a chunk before its choices; empty until the first chunk. */
  #head = '';
  /** Whether the content ends with a line of its own, which the next text must not run into. */
  #lineWritten = false;
  #textWritten = false;
  #isWaiting = false;

  constructor(context: EncoderContext, emit: Emit) {
    this.#context = context;
    this.#emit = emit;
    // With `include_usage` every chunk but the last carries a null.
    this.#usageField = context.request.includeUsage ? ',"usage":null' : '';
  }

  waiting(position: number): void {
    this.#isWaiting = position > 0;
    this.notice(
      this.#isWaiting ? `Waiting: ${ordinal(position)} in the queue` : WAITED,
      !this.#isWaiting,
    );
  }

  message(message: ClaudeMessage): void {
    if (this.#head === '') {
      const model = modelOf(message);
      if (model !== undefined) this.#begin(model);
    }
    this.#answer.message(message);
  }

  end(outcome: Outcome): void {
    if (this.#isWaiting) this.notice(WAITED, true);
    this.#say(this.#tags.flush());
    this.#answer.end();
    if (outcome.status === 'success') this.#finish(outcome);
    else this.#fail(outcome);
    this.#emit('[DONE]');
  }

  text(text: string): void {
    // The answer is the object that meets the schema, and nothing beside it.
    if (this.#structured) return;
    const whole = this.#lineWritten ? `\n${text.replace(/^\n+/, '')}` : text;
    this.#lineWritten = false;
    this.#textWritten = true;
    this.#say(this.#tags.write(whole));
  }

  thinking(text: string): void {
    this.#write('reasoning_content', text);
  }

  toolBegun(call: ToolCall): void {
    if (this.#display === 'text') this.#line(toolLine(call.label.name, call.label.detail));
    else this.notice(described(call.label), false);
  }

  toolEnded(call: ToolCall, result: ToolResult | undefined): void {
    if (this.#display === 'text') return;
    this.notice(described(call.label), true);
    if (this.#display !== 'details' || this.#structured) return;
    const { id, input, label } = call;
    // A blank line before it, or Open WebUI takes it for part of the paragraph.
    const block = toolDetails({ id, name: described(label), input, result: result?.text ?? '' });
    this.#line(this.#lineWritten ? `\n${block}` : block);
  }

  notice(description: string, done: boolean): void {
    if (this.#display !== 'status' && this.#display !== 'details') return;
    const event = JSON.stringify({ type: 'status', data: { description, done } });
    if (this.#head === '') this.#begin(undefined);
    this.#emit(
      escapeLineSeparators(`${this.#head}"choices":[],"event":${event}${this.#usageField}}`),
    );
  }

  get #display() {
    return this.#context.toolDisplay;
  }

  get #structured(): boolean {
    return this.#context.request.turn.schema !== undefined;
  }

  /** The role comes first and once, as soon as the model is known. */
  #begin(model: string | undefined): void {
    const fields = completionFields(this.#context, 'chat.completion.chunk', model);
    this.#head = `${escapeLineSeparators(JSON.stringify(fields)).slice(0, -1)},`;
    this.#chunk('{"role":"assistant","content":""}', 'null');
    if (this.#display === 'text') this.#line(START_NOTICE);
  }

  #finish({ structuredOutput, stopReason, usage }: Outcome & { status: 'success' }): void {
    if (this.#structured) this.#say(escapeReasoningTagsInJson(JSON.stringify(structuredOutput)));
    this.#chunk('{}', `"${finishReason(stopReason)}"`);
    if (this.#context.request.includeUsage) {
      this.#emit(`${this.#head}"choices":[],"usage":${JSON.stringify(completionUsage(usage))}}`);
    }
  }

  #fail(outcome: Exclude<Outcome, { status: 'success' }>): void {
    const { code, message } = failureOf(outcome, this.#context.exposeErrors);
    const body = errorBody({ code, message: firstPiece(message) });
    this.#emit(escapeLineSeparators(JSON.stringify(body)));
  }

  /** A line of its own within the content, which is not part of the answer. */
  #line(line: string): void {
    if (this.#structured) return;
    this.#say(this.#tags.flush());
    const gap = this.#lineWritten || !this.#textWritten ? '' : '\n\n';
    this.#write('content', `${gap}${escapeReasoningTags(line)}\n`);
    this.#lineWritten = true;
  }

  /** Words of the answer. */
  #say(text: string): void {
    if (text === '') return;
    this.#context.onAnswer?.(text);
    this.#write('content', text);
  }

  #write(field: 'content' | 'reasoning_content', text: string): void {
    for (const piece of piecesOf(text)) {
      this.#chunk(`{"${field}":${escapeLineSeparators(JSON.stringify(piece))}}`, 'null');
    }
  }

  #chunk(delta: string, finishReason: string): void {
    if (this.#head === '') this.#begin(undefined);
    this.#emit(
      `${this.#head}"choices":[{"index":0,"delta":${delta},"finish_reason":${finishReason}}]${this.#usageField}}`,
    );
  }
}

/** 1st, 2nd, 3rd, 4th, 11th. */
function ordinal(number: number): string {
  const isTeen = Math.floor(number / 10) % 10 === 1;
  const ending = isTeen ? undefined : ['th', 'st', 'nd', 'rd'][number % 10];
  return `${number}${ending ?? 'th'}`;
}

function modelOf(message: ClaudeMessage): string | undefined {
  return isSystem(message) && typeof message.model === 'string' ? message.model : undefined;
}
