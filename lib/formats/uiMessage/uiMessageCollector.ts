import type { ClaudeMessage } from '../../claude/messages.js';
import type { Outcome } from '../../outcome.js';
import { Answer, type AnswerSink, type ToolCall, type ToolResult } from '../answer.js';
import { type Collector, type EncoderContext, failureOf, type JsonResponse } from '../format.js';
import { errorResponse } from './errorResponse.js';
import { messageMetadata } from './messageMetadata.js';
import { NO_RESULT } from './noResult.js';
import { withoutGap } from './withoutGap.js';

interface WordsPart {
  readonly type: 'text' | 'reasoning';
  readonly texts: string[];
}

interface ToolPart {
  readonly type: 'dynamic-tool';
  readonly id: string;
  name: string;
  input: unknown;
  result: ToolResult | undefined;
}

/** Not streamed: the message that the stream adds up to. */
export class UiMessageCollector implements Collector, AnswerSink {
  readonly #context: EncoderContext;
  readonly #answer = new Answer(this);
  readonly #parts: (WordsPart | ToolPart | { readonly type: 'step-start' })[] = [];
  readonly #tools = new Map<string, ToolPart>();

  constructor(context: EncoderContext) {
    this.#context = context;
  }

  message(message: ClaudeMessage): void {
    this.#answer.message(message);
  }

  text(text: string): void {
    this.#context.onAnswer?.(text);
    this.#write('text', text);
  }

  thinking(text: string): void {
    this.#write('reasoning', text);
  }

  stepBegun(): void {
    this.#parts.push({ type: 'step-start' });
  }

  /** Its input may be broken off, and then it stays as it is. */
  toolStarted(id: string, name: string): void {
    if (this.#context.toolDisplay === 'none') return;
    this.#inStep();
    const part: ToolPart = { type: 'dynamic-tool', id, name, input: {}, result: undefined };
    this.#tools.set(id, part);
    this.#parts.push(part);
  }

  toolBegun({ id, label: { name }, input }: ToolCall): void {
    if (!this.#tools.has(id)) this.toolStarted(id, name);
    const part = this.#tools.get(id);
    if (part) Object.assign(part, { name, input: input ?? {} });
  }

  toolEnded({ id }: ToolCall, result: ToolResult | undefined): void {
    const part = this.#tools.get(id);
    if (part) part.result = result;
  }

  notice(): void {}

  end(outcome: Outcome): JsonResponse {
    if (outcome.status !== 'success') {
      return errorResponse(failureOf(outcome, this.#context.exposeErrors));
    }
    const body = {
      id: this.#context.request.answer ?? this.#context.runId,
      role: 'assistant',
      metadata: messageMetadata(outcome),
      parts: this.#parts.map(shown),
    };
    return { status: 200, body };
  }

  /** What the CLI says by itself, no step of the model has begun. */
  #inStep(): void {
    if (this.#parts.length === 0) this.stepBegun();
  }

  #write(type: WordsPart['type'], text: string): void {
    this.#inStep();
    const last = this.#parts.at(-1);
    if (last?.type === type) last.texts.push(text);
    else if (withoutGap(text) !== '') this.#parts.push({ type, texts: [withoutGap(text)] });
  }
}

function shown(part: WordsPart | ToolPart | { readonly type: 'step-start' }): object {
  switch (part.type) {
    case 'step-start':
      return part;
    case 'dynamic-tool': {
      const { type, id: toolCallId, name: toolName, input, result } = part;
      const tool = { type, toolName, toolCallId, input, providerExecuted: true };
      if (result === undefined) return { ...tool, state: 'output-error', errorText: NO_RESULT };
      return result.isError
        ? { ...tool, state: 'output-error', errorText: result.text }
        : { ...tool, state: 'output-available', output: result.text };
    }
    default:
      return { type: part.type, text: part.texts.join(''), state: 'done' };
  }
}
