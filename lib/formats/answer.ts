import {
  type AssistantMessage,
  type ClaudeMessage,
  type ContentBlock,
  isAssistant,
  isResult,
  isStreamEvent,
  isSystem,
  isUser,
  type ResultMessage,
  type StreamEvent,
  type SystemMessage,
} from '../claude/messages.js';
import { described, shortened, type ToolLabel, toolLabel } from './toolLabel.js';

/** What an answer is made of, for formats that know text and thinking only. */
export interface AnswerSink {
  text(text: string): void;
  thinking(text: string): void;
  /** A tool call of the conversation itself begins or ends. */
  tool(label: ToolLabel, done: boolean): void;
  /** Something that takes time or that a reader should know: a retry, a denied permission. */
  notice(description: string, done: boolean): void;
}

/**
 * Reads an answer out of the messages of a run: every text exactly once, in order.
 *
 * The CLI sends a text as deltas and then again as an `assistant` message; a synthetic message comes without deltas.
 * So an `assistant` message counts only if no deltas of its message id were seen. Its tool calls always count: their
 * input is complete there. What subagents say is not part of the answer; what they do is activity.
 */
export class Answer {
  readonly #sink: AnswerSink;
  /** The id of the message whose deltas are coming. */
  #streamedId: string | undefined;
  /** The last text passed on; empty before the first. */
  #lastText = '';
  /** Whether something stands between the last text and the next, so that they must not run together. */
  #apart = false;
  /** The same of thinking. */
  #lastThinking = '';
  #thinkingApart = false;
  /** The model stopped at its output limit: the next text goes on in mid-word, even after more thinking. */
  #cutOff = false;
  /** The text of a failed API call; it is the answer only if the run then succeeds with it. */
  #apiError: string | undefined;
  /** Tool calls and notices that have begun and not ended, by id. */
  readonly #open = new Map<string, () => void>();

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  message(message: ClaudeMessage): void {
    if (isStreamEvent(message)) {
      if (message.parent_tool_use_id == null) this.#streamEvent(message.event);
    } else if (isAssistant(message)) {
      this.#assistant(message);
    } else if (isUser(message)) {
      for (const block of blocksOf(message.message.content)) {
        if (block.type === 'tool_result' && block.tool_use_id) this.#close(block.tool_use_id);
      }
    } else if (isSystem(message)) {
      this.#system(message);
    } else if (isResult(message)) {
      this.#result(message);
    } else if (message.type === 'tool_progress') {
      this.#toolProgress(message);
    }
  }

  /** The run is over: nothing stays open. */
  end(): void {
    for (const id of this.#open.keys()) this.#close(id);
  }

  #streamEvent(event: StreamEvent): void {
    switch (event.type) {
      case 'content_block_delta':
        if (event.delta?.type === 'text_delta') this.#text(event.delta.text);
        else if (event.delta?.type === 'thinking_delta') this.#thinking(event.delta.thinking);
        break;
      case 'content_block_start':
        if (event.content_block?.type === 'text') this.#text(event.content_block.text);
        else this.#setApart();
        break;
      case 'message_start':
        this.#streamedId = event.message?.id;
        this.#setApart();
        if (this.#open.delete('api_retry')) this.#sink.notice('Retry worked', true);
        break;
      case 'message_delta':
        this.#cutOff = event.delta?.stop_reason === 'max_tokens';
        break;
    }
  }

  #assistant({ message, parent_tool_use_id, error }: AssistantMessage): void {
    const topLevel = parent_tool_use_id == null;
    const streamed = message.id !== undefined && message.id === this.#streamedId;
    const answers = topLevel && !streamed;
    if (answers) {
      this.#cutOff = false;
      this.#setApart();
    }
    for (const block of message.content) {
      if (block.type === 'tool_use') this.#toolUse(block, topLevel);
      else if (!answers) continue;
      else if (error !== undefined) this.#apiError = block.text;
      else if (block.type === 'text') this.#text(block.text);
      else if (block.type === 'thinking') this.#thinking(block.thinking);
    }
  }

  #result(result: ResultMessage): void {
    if (result.is_error === true || !result.result) return;
    const unseen = this.#lastText === '' || this.#apiError === result.result;
    if (unseen) this.#text(result.result);
  }

  #text(text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const gap = this.#apart ? gapAfter(this.#lastText) : '';
    this.#apart = false;
    this.#cutOff = false;
    this.#lastText = text;
    this.#sink.text(gap + text);
  }

  #thinking(text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const gap = this.#thinkingApart ? gapAfter(this.#lastThinking) : '';
    this.#thinkingApart = false;
    this.#lastThinking = text;
    this.#sink.thinking(gap + text);
  }

  #setApart(): void {
    this.#thinkingApart = true;
    if (!this.#cutOff) this.#apart = true;
  }

  #toolUse(block: ContentBlock, topLevel: boolean): void {
    if (block.id === undefined || this.#open.has(block.id)) return;
    const label = toolLabel(block);
    if (!topLevel) {
      // A subagent may work while the answer is in mid-word: a notice does not touch the text.
      this.#begin(block.id, described(label));
      return;
    }
    this.#apart = true;
    this.#sink.tool(label, false);
    this.#open.set(block.id, () => this.#sink.tool(label, true));
  }

  #toolProgress({ tool_use_id, tool_name, elapsed_time_seconds }: ClaudeMessage): void {
    if (typeof tool_name !== 'string' || typeof elapsed_time_seconds !== 'number') return;
    if (typeof tool_use_id !== 'string' || !this.#open.has(tool_use_id)) return;
    this.#sink.notice(
      `${tool_name}: still running after ${Math.round(elapsed_time_seconds)} s`,
      false,
    );
  }

  #system(message: SystemMessage): void {
    switch (message.subtype) {
      case 'api_retry':
        // No message says that the retry worked; the next answer does.
        this.#begin('api_retry', retryNotice(message));
        return;
      case 'permission_denied':
        this.#sink.notice(`Permission denied: ${message.tool_name}`, true);
        return;
      case 'compact_boundary':
        this.#sink.notice('Conversation compacted', true);
        return;
      case 'task_started':
        if (message.is_backgrounded === true) {
          this.#begin(String(message.task_id), taskNotice(message));
        }
        return;
      case 'task_notification':
        this.#close(String(message.task_id));
        return;
    }
  }

  #begin(id: string, notice: string): void {
    this.#sink.notice(notice, false);
    this.#open.set(id, () => this.#sink.notice(notice, true));
  }

  #close(id: string): void {
    this.#open.get(id)?.();
    this.#open.delete(id);
  }
}

function retryNotice({ attempt, max_retries, retry_delay_ms, error }: SystemMessage): string {
  const seconds = Math.ceil(Number(retry_delay_ms) / 1_000);
  const reason = typeof error === 'string' ? `: ${error.replaceAll('_', ' ')}` : '';
  return `Retry ${attempt} of ${max_retries} in ${seconds} s${reason}`;
}

function taskNotice({ description }: SystemMessage): string {
  return `In the background: ${typeof description === 'string' ? shortened(description) : 'a task'}`;
}

function gapAfter(text: string): string {
  if (text === '' || text.endsWith('\n\n')) return '';
  return text.endsWith('\n') ? '\n' : '\n\n';
}

function blocksOf(content: string | readonly ContentBlock[]): readonly ContentBlock[] {
  return typeof content === 'string' ? [] : content;
}
