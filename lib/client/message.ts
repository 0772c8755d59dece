import type { MessageUsage, ShownOutcome } from './events.js';

/** An answer as far as it has come. A new object whenever it changes; parts that have not changed stay the same objects. */
export interface Message {
  /** Text, thinking and tools, in their order. */
  readonly parts: readonly Part[];
  /** What goes on beside the answer, the latest last: subagents, retries, permission prompts. */
  readonly activities: readonly Activity[];
  /** The events that are missing, since the server did not keep them: what they said may be missing, too. */
  readonly gaps: readonly Gap[];
  /** The position in the queue; `undefined` when the run does not wait. Not in the format `openai`. */
  readonly position: number | undefined;
  readonly runId: string | undefined;
  /**
   * With it another question goes on with the conversation. In `claude` from the beginning, also of a run that is stopped;
   * in `ui-message` at its end.
   */
  readonly sessionId: string | undefined;
  readonly model: string | undefined;
  readonly usage: MessageUsage | undefined;
  /** How it ended; `undefined` while it goes on. Formats other than `claude` know `success`, `error` and `interrupted`. */
  readonly outcome: ShownOutcome | undefined;
}

export type Part = WordsPart | ToolPart;

export interface WordsPart {
  readonly type: 'text' | 'thinking';
  readonly text: string;
  /**
   * Whether it goes on, in mid-word perhaps, where the last part of its type was cut off by the model's output limit. In
   * `claude` and `openai`.
   */
  readonly continues?: boolean;
}

/** A tool call. The formats `openai` and `anthropic` have none: their tools are activities. */
export interface ToolPart {
  readonly type: 'tool';
  readonly id: string;
  readonly name: string;
  /** `writing`: the model is writing the input. `unfinished`: the run has ended before the tool. */
  readonly state: 'writing' | 'running' | 'done' | 'failed' | 'unfinished';
  /** The input as JSON, as far as it is written. */
  readonly inputJson: string;
  /** The whole input, once it is written. */
  readonly input: unknown;
  /** What the tool has found, or why it failed. */
  readonly result: string | undefined;
}

export interface Activity {
  readonly description: string;
  readonly done: boolean;
  /** The id of the tool whose subagent does it. In `claude` only. */
  readonly toolId?: string | undefined;
}

/** The numbers of the first and the last event that are missing. */
export interface Gap {
  readonly first: number;
  readonly last: number;
}

/** Most activities that are kept, the latest: a long run has thousands. */
const MOST_ACTIVITIES = 200;

export const emptyMessage: Message = {
  parts: [],
  activities: [],
  gaps: [],
  position: undefined,
  runId: undefined,
  sessionId: undefined,
  model: undefined,
  usage: undefined,
  outcome: undefined,
};

/** The words of one type in a message, with a blank line between its parts where they are apart. */
export function wordsOf({ parts }: Message, type: WordsPart['type']): string {
  const words = parts.flatMap((part) => (part.type === type ? part : []));
  return words
    .map(({ text, continues }, index) => (index === 0 || continues ? text : `\n\n${text}`))
    .join('');
}

/**
 * The message of an answer that is over: nothing of it goes on any more, and a tool that has not ended is `unfinished`.
 * For an answer that a client has given up; those that come to their end are ended by their last event.
 */
export function endMessage(message: Message, outcome: ShownOutcome): Message {
  const parts = message.parts.map((part) =>
    part.type === 'tool' && (part.state === 'writing' || part.state === 'running')
      ? { ...part, state: 'unfinished' as const }
      : part,
  );
  const activities = message.activities.map((one) => (one.done ? one : { ...one, done: true }));
  return { ...message, parts, activities, outcome, position: undefined };
}

/** Puts a message together. */
export class MessageBuilder {
  message = emptyMessage;
  /** Whether the next words are a part of their own. */
  #apart = true;
  /** Whether the last words have been cut off by a gap. */
  #isTorn = false;
  /** Where in the last part of words its last block begins. */
  #blockStart = 0;

  set(fields: Partial<Message>): void {
    this.message = { ...this.message, ...fields };
  }

  words(type: WordsPart['type'], text: string): void {
    const { parts } = this.message;
    const last = parts.at(-1);
    if (last?.type === type && !this.#apart) {
      this.#replace(parts.length - 1, { ...last, text: last.text + text });
      return;
    }
    const begin = text.replace(/^\n+/, '');
    if (begin === '') return;
    const torn = this.#isTorn && last?.type === type ? last.text.slice(this.#blockStart) : '';
    const before = parts.findLast((part) => part.type === type);
    const isCutOff = before !== undefined && 'text' in before && !before.text.endsWith('\n');
    const isGoingOn = begin === text && !this.#apart && isCutOff;
    this.#apart = false;
    this.#isTorn = false;
    if (last?.type === type && torn !== '' && begin.startsWith(torn)) {
      const whole = last.text.slice(0, this.#blockStart) + begin;
      this.#replace(parts.length - 1, { ...last, text: whole });
      return;
    }
    this.#blockStart = 0;
    this.set({ parts: [...parts, { type, text: begin, ...(isGoingOn && { continues: true }) }] });
  }

  /** A block of the model's begins, or is complete: one that a gap has torn comes again from where it began. */
  blockBegun(): void {
    const last = this.message.parts.at(-1);
    if (!this.#isTorn && last !== undefined && 'text' in last) this.#blockStart = last.text.length;
  }

  /** The next words are a part of their own. */
  setApart(): void {
    this.#apart = true;
  }

  gap({ first, last }: Gap): void {
    this.#apart = true;
    this.#isTorn = true;
    this.set({ gaps: [...this.message.gaps, { first, last }] });
  }

  toolStarted(id: string, name: string): void {
    this.#apart = true;
    const part = { type: 'tool', id, name, state: 'writing', inputJson: '' } as const;
    const { parts } = this.message;
    this.set({ parts: [...parts, { ...part, input: undefined, result: undefined }] });
  }

  toolInput(id: string, json: string): void {
    this.#tool(id, ({ inputJson }) => ({ inputJson: inputJson + json }));
  }

  toolBegun(id: string, name: string, input: unknown): void {
    if (this.#indexOf(id) === -1) this.toolStarted(id, name);
    this.#tool(id, () => ({ name, input, inputJson: JSON.stringify(input), state: 'running' }));
  }

  toolEnded(id: string, result: string | undefined, state: ToolPart['state']): void {
    this.#tool(id, () => ({ result, state }));
  }

  activity(description: string, done: boolean, toolId?: string): void {
    const { activities } = this.message;
    const open = activities.findLastIndex(
      (one) => !one.done && one.description === description && one.toolId === toolId,
    );
    const others = open === -1 ? activities : activities.toSpliced(open, 1);
    const activity = { description, done, ...(toolId !== undefined && { toolId }) };
    this.set({ activities: [...others, activity].slice(-MOST_ACTIVITIES) });
  }

  end(outcome: ShownOutcome): void {
    this.message = endMessage(this.message, outcome);
  }

  #tool(id: string, change: (part: ToolPart) => Partial<ToolPart>): void {
    const index = this.#indexOf(id);
    const part = this.message.parts[index];
    if (part?.type === 'tool') this.#replace(index, { ...part, ...change(part) });
  }

  #indexOf(id: string): number {
    return this.message.parts.findLastIndex((part) => part.type === 'tool' && part.id === id);
  }

  #replace(index: number, part: Part): void {
    this.set({ parts: this.message.parts.with(index, part) });
  }
}
