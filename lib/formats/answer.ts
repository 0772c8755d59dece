import {
  type AssistantMessage,
  type ClaudeMessage,
  type ContentBlock,
  isAssistant,
  isMessage,
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
  /** The model begins to speak, for the first time or after the results of its tools. */
  stepBegun?(): void;
  /** The model begins to write the input of a tool call of the conversation itself. */
  toolStarted?(id: string, name: string): void;
  /** More of that input, as JSON that is not yet complete. */
  toolInput?(id: string, json: string): void;
  /** That input will never be complete: the model's answer was broken off, and is asked for again. */
  toolBrokenOff?(id: string): void;
  /** A tool call of the conversation itself begins. */
  toolBegun(call: ToolCall): void;
  /** It has ended; `undefined` when the run has, and it has not. */
  toolEnded(call: ToolCall, result: ToolResult | undefined): void;
  /**
   * Something that takes time or that a reader should know: a retry, a denied permission. `within` is the tool call of the
   * conversation that has a subagent do it.
   */
  notice(description: string, done: boolean, within?: string): void;
}

/** A tool call with its whole input. */
export interface ToolCall {
  readonly id: string;
  readonly label: ToolLabel;
  readonly input: unknown;
}

export interface ToolResult {
  readonly text: string;
  readonly isError: boolean;
}

/** The tool by which the CLI collects an answer that must meet a schema; the answer itself is in the `result`. */
const STRUCTURED_OUTPUT = 'StructuredOutput';

/** What the ids of open questions begin with. */
const PERMISSION = 'permission';

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
  /** Whether the beginning of what is streamed is missing. */
  #isTorn = false;
  /** How the text ends so far; deltas may end within a gap. Empty before the first. */
  #textEnd = '';
  /** Whether something stands between the last text and the next, so that they must not run together. */
  #apart = false;
  /** The same of thinking. */
  #thinkingEnd = '';
  #thinkingApart = false;
  /** The model stopped at its output limit: the next text goes on in mid-word, even after more thinking. */
  #cutOff = false;
  /** The text of a failed API call; it is the answer only if the run then succeeds with it. */
  #apiError: string | undefined;
  /** Tool calls and notices that have begun and not ended, by id. */
  readonly #open = new Map<string, (result?: ToolResult) => void>();
  /** The ids of the tool calls whose input is being written, by the index of their block. */
  readonly #inputs = new Map<number | undefined, string>();
  /** Every tool call of which the input has begun, by id: none begins twice. */
  readonly #started = new Set<string>();
  /** Every tool call that has begun to run, by id. */
  readonly #called = new Set<string>();
  /** Of every tool call of a subagent, that of the conversation within which it runs. */
  readonly #within = new Map<string, string>();

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
        if (block.type === 'tool_result' && block.tool_use_id) {
          const isError = block.is_error === true;
          this.#close(block.tool_use_id, { text: resultText(block.content), isError });
        }
      }
    } else if (isSystem(message)) {
      this.#system(message);
    } else if (isResult(message)) {
      this.#result(message);
    } else if (message.type === 'tool_progress') {
      this.#toolProgress(message);
    } else if (message.type === 'control_request') {
      this.#controlRequest(message);
    } else if (message.type === 'control_cancel_request') {
      this.#close(`${PERMISSION} ${message.request_id}`);
    }
  }

  /** Messages are missing: the deltas that follow belong to nothing, until a message comes whole or begins. */
  gap(): void {
    this.#isTorn = true;
    this.#streamedId = undefined;
    this.#textEnd = '';
    this.#setApart();
  }

  /** The run is over: nothing stays open. */
  end(): void {
    this.#breakOffInputs();
    for (const id of this.#open.keys()) this.#close(id);
  }

  #streamEvent(event: StreamEvent): void {
    if (this.#isTorn && event.type !== 'message_start') return;
    switch (event.type) {
      case 'content_block_delta':
        if (event.delta?.type === 'text_delta') this.#text(event.delta.text);
        else if (event.delta?.type === 'thinking_delta') this.#thinking(event.delta.thinking);
        else this.#toolInput(event);
        break;
      case 'content_block_start':
        if (event.content_block?.type === 'text') this.#text(event.content_block.text);
        else this.#setApart();
        this.#toolStarted(event);
        break;
      case 'message_start':
        this.#isTorn = false;
        this.#streamedId = event.message?.id;
        this.#breakOffInputs();
        this.#setApart();
        this.#sink.stepBegun?.();
        this.#close('api_retry');
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
      if (block.type === 'tool_use') this.#toolUse(block, parent_tool_use_id ?? undefined);
      else if (!answers) continue;
      else if (error !== undefined) this.#apiError = block.text;
      else if (block.type === 'text') this.#text(block.text);
      else if (block.type === 'thinking') this.#thinking(block.thinking);
    }
    // It comes in the place of the message whose deltas have stopped.
    if (answers) this.#breakOffInputs();
  }

  #result(result: ResultMessage): void {
    if (result.is_error === true || !result.result) return;
    const unseen = this.#textEnd === '' || this.#apiError === result.result;
    if (unseen) this.#text(result.result);
  }

  #text(text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const gap = this.#apart ? gapAfter(this.#textEnd) : '';
    this.#apart = false;
    this.#cutOff = false;
    this.#textEnd = (this.#textEnd + text).slice(-2);
    this.#sink.text(gap + text);
  }

  #thinking(text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const gap = this.#thinkingApart ? gapAfter(this.#thinkingEnd) : '';
    this.#thinkingApart = false;
    this.#thinkingEnd = (this.#thinkingEnd + text).slice(-2);
    this.#sink.thinking(gap + text);
  }

  #setApart(): void {
    this.#thinkingApart = true;
    if (!this.#cutOff) this.#apart = true;
  }

  #toolStarted({ index, content_block: block }: StreamEvent): void {
    if (block?.type !== 'tool_use' || typeof block.id !== 'string') return;
    if (typeof block.name !== 'string' || block.name === STRUCTURED_OUTPUT) return;
    if (this.#started.has(block.id) || this.#called.has(block.id)) return;
    // One block follows the other: what was written under the same index is not written on.
    this.#breakOffInput(index);
    this.#started.add(block.id);
    this.#inputs.set(index, block.id);
    this.#sink.toolStarted?.(block.id, block.name);
  }

  #toolInput({ index, delta }: StreamEvent): void {
    const id = this.#inputs.get(index);
    if (id === undefined || typeof delta?.partial_json !== 'string') return;
    if (delta.partial_json !== '') this.#sink.toolInput?.(id, delta.partial_json);
  }

  #breakOffInputs(): void {
    for (const index of this.#inputs.keys()) this.#breakOffInput(index);
  }

  #breakOffInput(index: number | undefined): void {
    const id = this.#inputs.get(index);
    if (id === undefined) return;
    this.#inputs.delete(index);
    // Should it come after all, it is too late: clients have been told that it does not.
    this.#called.add(id);
    this.#sink.toolBrokenOff?.(id);
  }

  #toolUse(block: ContentBlock, parent: string | undefined): void {
    if (typeof block.id !== 'string' || this.#called.has(block.id)) return;
    if (block.name === STRUCTURED_OUTPUT) return;
    this.#called.add(block.id);
    const label = toolLabel(block);
    if (parent !== undefined) {
      // A subagent may have a subagent.
      const within = this.#within.get(parent) ?? parent;
      this.#within.set(block.id, within);
      // It may work while the answer is in mid-word: a notice does not touch the text.
      this.#begin(block.id, described(label), within);
      return;
    }
    this.#apart = true;
    const call = { id: block.id, label, input: block.input };
    this.#sink.toolBegun(call);
    // Not before: a sink may be unable to write the input, and then it is the end that breaks it off.
    for (const [index, id] of this.#inputs) if (id === block.id) this.#inputs.delete(index);
    this.#open.set(block.id, (result) => this.#sink.toolEnded(call, result));
  }

  #toolProgress({ tool_use_id, tool_name, elapsed_time_seconds }: ClaudeMessage): void {
    if (typeof tool_name !== 'string' || typeof elapsed_time_seconds !== 'number') return;
    if (typeof tool_use_id !== 'string' || !this.#open.has(tool_use_id)) return;
    this.#begin(
      progressOf(tool_use_id),
      `${tool_name}: still running after ${Math.round(elapsed_time_seconds)} s`,
      this.#within.get(tool_use_id),
    );
  }

  /** The CLI asks whether a tool may run, and waits. */
  #controlRequest({ request_id, request }: ClaudeMessage): void {
    const { subtype, tool_name, input } = (request ?? {}) as Record<string, unknown>;
    if (subtype !== 'can_use_tool' || typeof tool_name !== 'string') return;
    const label = toolLabel({ type: 'tool_use', name: tool_name, input });
    this.#begin(`${PERMISSION} ${request_id}`, `Waiting for permission: ${described(label)}`);
  }

  #system(message: SystemMessage): void {
    switch (message.subtype) {
      case 'session_state_changed':
        // No message says that a question was answered; the CLI goes on.
        if (message.state !== 'running') return;
        for (const id of this.#open.keys()) if (id.startsWith(PERMISSION)) this.#close(id);
        return;
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
      case 'task_progress':
        if (!this.#open.has(String(message.task_id))) return;
        if (typeof message.summary === 'string' && message.summary !== '') {
          this.#begin(
            progressOf(String(message.task_id)),
            `${taskNotice(message)}: ${shortened(message.summary)}`,
          );
        }
        return;
      case 'task_notification':
        this.#close(String(message.task_id));
        return;
    }
  }

  /** What goes on under an id; what went on under it before is over. */
  #begin(id: string, notice: string, within?: string): void {
    this.#close(id);
    this.#sink.notice(notice, false, within);
    this.#open.set(id, () => this.#sink.notice(notice, true, within));
  }

  #close(id: string, result?: ToolResult): void {
    const end = this.#open.get(id);
    if (end === undefined) return;
    this.#open.delete(id);
    this.#close(progressOf(id));
    end(result);
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

function progressOf(id: string): string {
  return `progress of ${id}`;
}

/** The text of a tool result; an image is named. */
function resultText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .filter(isMessage)
    .map((block) => (typeof block.text === 'string' ? block.text : `[${block.type}]`))
    .join('\n');
}

function gapAfter(text: string): string {
  if (text === '' || text.endsWith('\n\n')) return '';
  return text.endsWith('\n') ? '\n' : '\n\n';
}

function blocksOf(content: string | readonly ContentBlock[]): readonly ContentBlock[] {
  return typeof content === 'string' ? [] : content;
}
