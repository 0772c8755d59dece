import { type ClaudeMessage, isSystem } from '../claude/messages.js';
import { type ErrorCode, statusOf } from '../errors.js';
import type { Outcome, Usage } from '../outcome.js';
import { escapeLineSeparators } from '../sse/frames.js';
import { Answer, type AnswerSink } from './answer.js';
import {
  type Collector,
  type Emit,
  type Encoder,
  type EncoderContext,
  type Format,
  failureMessage,
  type ToolDisplay,
} from './format.js';
import { readBody, readFlag, readTurn } from './readTurn.js';
import { ReasoningTagEscaper } from './reasoningTags.js';
import { described, type ToolLabel } from './toolLabel.js';

/**
 * Characters of text in one chunk. Open WebUI loses the whole reply at a line of 128 KiB; 10 000 characters are at
 * most 60 KB of JSON, when each is a control character written as `\u0000`, and hold an error with its 8 KiB of
 * stderr.
 */
const LONGEST_TEXT = 10_000;

/** The notice that the text display begins with, so that a reader sees at once that something happens. */
const START_NOTICE = '[Starting Claude Code...]';

/**
 * OpenAI chat completions, streamed and not: for Open WebUI, LibreChat, LangChain, the AI SDK and the openai SDK.
 *
 * Tools that Claude has run are never `tool_calls`: Open WebUI would look for them, fail and call the model again, up
 * to 256 times. They show as status chunks (`choices: []`), which Open WebUI displays and the other clients ignore.
 */
export const openai: Format = {
  read(body) {
    const fields = readBody(body);
    const streamOptions = (fields.stream_options ?? {}) as { include_usage?: unknown };
    return {
      turn: readTurn(fields, 'reasoning_effort'),
      stream: readFlag(fields.stream, 'stream', false),
      includeUsage: readFlag(streamOptions.include_usage, 'stream_options.include_usage', false),
    };
  },
  encoder: (context, emit) => new ChunkEncoder(context, emit),
  collector: (context) => new CompletionCollector(context),
  errorBody,
};

/** The fields that all chunks of a response share. The model's name is the client's own, if it chose one. */
function envelope(context: EncoderContext, object: string, model: string | undefined) {
  return {
    id: `chatcmpl-${context.runId}`,
    object,
    created: Math.floor(context.startedAt / 1_000),
    model: context.request.turn.model ?? model ?? 'claude',
  };
}

class ChunkEncoder implements Encoder, AnswerSink {
  readonly #context: EncoderContext;
  readonly #emit: Emit;
  readonly #answer = new Answer(this);
  readonly #tags = new ReasoningTagEscaper();
  readonly #toolDisplay: ToolDisplay;
  readonly #usageField: string;
  /** Everything of a chunk before its choices; empty until the first chunk. */
  #head = '';
  /** Whether the content ends with a line of the text display, which the next text must not run into. */
  #lineWritten = false;
  #textWritten = false;

  constructor(context: EncoderContext, emit: Emit) {
    this.#context = context;
    this.#emit = emit;
    this.#toolDisplay = context.toolDisplay;
    // With `include_usage` every chunk but the last carries a null.
    this.#usageField = context.request.includeUsage ? ',"usage":null' : '';
  }

  message(message: ClaudeMessage): void {
    if (this.#head === '') {
      const model = modelOf(message);
      if (model !== undefined) this.#begin(model);
    }
    this.#answer.message(message);
  }

  end(outcome: Outcome): void {
    this.#write('content', this.#tags.flush());
    this.#answer.end();
    if (outcome.status === 'success') this.#finish(outcome.stopReason, outcome.usage);
    else this.#fail(outcome);
    this.#emit('[DONE]');
  }

  text(text: string): void {
    const whole = this.#lineWritten ? `\n${text.replace(/^\n+/, '')}` : text;
    this.#lineWritten = false;
    this.#textWritten = true;
    this.#write('content', this.#tags.write(whole));
  }

  thinking(text: string): void {
    this.#write('reasoning_content', text);
  }

  tool(label: ToolLabel, done: boolean): void {
    const { name, detail } = label;
    if (this.#toolDisplay !== 'text') this.notice(described(label), done);
    else if (!done) this.#line(`[${name}]${detail === '' ? '' : ` ${detail}`}`);
  }

  notice(description: string, done: boolean): void {
    if (this.#toolDisplay !== 'status') return;
    const event = JSON.stringify({ type: 'status', data: { description, done } });
    if (this.#head === '') this.#begin(undefined);
    this.#emit(
      escapeLineSeparators(`${this.#head}"choices":[],"event":${event}${this.#usageField}}`),
    );
  }

  /** The role comes first and once, as soon as the model is known. */
  #begin(model: string | undefined): void {
    const fields = envelope(this.#context, 'chat.completion.chunk', model);
    this.#head = `${JSON.stringify(fields).slice(0, -1)},`;
    this.#chunk('{"role":"assistant","content":""}', 'null');
    if (this.#toolDisplay === 'text') this.#line(START_NOTICE);
  }

  #finish(stopReason: string | undefined, usage: Usage | undefined): void {
    this.#chunk('{}', stopReason === 'max_tokens' ? '"length"' : '"stop"');
    if (this.#context.request.includeUsage) {
      this.#emit(`${this.#head}"choices":[],"usage":${JSON.stringify(tokens(usage))}}`);
    }
  }

  #fail(outcome: Exclude<Outcome, { status: 'success' }>): void {
    const message = firstPiece(failureMessage(outcome, this.#context.exposeErrors));
    this.#emit(escapeLineSeparators(JSON.stringify(errorBody(outcome.code, message))));
  }

  /** A line of its own within the content. */
  #line(line: string): void {
    const gap = this.#lineWritten || !this.#textWritten ? '' : '\n\n';
    this.#write('content', this.#tags.write(`${gap}${line}\n`));
    this.#lineWritten = true;
  }

  #write(field: 'content' | 'reasoning_content', text: string): void {
    let rest = text;
    while (rest !== '') {
      const piece = firstPiece(rest);
      this.#chunk(`{"${field}":${escapeLineSeparators(JSON.stringify(piece))}}`, 'null');
      rest = rest.slice(piece.length);
    }
  }

  #chunk(delta: string, finishReason: string): void {
    if (this.#head === '') this.#begin(undefined);
    this.#emit(
      `${this.#head}"choices":[{"index":0,"delta":${delta},"finish_reason":${finishReason}}]${this.#usageField}}`,
    );
  }
}

/** Not streamed: the same text and thinking as one message, without notices. */
class CompletionCollector implements Collector, AnswerSink {
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
    this.#content.push(this.#tags.write(text));
  }

  thinking(text: string): void {
    this.#reasoning.push(text);
  }

  tool(): void {}

  notice(): void {}

  end(outcome: Outcome) {
    if (outcome.status !== 'success') {
      const message = failureMessage(outcome, this.#context.exposeErrors);
      return { status: statusOf(outcome.code), body: errorBody(outcome.code, message) };
    }
    const reasoning = this.#reasoning.join('');
    const message = {
      role: 'assistant',
      content: this.#content.join('') + this.#tags.flush(),
      refusal: null,
      ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    };
    const finish_reason = outcome.stopReason === 'max_tokens' ? 'length' : 'stop';
    const body = {
      ...envelope(this.#context, 'chat.completion', outcome.model),
      choices: [{ index: 0, message, logprobs: null, finish_reason }],
      usage: tokens(outcome.usage),
    };
    return { status: 200, body };
  }
}

/** OpenAI's error object; its `type` is what clients choose their reaction by. */
function errorBody(code: ErrorCode, message: string): object {
  return { error: { message, type: errorType(code), param: null, code } };
}

function errorType(code: ErrorCode): string {
  const status = statusOf(code);
  if (status === 429) return 'rate_limit_error';
  if (status === 402) return 'insufficient_quota';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** Cached tokens are part of OpenAI's prompt tokens. */
function tokens(usage: Usage | undefined) {
  const cached = usage?.cacheReadTokens ?? 0;
  const prompt = (usage?.inputTokens ?? 0) + (usage?.cacheCreationTokens ?? 0) + cached;
  const completion = usage?.outputTokens ?? 0;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

function modelOf(message: ClaudeMessage): string | undefined {
  return isSystem(message) && typeof message.model === 'string' ? message.model : undefined;
}

/** As much of a text as one chunk may hold; a surrogate pair is not cut. */
function firstPiece(text: string): string {
  if (text.length <= LONGEST_TEXT) return text;
  const last = text.charCodeAt(LONGEST_TEXT - 1);
  const isHighSurrogate = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, isHighSurrogate ? LONGEST_TEXT - 1 : LONGEST_TEXT);
}
