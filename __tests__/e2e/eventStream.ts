import type { Outcome } from 'claude-stream';

/** What an event stream is made of. */
export type Part =
  | { readonly kind: 'comment'; readonly text: string }
  | {
      readonly kind: 'event';
      readonly event: string | undefined;
      readonly id: string;
      readonly data: string;
    };

/**
 * Takes an event stream apart as it comes, and more strictly than any client: between two blank lines stands one
 * comment, or one event with its fields in order, and nothing else.
 */
export class PartReader {
  readonly #onPart: (part: Part, at: number) => void;
  #unfinished: string[] = [];

  constructor(onPart: (part: Part, at: number) => void) {
    this.#onPart = onPart;
  }

  write(text: string, at: number): void {
    const seam = (this.#unfinished.at(-1) ?? '').slice(-1) + text;
    this.#unfinished.push(text);
    // Only a chunk with the end of a block is worth joining: an event can be of many MB.
    if (!seam.includes('\n\n')) return;
    const blocks = this.#unfinished.join('').split('\n\n');
    const rest = blocks.pop() ?? '';
    this.#unfinished = rest === '' ? [] : [rest];
    for (const block of blocks) this.#onPart(partOf(block), at);
  }

  end(): void {
    if (this.#unfinished.length === 0) return;
    throw new Error(`The stream ends within ${shown(this.#unfinished.join(''))}`);
  }
}

/** The parts of a whole stream. */
export function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  const reader = new PartReader((part) => parts.push(part));
  reader.write(text, 0);
  reader.end();
  return parts;
}

function partOf(block: string): Part {
  if (/^: [^\r\n]*$/.test(block)) return { kind: 'comment', text: block.slice(2) };
  const [, event, id, data] = /^(?:event: (.+)\n)?id: (.+)\ndata: (.+)$/.exec(block) ?? [];
  if (id === undefined || data === undefined || block.includes('\r')) {
    throw new Error(`Neither an event nor a comment: ${shown(block)}`);
  }
  return { kind: 'event', event, id, data };
}

function shown(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** What a reader of an answer has seen, in either format. */
export interface Answer {
  /** The texts of the model's messages, with a blank line between two. */
  readonly text: string;
  readonly thinking: string;
  /** `success`, or the code of the failure. */
  readonly ending: string;
  /** `length` when the answer was cut at the output limit. */
  readonly finish: 'stop' | 'length' | undefined;
  readonly message: string | undefined;
}

interface ClaudeEvent {
  readonly type: string;
  readonly parent_tool_use_id?: string | null;
  /** Of a message that only reports a failure, as its end does. */
  readonly error?: string;
  readonly event: {
    readonly type: string;
    readonly message?: { readonly id: string };
    readonly delta?: { readonly text?: string; readonly thinking?: string };
  };
  readonly message: {
    readonly id: string;
    readonly content: readonly { readonly text?: string }[];
  };
}

/** Reads an answer in the CLI's own format. */
export function claudeAnswer(stream: string): Answer {
  const events = eventsOf(stream);
  const texts: string[] = [];
  const streamed = new Set<string>();
  let thinking = '';
  for (const { data } of events) {
    const { type, parent_tool_use_id, error, event, message } = JSON.parse(data) as ClaudeEvent;
    if (parent_tool_use_id) continue;
    if (type === 'stream_event') {
      if (event.message) {
        streamed.add(event.message.id);
        texts.push('');
      }
      texts.push((texts.pop() ?? '') + (event.delta?.text ?? ''));
      thinking += event.delta?.thinking ?? '';
    } else if (type === 'assistant' && !error && !streamed.has(message.id)) {
      texts.push(message.content.map(({ text }) => text ?? '').join(''));
    }
  }
  const outcomes = events.filter(({ event }) => event === 'outcome');
  expect(outcomes).toEqual(events.slice(-1));
  const outcome = JSON.parse(String(outcomes[0]?.data)) as Outcome;
  const text = texts.filter((each) => each !== '').join('\n\n');
  if (outcome.status !== 'success') {
    const { code, message } = outcome;
    return { text, thinking, ending: code, finish: undefined, message };
  }
  const finish = outcome.stopReason === 'max_tokens' ? 'length' : 'stop';
  return { text, thinking, ending: 'success', finish, message: undefined };
}

interface Chunk {
  readonly error?: { readonly code: string; readonly message: string };
  readonly choices?: readonly {
    readonly delta: { readonly content?: string; readonly reasoning_content?: string };
    readonly finish_reason: 'stop' | 'length' | null;
  }[];
}

/** Reads an answer in OpenAI's format. */
export function openaiAnswer(stream: string): Answer {
  const data = eventsOf(stream).map((event) => event.data);
  expect(data.filter((each) => each === '[DONE]')).toEqual(data.slice(-1));
  const chunks = data.slice(0, -1).map((each) => JSON.parse(each) as Chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
  const text = choices.map(({ delta }) => delta.content ?? '').join('');
  const thinking = choices.map(({ delta }) => delta.reasoning_content ?? '').join('');
  const finishes = choices.flatMap(({ finish_reason }) => finish_reason ?? []);
  const errors = chunks.flatMap(({ error }) => error ?? []);
  // One ending, of one kind.
  expect(finishes.length + errors.length).toBe(1);
  expect(choices.every(({ delta }) => !('tool_calls' in delta))).toBe(true);
  const [error] = errors;
  return {
    text,
    thinking,
    ending: error?.code ?? 'success',
    finish: finishes[0],
    message: error?.message,
  };
}

function eventsOf(stream: string) {
  return partsOf(stream).flatMap((part) => (part.kind === 'event' ? [part] : []));
}
