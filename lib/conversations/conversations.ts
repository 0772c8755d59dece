import createDebug from 'debug';
import type { ChatMessage, Conversation } from '../formats/readMessages.js';
import type { Outcome } from '../outcome.js';
import type { SessionStore } from '../stores/store.js';
import { within } from '../within.js';
import { AnswerDigest } from './answerDigest.js';
import { type HistoryKeys, historyKeys } from './historyKeys.js';

const debug = createDebug('claude-stream:store');

/** The CLI itself deletes a session that was not used for 30 days. */
const SESSION_TTL = 30 * 24 * 60 * 60 * 1_000;

/** How long a request waits for the end of the turn before it, in ms: a client may ask again as soon as it has left. */
const LONGEST_WAIT = 2_000;

/** How long the store may take, in ms; a conversation is then told from its beginning. */
const STORE_TIMEOUT = 1_000;

/** A point in a session: after an assistant message of that UUID. */
interface SessionPoint {
  readonly session: string;
  readonly at: string;
  /** What the question may be without what the client had put before it, hashed; see `HistoryKeys`. */
  readonly questions?: readonly unknown[];
  /** Of an answer that was broken off: every point up to which a client may have got it, hashed. */
  readonly prefixes?: readonly unknown[];
}

/** Where a turn goes on: in the session itself, or in a copy that ends at `forkAt`. */
export interface Continuation {
  readonly session: string;
  readonly forkAt: string | undefined;
}

/** One turn of a conversation: where it goes on, and what is to be remembered of it. */
export interface ConversationTurn {
  /** `undefined` when no session knows the conversation. */
  readonly continuation: Continuation | undefined;
  /** The run has begun: from now on a request that goes on from its end waits for it. */
  begun(): void;
  /** Takes the text that the client will keep as the answer, piece by piece. */
  answered(text: string): void;
  /** Remembers where the answer stands; must follow `begun`. Never rejects. */
  ended(outcome: Outcome): Promise<void>;
}

/**
 * Recognises the conversations of clients that send their whole history with every request, so that a session of Claude
 * can be continued, and only what is new be sent.
 *
 * Where a turn ended is remembered under a hash of everything the client had said up to then, and of the answer. The
 * next request carries both. One that was edited or regenerated carries the history of an earlier turn, and so leads to
 * the earlier point. A point at which the session still ends is continued in place, once; any other is forked from,
 * so that two requests for one conversation cannot get in each other's way.
 */
export class Conversations {
  readonly #store: SessionStore;
  /** The turns under way in this process, by the keys under which their end will be found. */
  readonly #underWay = new Map<string, Set<Promise<void>>>();

  constructor(store: SessionStore) {
    this.#store = store;
  }

  /**
   * @param scope whose conversations they are: only within it is one recognised
   * @param chatId the client's own id of the conversation, if it tells
   */
  async turn(
    scope: readonly (string | undefined)[],
    chatId: string | undefined,
    conversation: Conversation,
  ): Promise<ConversationTurn> {
    const { earlier, answer, fresh } = conversation;
    const begin = JSON.stringify(scope);
    const before = historyKeys(begin, chatId, earlier);
    const all = [...earlier, ...(answer === undefined ? [] : [answerMessage(answer)]), ...fresh];
    const after = historyKeys(begin, chatId, all);
    let continuation: Continuation | undefined;
    if (answer !== undefined) {
      await this.#endOfTurns(before);
      continuation = await inTime(
        this.#continuation(before, new AnswerDigest().add(answer)),
        STORE_TIMEOUT,
      );
    }
    debug('%s', continuation ? `continues ${continuation.session}` : 'begins');
    const said = new AnswerDigest();
    let settle = () => {};
    const pending = new Promise<void>((resolve) => {
      settle = resolve;
    });
    return {
      continuation,
      begun: () => this.#enter(after, pending),
      answered: (text) => said.add(text),
      ended: async (outcome) => {
        await inTime(this.#remember(after, said, outcome), STORE_TIMEOUT);
        this.#leave(after, pending);
        settle();
      },
    };
  }

  /** The keys are tried from the most to the least telling. */
  async #continuation(keys: HistoryKeys, answer: AnswerDigest): Promise<Continuation | undefined> {
    for (const key of keys.exact) {
      const point = await this.#point(key, answer);
      if (point) return this.#from(point);
      // A client that shows this very history means it, and no other turn with the same answer.
      if ((await this.#store.get(askedKey(key))) != null) return undefined;
    }
    if (keys.open === undefined) return undefined;
    const point = await this.#point(keys.open, answer);
    return point?.questions?.includes(keys.questions[0]) ? this.#from(point) : undefined;
  }

  async #point(key: string, answer: AnswerDigest): Promise<SessionPoint | undefined> {
    const complete = asPoint(await this.#store.get(completeKey(key, answer.whole())));
    if (complete) return complete;
    const brokenOff = asPoint(await this.#store.get(brokenOffKey(key)));
    return brokenOff?.prefixes?.includes(answer.lastPrefix) ? brokenOff : undefined;
  }

  /** Whoever deletes the mark of a session's end is the one who continues it; everybody else forks. */
  async #from(point: SessionPoint): Promise<Continuation> {
    const isEnd = await this.#store.delete(endKey(point));
    return { session: point.session, forkAt: isEnd ? undefined : point.at };
  }

  async #remember(
    { exact, open, questions }: HistoryKeys,
    answer: AnswerDigest,
    { status, signal, sessionId, lastMessageId }: Outcome,
  ): Promise<void> {
    if (sessionId === undefined || lastMessageId === undefined) return;
    const point: SessionPoint = { session: sessionId, at: lastMessageId };
    const remember = (key: string, more: Partial<SessionPoint>) =>
      status === 'success'
        ? this.#set(completeKey(key, answer.whole()), { ...point, ...more })
        : this.#set(brokenOffKey(key), { ...point, ...more, prefixes: answer.prefixes });
    // A process that was killed may not have written its last message: that session is not continued in place.
    const isInOrder = status !== 'crashed' && signal == null;
    await Promise.all([
      ...(isInOrder ? [this.#set(endKey(point), {})] : []),
      ...exact.flatMap((key) => [remember(key, {}), this.#set(askedKey(key), {})]),
      ...(open === undefined ? [] : [remember(open, { questions })]),
    ]);
  }

  async #set(key: string, value: object): Promise<void> {
    await this.#store.set(key, JSON.stringify(value), SESSION_TTL);
  }

  /** Waits for the turns that were asked with this very history. */
  async #endOfTurns(keys: HistoryKeys): Promise<void> {
    const turns = allKeys(keys).flatMap((key) => [...(this.#underWay.get(key) ?? [])]);
    if (turns.length > 0) await inTime(Promise.all(turns), LONGEST_WAIT);
  }

  #enter(keys: HistoryKeys, turn: Promise<void>): void {
    for (const key of allKeys(keys)) {
      const turns = this.#underWay.get(key) ?? new Set();
      this.#underWay.set(key, turns.add(turn));
    }
  }

  #leave(keys: HistoryKeys, turn: Promise<void>): void {
    for (const key of allKeys(keys)) {
      const turns = this.#underWay.get(key);
      turns?.delete(turn);
      if (turns?.size === 0) this.#underWay.delete(key);
    }
  }
}

/** `undefined` when it takes too long or fails: a conversation can always be told from its beginning. */
async function inTime<Result>(work: Promise<Result>, ms: number): Promise<Result | undefined> {
  try {
    return await within(ms, work);
  } catch (error) {
    debug('the store failed: %o', error);
    return undefined;
  }
}

/** What a store holds may have been written by another version, or by somebody else. */
function asPoint(value: string | undefined | null): SessionPoint | undefined {
  if (value == null) return undefined;
  const { session, at, questions, prefixes } = (JSON.parse(value) ?? {}) as Partial<SessionPoint>;
  if (typeof session !== 'string' || typeof at !== 'string') return undefined;
  return { session, at, questions: listOf(questions), prefixes: listOf(prefixes) };
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function allKeys({ exact, open }: HistoryKeys): string[] {
  return open === undefined ? [...exact] : [...exact, open];
}

function answerMessage(text: string): ChatMessage {
  return { role: 'assistant', blocks: [{ type: 'text', text }] };
}

function completeKey(turn: string, answer: string): string {
  return `complete:${turn}:${answer}`;
}

function brokenOffKey(turn: string): string {
  return `broken-off:${turn}`;
}

function askedKey(turn: string): string {
  return `asked:${turn}`;
}

function endKey({ session, at }: SessionPoint): string {
  return `end:${session}:${at}`;
}
