import type { ClaudeMessage } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { escapeLineSeparators } from '../../sse/frames.js';
import { Answer, type AnswerSink, type ToolCall, type ToolResult } from '../answer.js';
import { type Emit, type Encoder, type EncoderContext, failureOf } from '../format.js';
import { firstPiece, piecesOf } from '../pieces.js';
import { queueNotice } from '../queueNotice.js';
import { messageMetadata } from './messageMetadata.js';
import { NO_RESULT } from './noResult.js';
import { withoutGap } from './withoutGap.js';

type PartType = 'text' | 'reasoning';

/** Claude has run it, and the client cannot know its schema. */
const TOOL = { providerExecuted: true, dynamic: true };

/**
 * Streamed: the chunks of a UI message stream, of those that v5, v6 and v7 of the AI SDK know. A part that was begun is
 * always ended, and a tool has one output, whatever happens: their reader throws at anything else.
 */
export class UiMessageEncoder implements Encoder, AnswerSink {
  readonly #context: EncoderContext;
  readonly #emit: Emit;
  readonly #answer = new Answer(this);
  #begun = false;
  #isWaiting = false;
  #inStep = false;
  #part: { readonly type: PartType; readonly id: string } | undefined;
  #parts = 0;
  /** The tools whose input has been begun and not been completed, by id. */
  readonly #writing = new Map<string, string>();

  constructor(context: EncoderContext, emit: Emit) {
    this.#context = context;
    this.#emit = emit;
  }

  waiting(position: number): void {
    this.#begin();
    this.#isWaiting = position > 0;
    this.#status(queueNotice(position), !this.#isWaiting, position);
  }

  /** The client learns the run's id before Claude speaks: with it it can stop the run. */
  spawned(): void {
    this.#begin();
  }

  message(message: ClaudeMessage): void {
    this.#begin();
    this.#answer.message(message);
  }

  end(outcome: Outcome): void {
    this.#begin();
    if (this.#isWaiting) this.waiting(0);
    this.#endPart();
    this.#answer.end();
    this.#endStep();
    if (outcome.status === 'success') {
      this.#send({ type: 'finish', messageMetadata: messageMetadata(outcome) });
    } else if (outcome.code === 'cancelled') this.#send({ type: 'abort' });
    else {
      const { message } = failureOf(outcome, this.#context.exposeErrors);
      this.#send({ type: 'error', errorText: firstPiece(message) });
    }
    this.#emit('[DONE]');
  }

  text(text: string): void {
    this.#context.onAnswer?.(text);
    this.#write('text', text);
  }

  thinking(text: string): void {
    this.#write('reasoning', text);
  }

  stepBegun(): void {
    this.#endStep();
    this.#beginStep();
  }

  toolStarted(toolCallId: string, toolName: string): void {
    this.#endPart();
    if (!this.#showsTools) return;
    this.#beginStep();
    this.#writing.set(toolCallId, toolName);
    this.#send({ type: 'tool-input-start', toolCallId, toolName, ...TOOL });
  }

  toolInput(toolCallId: string, json: string): void {
    if (!this.#showsTools) return;
    for (const inputTextDelta of piecesOf(json)) {
      this.#send({ type: 'tool-input-delta', toolCallId, inputTextDelta });
    }
  }

  toolBegun({ id: toolCallId, label, input }: ToolCall): void {
    this.#endPart();
    if (!this.#showsTools) return;
    this.#beginStep();
    this.#inputAvailable(toolCallId, label.name, input ?? {});
  }

  #inputAvailable(toolCallId: string, toolName: string, input: unknown): void {
    this.#send({ type: 'tool-input-available', toolCallId, toolName, input, ...TOOL });
    this.#writing.delete(toolCallId);
  }

  /**
   * Within its step, since their reader finds an input only there; by chunks that the first release of v5 knows, too,
   * since to it `tool-input-error` is fatal.
   */
  toolBrokenOff(toolCallId: string): void {
    const toolName = this.#writing.get(toolCallId);
    if (toolName === undefined) return;
    this.#inputAvailable(toolCallId, toolName, {});
    this.#send({ type: 'tool-output-error', toolCallId, ...TOOL, errorText: NO_RESULT });
  }

  toolEnded({ id: toolCallId }: ToolCall, result: ToolResult | undefined): void {
    if (!this.#showsTools) return;
    if (result === undefined) {
      this.#send({ type: 'tool-output-error', toolCallId, ...TOOL, errorText: NO_RESULT });
    } else if (result.isError) {
      this.#send({ type: 'tool-output-error', toolCallId, ...TOOL, errorText: result.text });
    } else this.#send({ type: 'tool-output-available', toolCallId, ...TOOL, output: result.text });
  }

  notice(description: string, done: boolean): void {
    if (this.#showsTools) this.#status(description, done);
  }

  get #showsTools(): boolean {
    return this.#context.toolDisplay !== 'none';
  }

  /** Told to `onData`, and no part of the message. */
  #status(description: string, done: boolean, position?: number): void {
    this.#send({ type: 'data-status', data: { description, done, position }, transient: true });
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const { runId, request } = this.#context;
    const messageId = request.answer ?? runId;
    this.#send({ type: 'start', messageId, messageMetadata: { runId } });
  }

  #beginStep(): void {
    if (this.#inStep) return;
    this.#inStep = true;
    this.#send({ type: 'start-step' });
  }

  #endStep(): void {
    this.#endPart();
    if (!this.#inStep) return;
    this.#inStep = false;
    this.#send({ type: 'finish-step' });
  }

  #write(type: PartType, text: string): void {
    const words = this.#part?.type === type ? text : withoutGap(text);
    for (const piece of piecesOf(words)) {
      const { id } = this.#part?.type === type ? this.#part : this.#beginPart(type);
      this.#emit(
        `{"type":"${type}-delta","id":"${id}","delta":${escapeLineSeparators(JSON.stringify(piece))}}`,
      );
    }
  }

  #beginPart(type: PartType) {
    this.#endPart();
    this.#beginStep();
    this.#parts += 1;
    const part = { type, id: String(this.#parts) };
    this.#part = part;
    this.#send({ type: `${type}-start`, id: part.id });
    return part;
  }

  #endPart(): void {
    if (this.#part === undefined) return;
    const { type, id } = this.#part;
    this.#part = undefined;
    this.#send({ type: `${type}-end`, id });
  }

  #send(chunk: object): void {
    this.#emit(escapeLineSeparators(JSON.stringify(chunk)));
  }
}
