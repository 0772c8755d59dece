import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
  type Continuation,
  Conversations,
  type ConversationTurn,
} from '../../lib/conversations/conversations';
import { readMessages } from '../../lib/formats/readMessages';
import type { Outcome } from '../../lib/outcome';
import { memoryStore } from '../../lib/stores/memoryStore';
import type { SessionStore } from '../../lib/stores/store';

/** A message as a client sends it. */
interface Sent {
  readonly role: string;
  readonly content: unknown;
}

const user = (content: unknown): Sent => ({ role: 'user', content });
const assistant = (content: unknown): Sent => ({ role: 'assistant', content });

/** A history that alternates between the user and the assistant, beginning with the user. */
const history = (...texts: string[]): Sent[] =>
  texts.map((text, index) => (index % 2 === 0 ? user(text) : assistant(text)));

interface Held {
  readonly scope?: readonly (string | undefined)[];
  readonly chatId?: string | undefined;
}

const readConversation = (messages: readonly Sent[]) =>
  readMessages(messages, (text) => text).conversation;

/** One request for a turn: what it goes on from. */
function turnOf(
  conversations: Conversations,
  messages: readonly Sent[],
  { scope = ['me'], chatId }: Held = {},
): Promise<ConversationTurn> {
  return conversations.turn(scope, chatId, readConversation(messages));
}

function outcome(session: string | undefined, at: string | undefined, status: string): Outcome {
  return { status, sessionId: session, lastMessageId: at } as Outcome;
}

interface Answered extends Held {
  /** Whether the answer was broken off. */
  readonly stopped?: boolean;
  readonly session?: string;
}

/** A whole turn, answered with `text`: where it went on, and where it ended. */
async function answer(
  conversations: Conversations,
  messages: readonly Sent[],
  text: string,
  { stopped = false, session, ...held }: Answered = {},
) {
  const turn = await turnOf(conversations, messages, held);
  return { continuation: turn.continuation, ...(await end(turn, text, stopped, session)) };
}

async function end(turn: ConversationTurn, text: string, stopped = false, session?: string) {
  const { continuation } = turn;
  const own = continuation && !continuation.forkAt ? continuation.session : randomUUID();
  const point = { session: session ?? own, at: randomUUID() };
  turn.begun();
  // A client that leaves may have got any of the pieces.
  for (const character of text) turn.answered(character);
  await turn.ended(outcome(point.session, point.at, stopped ? 'interrupted' : 'success'));
  return point;
}

let conversations: Conversations;

beforeEach(() => {
  conversations = new Conversations(memoryStore().sessions);
});

describe('a conversation', () => {
  it('begins with its first question', async () => {
    expect((await turnOf(conversations, history('q1'))).continuation).toBeUndefined();
  });

  it('that is not known begins, whatever it has said', async () => {
    await answer(conversations, history('q1'), 'a1');
    const { continuation } = await turnOf(conversations, history('q1', 'another', 'q2'));
    expect(continuation).toBeUndefined();
  });

  it('of five turns stays in one session', async () => {
    const { session } = await answer(conversations, history('q1'), 'a1');
    const said = ['q1', 'a1'];
    for (const turn of [2, 3, 4, 5]) {
      said.push(`q${turn}`);
      const { continuation } = await answer(conversations, history(...said), `a${turn}`);
      expect(continuation).toEqual({ session, forkAt: undefined });
      said.push(`a${turn}`);
    }
  });

  it('has its answer in as many pieces as it likes', async () => {
    const text = `Grüße 🌍 ${'x'.repeat(10_000)} 👋`;
    const turn = await turnOf(conversations, history('q1'));
    turn.begun();
    // Also between the halves of a surrogate pair.
    for (const piece of text.match(/[\s\S]{1,7}/g) ?? []) turn.answered(piece);
    await turn.ended(outcome('s', 'm', 'success'));
    const next = await turnOf(conversations, history('q1', text, 'q2'));
    expect(next.continuation).toEqual({ session: 's', forkAt: undefined });
  });

  it('may have two questions in one turn', async () => {
    const begun = [user('q1'), user('really')];
    const { session } = await answer(conversations, begun, 'a1');
    const { continuation } = await turnOf(conversations, [...begun, assistant('a1'), user('q2')]);
    expect(continuation).toEqual({ session, forkAt: undefined });
  });

  it('is not mistaken for one that has the same words in other messages', async () => {
    await answer(conversations, [user('q1'), user('x')], 'a1');
    for (const begun of [[user('q1x')], [user('q1\nuser\nx')], [user('x'), user('q1')]]) {
      const next = [...begun, assistant('a1'), user('q2')];
      expect((await turnOf(conversations, next)).continuation).toBeUndefined();
    }
  });

  it('is not mistaken for one whose parts only look like its messages', async () => {
    await answer(conversations, [user('q1'), user('x')], 'a1');
    const parts = ['q1', 'user', 'x'].map((text) => ({ type: 'text', text }));
    const next = [user(parts), assistant('a1'), user('q2')];
    expect((await turnOf(conversations, next)).continuation).toBeUndefined();
  });

  it('is recognised by its images, too', async () => {
    const image = (data: string) => ({
      type: 'image_url',
      image_url: { url: `data:image/png;base64,iVBORw0KGgo${data}` },
    });
    const asked = (data: string) => user([{ type: 'text', text: 'what is it' }, image(data)]);
    await answer(conversations, [asked('AAAA')], 'a cat');
    const next = (data: string) => [asked(data), assistant('a cat'), user('and now')];
    expect((await turnOf(conversations, next('BBBB'))).continuation).toBeUndefined();
    expect((await turnOf(conversations, next('AAAA'))).continuation).toBeDefined();
  });

  it.each([
    [
      'in two parts',
      [
        assistant([
          { type: 'text', text: 'a' },
          { type: 'text', text: '1' },
        ]),
      ],
    ],
    ['in two messages', [assistant('a'), assistant('1')]],
    [
      'around a tool of the client',
      [assistant('a'), { role: 'tool', content: 'result' }, assistant('1')],
    ],
  ])('goes on, and on, with an answer that its client keeps %s', async (_how, kept) => {
    const { session } = await answer(conversations, history('q1'), 'a\n\n1');
    const second = [user('q1'), ...kept, user('q2')];
    expect((await answer(conversations, second, 'a2')).continuation).toEqual({
      session,
      forkAt: undefined,
    });
    const third = [...second, assistant('a2'), user('q3')];
    expect((await turnOf(conversations, third)).continuation).toEqual({
      session,
      forkAt: undefined,
    });
  });
});

describe('a client that goes back', () => {
  it('to edit a question gets a copy of the session up to there', async () => {
    const { session, at } = await answer(conversations, history('q1'), 'a1');
    await answer(conversations, history('q1', 'a1', 'q2'), 'a2');
    const edited = await answer(conversations, history('q1', 'a1', 'other'), 'b2');
    expect(edited.continuation).toEqual({ session, forkAt: at });
    expect(edited.session).not.toBe(session);
  });

  it('to its very first question begins again', async () => {
    await answer(conversations, history('q1'), 'a1');
    expect((await turnOf(conversations, history('other'))).continuation).toBeUndefined();
  });

  it('to have an answer made again gets a copy of the session up to the question', async () => {
    const { session, at } = await answer(conversations, history('q1'), 'a1');
    const again = history('q1', 'a1', 'q2');
    await answer(conversations, again, 'a2');
    expect((await answer(conversations, again, 'b2')).continuation).toEqual({
      session,
      forkAt: at,
    });
  });

  it('and on again continues whichever of two answers it shows', async () => {
    await answer(conversations, history('q1'), 'a1');
    const again = history('q1', 'a1', 'q2');
    const first = await answer(conversations, again, 'a2');
    const second = await answer(conversations, again, 'b2');
    const from = async (text: string) =>
      (await turnOf(conversations, [...again, assistant(text), user('q3')])).continuation;
    expect(await from('b2')).toEqual({ session: second.session, forkAt: undefined });
    expect(await from('a2')).toEqual({ session: first.session, forkAt: undefined });
  });

  it('far back gets the right message among many', async () => {
    const said: string[] = [];
    const points = [];
    for (const turn of [1, 2, 3, 4]) {
      said.push(`q${turn}`);
      points.push(await answer(conversations, history(...said), `a${turn}`));
      said.push(`a${turn}`);
    }
    const { continuation } = await turnOf(conversations, history(...said.slice(0, 4), 'other'));
    expect(continuation).toEqual({ session: points[1]?.session, forkAt: points[1]?.at });
  });
});

describe('requests at the same time', () => {
  it('for the same turn: exactly one continues in place, the others in copies', async () => {
    const { session, at } = await answer(conversations, history('q1'), 'a1');
    const same = history('q1', 'a1', 'q2');
    const turns = await Promise.all([1, 2, 3, 4].map(() => turnOf(conversations, same)));
    const forks = turns.map(({ continuation }) => continuation?.forkAt);
    expect(forks.filter((fork) => fork === undefined)).toHaveLength(1);
    expect(forks.filter((fork) => fork === at)).toHaveLength(3);
    expect(new Set(turns.map(({ continuation }) => continuation?.session))).toEqual(
      new Set([session]),
    );
  });

  it('for the same beginning are two conversations, either of which can be continued', async () => {
    const turns = await Promise.all([1, 2].map(() => turnOf(conversations, history('q1'))));
    const [first, second] = turns as [ConversationTurn, ConversationTurn];
    await end(first, 'a1', false, 'first');
    await end(second, 'b1', false, 'second');
    const from = async (text: string) =>
      (await turnOf(conversations, history('q1', text, 'q2'))).continuation?.session;
    expect([await from('a1'), await from('b1')]).toEqual(['first', 'second']);
  });
});

describe('a broken-off answer', () => {
  it.each(['', 'T', 'The answer', 'The answer is', ' The  answer is\n'])(
    'is continued from whatever of it the client got: %j',
    async (kept) => {
      const { session } = await answer(conversations, history('q1'), 'The answer is', {
        stopped: true,
      });
      // An answer of which nothing came is no message.
      const shown = kept === '' ? [user('q1'), user('q2')] : history('q1', kept, 'q2');
      const { continuation } = await turnOf(conversations, shown);
      expect(continuation).toEqual(kept === '' ? undefined : { session, forkAt: undefined });
    },
  );

  it('is continued from any of its last 512 pieces, and not from one before them', async () => {
    const pieces = Array.from({ length: 2_000 }, (_, index) => `${index} `);
    const from = async (count: number) => {
      const held = new Conversations(memoryStore().sessions);
      const turn = await turnOf(held, history('q1'));
      turn.begun();
      for (const piece of pieces) turn.answered(piece);
      await turn.ended(outcome('s', 'm', 'interrupted'));
      const kept = pieces.slice(0, count).join('');
      return (await turnOf(held, history('q1', kept, 'q2'))).continuation?.session;
    };
    expect(await Promise.all([2_000, 1_489].map(from))).toEqual(['s', 's']);
    expect(await Promise.all([1_488, 1].map(from))).toEqual([undefined, undefined]);
  });

  it('is not continued from more than was said', async () => {
    await answer(conversations, history('q1'), 'The answer is', { stopped: true });
    const { continuation } = await turnOf(conversations, history('q1', 'The answer is 42', 'q2'));
    expect(continuation).toBeUndefined();
  });

  it('is not continued from other words of the same length', async () => {
    await answer(conversations, history('q1'), 'The answer is', { stopped: true });
    const { continuation } = await turnOf(conversations, history('q1', 'Something', 'q2'));
    expect(continuation).toBeUndefined();
  });

  it('that was made again and broken off again is continued where the client is', async () => {
    const first = await answer(conversations, history('q1'), 'One way', { stopped: true });
    const second = await answer(conversations, history('q1'), 'Another', { stopped: true });
    const from = async (text: string) =>
      (await turnOf(conversations, history('q1', text, 'q2'))).continuation?.session;
    expect(await from('Anot')).toBe(second.session);
    // Forgetting the first is no harm, continuing the other is.
    expect([first.session, undefined]).toContain(await from('One'));
  });

  it('does not hide a complete one', async () => {
    const first = await answer(conversations, history('q1'), 'Short');
    await answer(conversations, history('q1'), 'A longer one', { stopped: true });
    const { continuation } = await turnOf(conversations, history('q1', 'Short', 'q2'));
    expect(continuation).toEqual({ session: first.session, forkAt: undefined });
  });

  it('before which nothing was said is as if it had never been', async () => {
    const { session, at } = await answer(conversations, history('q1'), 'a1');
    const turn = await turnOf(conversations, history('q1', 'a1', 'q2'));
    turn.begun();
    await turn.ended(outcome(session, undefined, 'interrupted'));
    const shown = [...history('q1', 'a1', 'q2'), assistant(''), user('q3')];
    expect((await turnOf(conversations, shown)).continuation).toEqual({ session, forkAt: at });
  });

  it('can be followed by as many turns as any other', async () => {
    const { session } = await answer(conversations, history('q1'), 'The answer', { stopped: true });
    const second = history('q1', 'The', 'q2');
    await answer(conversations, second, 'a2');
    const third = [...second, assistant('a2'), user('q3')];
    expect((await turnOf(conversations, third)).continuation).toEqual({
      session,
      forkAt: undefined,
    });
  });
});

describe('a conversation is recognised only', () => {
  const scope = ['key', 'user', 'name', '/srv', '/root', undefined];

  it.each(scope.map((_, index) => index))('by whom it was held with (%d)', async (index) => {
    await answer(conversations, history('q1'), 'a1', { scope, chatId: 'chat' });
    const other = scope.with(index, 'another');
    const next = history('q1', 'a1', 'q2');
    const from = async (held: readonly (string | undefined)[]) =>
      (await turnOf(conversations, next, { scope: held, chatId: 'chat' })).continuation;
    expect(await from(other)).toBeUndefined();
    expect(await from(scope)).toBeDefined();
  });

  it('by whom it was held with, however the parts of that are cut', async () => {
    await answer(conversations, history('q1'), 'a1', { scope: ['a', 'b'] });
    for (const other of [['a,b'], ['a', 'b', undefined], ['"a","b"'], ['', 'a', 'b'], ['ab']]) {
      const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'), {
        scope: other,
      });
      expect(continuation).toBeUndefined();
    }
  });
});

describe("the client's own id of a conversation", () => {
  const documents = (question: string) =>
    `### Task:\nRespond with these documents.\n<context>${randomUUID()}</context>\n\n${question}`;

  it('finds it when what was sent before has changed', async () => {
    const chatId = 'chat';
    const { session } = await answer(conversations, history(documents('q1')), 'a1', { chatId });
    const second = history('q1', 'a1', documents('q2'));
    expect((await answer(conversations, second, 'a2', { chatId })).continuation).toEqual({
      session,
      forkAt: undefined,
    });
    const third = history('q1', 'a1', 'q2', 'a2', documents('q3'));
    expect((await answer(conversations, third, 'a3', { chatId })).continuation).toEqual({
      session,
      forkAt: undefined,
    });
  });

  it('finds it only with the answer that was given', async () => {
    await answer(conversations, history(documents('q1')), 'a1', { chatId: 'chat' });
    const other = history('q1', 'another', 'q2');
    expect((await turnOf(conversations, other, { chatId: 'chat' })).continuation).toBeUndefined();
  });

  it('finds no other conversation', async () => {
    await answer(conversations, history(documents('q1')), 'a1', { chatId: 'chat' });
    const next = history('q1', 'a1', 'q2');
    for (const chatId of ['another', 'cha', 'chat ', undefined]) {
      expect((await turnOf(conversations, next, { chatId })).continuation).toBeUndefined();
    }
  });

  it('finds no other turn of the conversation', async () => {
    const chatId = 'chat';
    await answer(conversations, history('q1'), 'OK', { chatId });
    await answer(conversations, history('q1', 'OK', 'q2'), 'a2', { chatId });
    const skipped = history('q1', 'OK', 'q2', 'OK', 'q3');
    expect((await turnOf(conversations, skipped, { chatId })).continuation).toBeUndefined();
  });

  it('says less than the history: an answer that was broken off after this very history counts more', async () => {
    const chatId = 'chat';
    const stopped = await answer(conversations, history('q1'), 'OK, so this is', {
      chatId,
      stopped: true,
    });
    // Edited, and answered with what the client had got of the first.
    await answer(conversations, history('edited'), 'OK', { chatId });
    const shown = history('q1', 'OK', 'q2');
    expect((await turnOf(conversations, shown, { chatId })).continuation?.session).toBe(
      stopped.session,
    );
  });

  it('keeps two conversations of one user apart that say the same, word for word', async () => {
    const chats = ['one', 'two', 'three'];
    const said = ['q1'];
    const sessions = new Map<string, string>();
    for (const chatId of chats) {
      sessions.set(
        chatId,
        (await answer(conversations, history(...said), 'a1', { chatId })).session,
      );
    }
    expect(new Set(sessions.values()).size).toBe(3);
    for (const turn of [2, 3, 4]) {
      said.push(`a${turn - 1}`, `q${turn}`);
      // In either order: neither the first nor the last counts more.
      for (const chatId of turn % 2 ? chats : chats.toReversed()) {
        const next = await answer(conversations, history(...said), `a${turn}`, { chatId });
        expect(next.continuation).toEqual({ session: sessions.get(chatId), forkAt: undefined });
      }
    }
  });

  it('keeps them apart, too, when both answers were broken off at the same word', async () => {
    const stopped = { stopped: true };
    const one = await answer(conversations, history('q1'), 'The answer', {
      ...stopped,
      chatId: '1',
    });
    const two = await answer(conversations, history('q1'), 'The answer', {
      ...stopped,
      chatId: '2',
    });
    const from = async (chatId: string) =>
      (await turnOf(conversations, history('q1', 'The', 'q2'), { chatId })).continuation;
    expect(await from('1')).toEqual({ session: one.session, forkAt: undefined });
    expect(await from('2')).toEqual({ session: two.session, forkAt: undefined });
  });

  it('is followed to a copy of the conversation: it goes on from the session of the first', async () => {
    const { session } = await answer(conversations, history('q1'), 'a1', { chatId: 'first' });
    const next = history('q1', 'a1', 'q2');
    const cloned = await answer(conversations, next, 'a2', { chatId: 'clone' });
    expect(cloned.continuation?.session).toBe(session);
    // Whoever comes second gets a copy.
    const { continuation } = await turnOf(conversations, next, { chatId: 'first' });
    expect(continuation).toEqual({ session, forkAt: expect.any(String) });
  });

  it('is needed for a question that its client has put documents before', async () => {
    await answer(conversations, history(documents('q1')), 'a1');
    const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'));
    expect(continuation).toBeUndefined();
  });

  it('does not hide that a question was edited and its answer kept', async () => {
    const chatId = 'chat';
    await answer(conversations, history('My name is Bob'), 'fine', { chatId });
    const edited = history('My name is Alice', 'fine', 'who am I?');
    expect((await turnOf(conversations, edited, { chatId })).continuation).toBeUndefined();
  });

  it('does not hide that a turn was deleted', async () => {
    const chatId = 'chat';
    await answer(conversations, history('remember A'), 'fine', { chatId });
    await answer(conversations, history('remember A', 'fine', 'remember B'), 'fine', { chatId });
    const left = history('remember B', 'fine', 'what did I tell you?');
    expect((await turnOf(conversations, left, { chatId })).continuation).toBeUndefined();
  });

  it('does not hide that an earlier question was edited', async () => {
    const chatId = 'chat';
    const said = ['remember A', 'fine', 'remember B'];
    await answer(conversations, history(...said.slice(0, 1)), 'fine', { chatId });
    await answer(conversations, history(...said), 'fine', { chatId });
    const edited = history('remember C', 'fine', 'remember B', 'fine', 'what did I tell you?');
    expect((await turnOf(conversations, edited, { chatId })).continuation).toBeUndefined();
  });
});

describe('a process that was killed', () => {
  it('may not have written its last message: its session is not gone on with in place', async () => {
    const turn = await turnOf(conversations, history('q1'));
    turn.begun();
    turn.answered('a1');
    await turn.ended({ ...outcome('s', 'm', 'crashed'), signal: 'SIGKILL' } as Outcome);
    const next = await turnOf(conversations, history('q1', 'a1', 'q2'));
    expect(next.continuation).toEqual({ session: 's', forkAt: 'm' });
  });
});

describe('white space', () => {
  it.each([
    ['q1', 'a1'],
    [' q1\n', '\na1  '],
    ['q 1', 'a\n\n1'],
  ])('does not matter: %j, %j', async (question, text) => {
    const { session } = await answer(conversations, history('q1'), '\n\na1\n');
    const { continuation } = await turnOf(conversations, history(question, text, 'q2'));
    expect(continuation).toEqual({ session, forkAt: undefined });
  });
});

describe('a store', () => {
  const broken = (method: keyof SessionStore, fails: () => never): SessionStore => ({
    ...memoryStore().sessions,
    [method]: fails,
  });
  const throws = () => {
    throw new Error('The store is gone.');
  };

  it.each(['get', 'delete'] as const)('whose %s fails has nothing', async (method) => {
    for (const fails of [throws, (() => Promise.reject(new Error('gone'))) as () => never]) {
      conversations = new Conversations(broken(method, fails));
      await answer(conversations, history('q1'), 'a1');
      const { continuation } = await answer(conversations, history('q1', 'a1', 'q2'), 'a2');
      expect(continuation).toBeUndefined();
    }
  });

  it('whose set fails costs the run nothing', async () => {
    for (const fails of [throws, (() => Promise.reject(undefined)) as () => never]) {
      conversations = new Conversations(broken('set', fails));
      await answer(conversations, history('q1'), 'a1');
      const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'));
      expect(continuation).toBeUndefined();
    }
  });

  it('that does not answer is not waited for', async () => {
    const never = () => new Promise<never>(() => {});
    conversations = new Conversations({ get: never, set: never, delete: never });
    const started = performance.now();
    await answer(conversations, history('q1'), 'a1');
    const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'));
    expect(continuation).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  it('that forgets makes the conversation begin again', async () => {
    conversations = new Conversations(memoryStore({ maxSessionBytes: 1_024 }).sessions);
    await answer(conversations, history('q1'), 'a1');
    for (const other of ['one', 'two', 'three']) {
      await answer(conversations, history(other), 'b1');
    }
    expect((await turnOf(conversations, history('q1', 'a1', 'q2'))).continuation).toBeUndefined();
    const last = await turnOf(conversations, history('three', 'b1', 'q2'));
    expect(last.continuation).toBeDefined();
  });

  it('that forgets where the session ends makes a copy', async () => {
    const { sessions } = memoryStore();
    conversations = new Conversations(sessions);
    const { session, at } = await answer(conversations, history('q1'), 'a1');
    const forgetful = { ...sessions, delete: async () => false };
    const { continuation } = await turnOf(new Conversations(forgetful), history('q1', 'a1', 'q2'));
    expect(continuation).toEqual({ session, forkAt: at });
  });

  it.each(['', 'null', '7', '[]', '{}', '{"session":7}', 'no JSON'])(
    'that holds %j costs no request more than its memory',
    async (value) => {
      conversations = new Conversations({ ...memoryStore().sessions, get: async () => value });
      const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'));
      expect(typeof (continuation?.session ?? '')).toBe('string');
      expect(continuation === undefined || continuation.session !== undefined).toBe(true);
    },
  );

  it('is told nothing of what was said, and how long it is of use', async () => {
    const seen: unknown[] = [];
    const { sessions } = memoryStore();
    conversations = new Conversations({
      get: (key) => {
        seen.push(key);
        return sessions.get(key);
      },
      set: (key, value, ttl) => {
        seen.push(key, value);
        expect(ttl).toBe(30 * 24 * 60 * 60 * 1_000);
        return sessions.set(key, value, ttl);
      },
      delete: (key) => {
        seen.push(key);
        return sessions.delete(key);
      },
    });
    const held = { scope: ['the key'], chatId: 'the chat' };
    await answer(conversations, history('the question'), 'the answer', held);
    await answer(conversations, history('the question', 'the answer', 'more'), 'the end', held);
    expect(seen.length).toBeGreaterThan(6);
    expect(JSON.stringify(seen)).not.toMatch(/the |more/);
  });
});

describe('a turn that is under way', () => {
  it('is waited for by the next, which then continues it', async () => {
    const first = await turnOf(conversations, history('q1'));
    first.begun();
    first.answered('a1');
    const settled: string[] = [];
    const next = turnOf(conversations, history('q1', 'a1', 'q2')).then((turn) => {
      settled.push('next');
      return turn;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(settled).toEqual([]);
    await first.ended(outcome('s', 'm', 'interrupted'));
    expect((await next).continuation).toEqual({ session: 's', forkAt: undefined });
  });

  it('is not waited for by another conversation, nor by a first question', async () => {
    const first = await turnOf(conversations, history('q1'));
    first.begun();
    const started = performance.now();
    await turnOf(conversations, history('q1'));
    await turnOf(conversations, history('other', 'a1', 'q2'));
    await turnOf(conversations, history('q1', 'a1', 'q2'), { scope: ['another'] });
    expect(performance.now() - started).toBeLessThan(500);
  });

  it('is not waited for for ever', async () => {
    const first = await turnOf(conversations, history('q1'));
    first.begun();
    const started = performance.now();
    const { continuation } = await turnOf(conversations, history('q1', 'a1', 'q2'));
    expect(continuation).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  it('is forgotten when it has ended, however it has', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const nothing: SessionStore = {
      get: async () => undefined,
      set: async () => {},
      delete: async () => false,
    };
    conversations = new Conversations(nothing);
    const hold = async (times: number) => {
      for (let time = 0; time < times; time++) {
        const held = { chatId: `chat ${time}` };
        await answer(conversations, history(`q${time}`), 'a1', { ...held, stopped: time % 2 > 0 });
      }
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = await hold(500);
    // Three keys, their sets and a promise each would be some 1 000 bytes.
    expect((await hold(5_000)) - before).toBeLessThan(1_500_000);
  });
});

/** What a session holds, up to one of its points. */
interface Said {
  readonly role: 'user' | 'assistant';
  readonly text: string;
  readonly stopped: boolean;
}

/** Claude as far as it matters here: sessions that grow at their end, and copies up to a message of theirs. */
class Sessions {
  readonly #sessions = new Map<string, { at: string; said: readonly Said[] }[]>();

  /** What Claude knows when it goes on from there. */
  at({ session, forkAt }: Continuation): readonly Said[] {
    const points = this.#sessions.get(session) ?? [];
    const point = forkAt === undefined ? points.at(-1) : points.find((one) => one.at === forkAt);
    if (point === undefined) throw new Error(`${session} has no message ${forkAt}.`);
    return point.said;
  }

  add(continuation: Continuation | undefined, said: readonly Said[]) {
    const inPlace = continuation !== undefined && continuation.forkAt === undefined;
    const session = inPlace ? continuation.session : randomUUID();
    const point = { at: randomUUID(), said };
    this.#sessions.set(session, [...(this.#sessions.get(session) ?? []), point]);
    return { session, at: point.at };
  }
}

/** What a client shows, up to an answer; children are what was asked after it. */
interface Shown {
  readonly said: readonly Said[];
}

/** Asks at any point of the tree that the client shows: appends, edits, regenerates, all the same. */
interface Asked {
  readonly after: number;
  readonly question: string;
  /** The answers; with two of them the question is asked twice at the same time. */
  readonly answers: readonly { readonly text: string; readonly kept: number | undefined }[];
}

const asked: fc.Arbitrary<Asked> = fc.record({
  after: fc.nat(1_000),
  question: fc.constantFrom('p', 'q', 'OK'),
  answers: fc.array(
    fc.record({
      // Words of which one begins with the other, and words that do not.
      text: fc.constantFrom('OK', 'OK so', 'OK so long', 'no', 'not yet'),
      // How much of a broken-off answer reaches the client.
      kept: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 2 },
  ),
});

/** Whether Claude knows exactly what the client shows; of a broken-off answer it may know more. */
function agrees(known: readonly Said[], shown: readonly Said[]): boolean {
  return (
    known.length === shown.length &&
    known.every(({ role, text, stopped }, index) => {
      const other = shown[index];
      const words = text.replaceAll(' ', '');
      const otherWords = other?.text.replaceAll(' ', '') ?? '';
      if (role !== other?.role) return false;
      return stopped ? words.startsWith(otherWords) : words === otherWords;
    })
  );
}

async function playTree(steps: readonly Asked[], chatId: string | undefined): Promise<void> {
  const held = new Conversations(memoryStore().sessions);
  const claude = new Sessions();
  const shown: Shown[] = [{ said: [] }];
  for (const { after, question, answers } of steps) {
    const { said } = shown[after % shown.length] as Shown;
    const before: Said[] = [...said, { role: 'user', text: question, stopped: false }];
    const messages = before.map(({ role, text }) => ({ role, content: text }));
    const turns = await Promise.all(answers.map(() => turnOf(held, messages, { chatId })));
    const inPlace = turns.filter(({ continuation: to }) => to && to.forkAt === undefined);
    expect(inPlace.length).toBeLessThan(2);
    const known = turns.map(({ continuation: to }) => (to ? claude.at(to) : undefined));
    for (const one of known) {
      if (one && !agrees(one, said)) {
        throw new Error(`The client shows ${text(said)}, Claude goes on from ${text(one)}.`);
      }
      // A complete answer that stands at the end of what the client shows is always found.
      if (said.at(-1)?.stopped === false) expect(one).toBeDefined();
    }
    for (const [index, { text: whole, kept }] of answers.entries()) {
      const turn = turns[index] as ConversationTurn;
      const stopped = kept !== undefined;
      const answered: Said = { role: 'assistant', text: whole, stopped };
      const knows = [
        ...(known[index] ?? said),
        { role: 'user' as const, text: question, stopped: false },
      ];
      const point = claude.add(turn.continuation, [...knows, answered]);
      turn.begun();
      for (const character of whole) turn.answered(character);
      await turn.ended(outcome(point.session, point.at, stopped ? 'interrupted' : 'success'));
      shown.push({ said: [...before, { ...answered, text: whole.slice(0, kept) }] });
    }
  }
}

const text = (said: readonly Said[]) => said.map((one) => JSON.stringify(one.text)).join(' ');

describe('whatever a client does with a tree of conversations, Claude goes on from what it shows', () => {
  const steps = fc.array(asked, { maxLength: 12 });
  const complete = steps.map((all) =>
    all.map((one) => ({
      ...one,
      answers: one.answers.map((given) => ({ ...given, kept: undefined })),
    })),
  );

  it.each([undefined, 'chat'])('when every answer is complete (chat id %s)', async (chatId) => {
    await fc.assert(
      fc.asyncProperty(complete, (all) => playTree(all, chatId)),
      { numRuns: 200 },
    );
  });

  it.each([undefined, 'chat'])('when answers are broken off, too (chat id %s)', async (chatId) => {
    await fc.assert(
      fc.asyncProperty(steps, (all) => playTree(all, chatId)),
      { numRuns: 200 },
    );
  });
});
