import { type ClaudeMessage, isSystem } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { escapeLineSeparators } from '../../sse/frames.js';
import { Answer, type AnswerSink, type ToolCall } from '../answer.js';
import { type Emit, type Encoder, type EncoderContext, failureOf } from '../format.js';
import { firstPiece, piecesOf } from '../pieces.js';
import { queueNotice } from '../queueNotice.js';
import { described } from '../toolLabel.js';
import { errorBody } from './errorResponse.js';
import { messageFields, messageUsage, stopReasonOf } from './messageFields.js';

type BlockType = 'text' | 'thinking';

/**
 * Streamed: one message, whatever the number of turns that Claude needs for it. A block ends where the kind changes or a
 * tool runs.
 */
export class MessageEncoder implements Encoder, AnswerSink {
  readonly #context: EncoderContext;
  readonly #emit: Emit;
  readonly #answer = new Answer(this);
  #begun = false;
  #block: BlockType | undefined;
  /** Of the last block. */
  #index = -1;
  #isWaiting = false;

  constructor(context: EncoderContext, emit: Emit) {
    this.#context = context;
    this.#emit = emit;
  }

  waiting(position: number): void {
    this.#isWaiting = position > 0;
    this.#ping(queueNotice(position), !this.#isWaiting, position);
  }

  message(message: ClaudeMessage): void {
    if (!this.#begun && isSystem(message) && typeof message.model === 'string') {
      this.#begin(message.model);
    }
    this.#answer.message(message);
  }

  end(outcome: Outcome): void {
    if (this.#isWaiting) this.waiting(0);
    this.#answer.end();
    if (outcome.status === 'success') this.#finish(outcome);
    else this.#fail(outcome);
  }

  text(text: string): void {
    // The answer is the object that meets the schema, and nothing beside it.
    if (this.#context.request.turn.schema === undefined) this.#say(text);
  }

  thinking(text: string): void {
    this.#write('thinking', text);
  }

  toolBegun(call: ToolCall): void {
    this.#endBlock();
    this.notice(described(call.label), false);
  }

  toolEnded(call: ToolCall): void {
    this.notice(described(call.label), true);
  }

  notice(description: string, done: boolean): void {
    if (this.#context.toolDisplay !== 'none') this.#ping(description, done);
  }

  /** A `ping` may come at any time, and every client passes over what it does not know of it. */
  #ping(description: string, done: boolean, position?: number): void {
    this.#send({ type: 'ping', status: { description, done, position } });
  }

  #begin(model: string | undefined): void {
    this.#begun = true;
    const message = {
      ...messageFields(this.#context, model),
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: messageUsage(undefined),
    };
    this.#send({ type: 'message_start', message });
  }

  /** Words of the answer. */
  #say(text: string): void {
    this.#context.onAnswer?.(text);
    this.#write('text', text);
  }

  #write(type: BlockType, text: string): void {
    if (this.#block !== type) this.#beginBlock(type);
    for (const piece of piecesOf(text)) {
      this.#emit(
        `{"type":"content_block_delta","index":${this.#index},"delta":{"type":"${type}_delta","${type}":${escapeLineSeparators(JSON.stringify(piece))}}}`,
        'content_block_delta',
      );
    }
  }

  #beginBlock(type: BlockType): void {
    if (!this.#begun) this.#begin(undefined);
    this.#endBlock();
    this.#block = type;
    this.#index += 1;
    const content_block =
      type === 'text' ? { type, text: '' } : { type, thinking: '', signature: '' };
    this.#send({ type: 'content_block_start', index: this.#index, content_block });
  }

  #endBlock(): void {
    if (this.#block === undefined) return;
    this.#block = undefined;
    this.#send({ type: 'content_block_stop', index: this.#index });
  }

  #finish(outcome: Outcome & { status: 'success' }): void {
    if (this.#context.request.turn.schema !== undefined) {
      this.#say(JSON.stringify(outcome.structuredOutput));
    }
    if (!this.#begun) this.#begin(outcome.model);
    this.#endBlock();
    this.#send({
      type: 'message_delta',
      delta: { stop_reason: stopReasonOf(outcome), stop_sequence: null },
      usage: messageUsage(outcome.usage),
    });
    this.#send({ type: 'message_stop' });
  }

  #fail(outcome: Exclude<Outcome, { status: 'success' }>): void {
    const { code, message } = failureOf(outcome, this.#context.exposeErrors);
    this.#emit(
      escapeLineSeparators(JSON.stringify(errorBody({ code, message: firstPiece(message) }))),
      'error',
    );
  }

  #send(event: { readonly type: string; readonly [field: string]: unknown }): void {
    this.#emit(escapeLineSeparators(JSON.stringify(event)), event.type);
  }
}
