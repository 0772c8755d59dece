import {
  type ClaudeMessage,
  isStreamEvent,
  isSystem,
  type StreamEventMessage,
} from './claude/messages.js';

/** Takes one message and its line. */
type Pass = (message: ClaudeMessage, text: string) => void;

/** What of a message is joined with the next ones of its kind. */
type Part =
  | { readonly kind: string; readonly field: 'text' | 'thinking'; readonly words: string }
  | { readonly kind: typeof TOKENS; readonly field: undefined; readonly tokens: number };

/** Messages of one kind that are to leave as one. What is joined is all that is kept of those after the first. */
interface Held {
  readonly message: ClaudeMessage;
  readonly text: string;
  readonly field: Part['field'];
  last: ClaudeMessage;
  words: string;
  tokens: number;
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
    const part = partOf(message);
    if (part === undefined) {
      this.flush();
      this.#pass(message, text);
      return;
    }
    const { kind, field } = part;
    const words = field === undefined ? '' : part.words;
    const tokens = field === undefined ? part.tokens : 0;
    const held = this.#held.get(kind);
    if (held !== undefined) {
      held.last = message;
      held.words += words;
      held.tokens += tokens;
    } else {
      if ([...this.#held.keys()].some((other) => !comeInTurns(kind, other))) this.flush();
      this.#held.set(kind, { message, text, field, last: message, words, tokens });
    }
    this.#heldText += words.length;
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

  #passJoined(held: Held): void {
    const { message, text } = held;
    if (held.last === message) {
      this.#pass(message, text);
      return;
    }
    const joined = joinedOf(held);
    this.#pass(joined, JSON.stringify(joined));
  }
}

const TOKENS = 'thinking tokens';
const THINKING = 'thinking_delta';

/** `undefined` for a message that is to leave by itself, as does one of a shape that nobody has seen yet. */
function partOf(message: ClaudeMessage): Part | undefined {
  if (isStreamEvent(message)) {
    const { event, parent_tool_use_id: parent } = message;
    const type = event.delta?.type;
    if (event.type !== 'content_block_delta') return undefined;
    if (type !== 'text_delta' && type !== THINKING) return undefined;
    const field = type === THINKING ? 'thinking' : 'text';
    const words: unknown = event.delta?.[field];
    if (typeof words !== 'string') return undefined;
    return { kind: `${type} ${event.index} ${parent ?? ''}`, field, words };
  }
  // 2.1.330 says after every delta of thinking how much has been thought.
  if (!isSystem(message) || message.subtype !== 'thinking_tokens') return undefined;
  const { estimated_tokens_delta: tokens = 0 } = message;
  return typeof tokens === 'number' ? { kind: TOKENS, field: undefined, tokens } : undefined;
}

function comeInTurns(kind: string, other: string): boolean {
  return [kind, other].includes(TOKENS) && [kind, other].some((one) => one.startsWith(THINKING));
}

/** The first of some messages, with what the others add to it. */
function joinedOf({ message, text, field, last, words, tokens }: Held): ClaudeMessage {
  if (field === undefined) return { ...message, ...last, estimated_tokens_delta: tokens };
  // The line has fields that the message may lack.
  const first: StreamEventMessage = JSON.parse(text);
  const { event } = first;
  return { ...first, event: { ...event, delta: { ...event.delta, [field]: words } } };
}
