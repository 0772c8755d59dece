import { type ClaudeMessage, isStreamEvent, isSystem } from './claude/messages.js';

/** Takes one message and its line. */
type Pass = (message: ClaudeMessage, text: string) => void;

/** Messages of one kind that are to leave as one. */
interface Held {
  readonly message: ClaudeMessage;
  readonly text: string;
  readonly more: ClaudeMessage[];
}

/** Characters of text that are held; a burst may bring megabytes within one window. */
const MOST_HELD = 16_384;

/**
 * Joins deltas that come close upon each other, so that they leave as one event: it spares a client that renders for
 * every event, and the server a system call for each.
 *
 * The first delta after a silence leaves at once, with those of the same chunk of stdout; it opens a window, and what
 * comes within the window leaves together at its end. So nothing is later than the window, and the first word is not
 * late at all. Another block, another kind of delta and every other message end what is held, which leaves before them.
 */
export class Coalescer {
  readonly #window: number;
  readonly #pass: Pass;
  /** By kind. More than one only of the kinds that come in turns. */
  readonly #held = new Map<string, Held>();
  #heldText = 0;
  #timer: NodeJS.Timeout | undefined;
  #leaving = false;

  /**
   * @param window ms
   * @param pass what takes the messages then; must not throw
   */
  constructor(window: number, pass: Pass) {
    this.#window = window;
    this.#pass = pass;
  }

  message(message: ClaudeMessage, text: string): void {
    const kind = kindOf(message);
    if (kind === undefined) {
      this.flush();
      this.#pass(message, text);
      return;
    }
    const held = this.#held.get(kind);
    if (held !== undefined) held.more.push(message);
    else {
      if ([...this.#held.keys()].some((other) => !comeInTurns(kind, other))) this.flush();
      this.#held.set(kind, { message, text, more: [] });
    }
    this.#heldText += wordsOf(message).length;
    if (this.#heldText > MOST_HELD) this.flush();
    else if (this.#timer === undefined) this.#leaveAfterChunk();
  }

  /** What is held leaves now. */
  flush(): void {
    if (this.#held.size === 0) return;
    const leaving = [...this.#held.values()];
    this.#held.clear();
    this.#heldText = 0;
    for (const held of leaving) this.#passJoined(held);
  }

  /** Nothing follows. */
  end(): void {
    this.flush();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #leaveAfterChunk(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    queueMicrotask(() => {
      this.#leaving = false;
      if (this.#held.size > 0) this.#leave();
    });
  }

  /** Passes what is held, and opens the next window. */
  #leave(): void {
    this.flush();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#held.size > 0) this.#leave();
    }, this.#window).unref();
  }

  #passJoined({ message, text, more }: Held): void {
    if (more.length === 0) {
      this.#pass(message, text);
      return;
    }
    // The line has fields that the message may lack.
    const joined = joinedOf(JSON.parse(text), more);
    this.#pass(joined, JSON.stringify(joined));
  }
}

const TOKENS = 'thinking tokens';
const THINKING = 'thinking_delta';

/** What a message can be joined with: the same. `undefined` when it is to leave by itself. */
function kindOf(message: ClaudeMessage): string | undefined {
  if (isStreamEvent(message)) {
    const { event, parent_tool_use_id: parent } = message;
    const type = event.delta?.type;
    if (event.type !== 'content_block_delta') return undefined;
    if (type !== 'text_delta' && type !== THINKING) return undefined;
    return `${type} ${event.index} ${parent ?? ''}`;
  }
  // 2.1.330 says after every delta of thinking how much has been thought.
  return isSystem(message) && message.subtype === 'thinking_tokens' ? TOKENS : undefined;
}

function comeInTurns(kind: string, other: string): boolean {
  return [kind, other].includes(TOKENS) && [kind, other].some((one) => one.startsWith(THINKING));
}

function wordsOf(message: ClaudeMessage): string {
  const delta = isStreamEvent(message) ? message.event.delta : undefined;
  return String(delta?.text ?? delta?.thinking ?? '');
}

/** The first of some messages, with what the others add to it. */
function joinedOf(first: ClaudeMessage, more: readonly ClaudeMessage[]): ClaudeMessage {
  if (!isStreamEvent(first)) {
    const deltas = [first, ...more].map((one) => Number(one.estimated_tokens_delta) || 0);
    const sum = deltas.reduce((total, delta) => total + delta, 0);
    return { ...first, ...more.at(-1), estimated_tokens_delta: sum };
  }
  const { event } = first;
  const words = [first, ...more].map(wordsOf).join('');
  const field = event.delta?.type === THINKING ? 'thinking' : 'text';
  return { ...first, event: { ...event, delta: { ...event.delta, [field]: words } } };
}
