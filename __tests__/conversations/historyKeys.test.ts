import { historyKeys } from '../../lib/conversations/historyKeys';
import type { ChatMessage } from '../../lib/formats/readMessages';

const text = (words: string) => ({ type: 'text', text: words });
const message = (role: string, ...words: string[]): ChatMessage => ({
  role,
  blocks: words.map(text),
});
const user = (...words: string[]) => message('user', ...words);
const assistant = (...words: string[]) => message('assistant', ...words);

/** The one key of a client that does not name its conversations. */
function keyOf(...messages: ChatMessage[]): string {
  const [key, ...more] = historyKeys('me', undefined, messages);
  expect(more).toEqual([]);
  return key ?? '';
}

/** The keys in a conversation that the client names. */
const keysIn = (chatId: string, ...messages: ChatMessage[]) => historyKeys('me', chatId, messages);

describe('the keys', () => {
  const said = [user('q1'), assistant('a1'), user('q2')];

  it('are one without an id: what was said', () => {
    expect(keyOf(...said)).toBe(keyOf(...said));
    expect(keyOf(...said)).not.toBe(keyOf(...said.slice(0, 1)));
  });

  it('are three with an id: what was said there, what was said anywhere, how much was asked there', () => {
    const keys = keysIn('chat', ...said);
    expect(new Set(keys).size).toBe(3);
    const [here, anywhere, questions] = keys;

    expect(anywhere).toBe(keyOf(...said));
    const another = keysIn('another', ...said);
    expect(another[1]).toBe(anywhere);
    expect(another).not.toContain(here);
    expect(another).not.toContain(questions);
    const changed = keysIn('chat', user('q1, changed'), assistant('a1'), user('q2'));
    expect(changed[2]).toBe(questions);
    expect(changed).not.toContain(here);
    expect(changed).not.toContain(anywhere);
  });

  it('count only the questions, whatever else was said', () => {
    const questionsOf = (...messages: ChatMessage[]) => keysIn('chat', ...messages)[2];
    expect(questionsOf(user('q1'), assistant('a1'), message('tool', 'x'), assistant('b1'))).toBe(
      questionsOf(user('x')),
    );
    expect(questionsOf(user('q1'), user('q2'))).not.toBe(questionsOf(user('q1')));
  });

  it('belong to a scope, all of them', () => {
    const own = historyKeys('me', 'chat', said);
    for (const key of historyKeys('you', 'chat', said)) expect(own).not.toContain(key);
  });

  it('cannot be made by an id that looks like something else', () => {
    const own = keysIn('chat', ...said);
    for (const id of ['', 'history', own[1] ?? '', '","', 'chat ']) {
      const [here, , questions] = keysIn(id, ...said);
      expect(own).not.toContain(here);
      expect(own).not.toContain(questions);
    }
  });

  it('tell nothing of what was said, and are short', () => {
    const keys = keysIn('the chat', user('the question '.repeat(10_000)));
    for (const key of keys) expect(key).toMatch(/^[\w-]{43}$/);
  });
});

describe('what was said is the same', () => {
  const key = keyOf(user('q1'), assistant('a1', 'b1'), user('q2'));

  it.each<[string, ChatMessage[]]>([
    ['with other white space', [user(' q 1\n'), assistant('a1\n\n', 'b 1'), user('q2 ')]],
    ['with an answer in one part', [user('q1'), assistant('a1b1'), user('q2')]],
    ['with an answer in two messages', [user('q1'), assistant('a1'), assistant('b1'), user('q2')]],
    [
      'with a tool of the client in it',
      [user('q1'), assistant('a1'), message('tool', 'x'), assistant('b1'), user('q2')],
    ],
  ])('%s', (_how, messages) => {
    expect(keyOf(...messages)).toBe(key);
  });

  it.each<[string, ChatMessage[]]>([
    ['in other messages', [user('q1'), user('a1b1'), user('q2')]],
    ['in one message', [user('q1a1b1q2')]],
    ['in another order', [user('q2'), assistant('a1b1'), user('q1')]],
    ['with the roles in exchange', [assistant('q1'), user('a1b1'), assistant('q2')]],
    ['with its questions joined', [user('q1'), user('q2'), assistant('a1b1')]],
  ])('but not %s', (_how, messages) => {
    expect(keyOf(...messages)).not.toBe(key);
  });

  it('but not with another image', () => {
    const shown = (data: string) => ({
      role: 'user',
      blocks: [{ type: 'image', data }, text('?')],
    });
    expect(keyOf(shown('a'))).toBe(keyOf(shown('a')));
    expect(keyOf(shown('a'))).not.toBe(keyOf(shown('b')));
    expect(keyOf(shown('a'))).not.toBe(keyOf(user('?')));
  });
});

describe('the documents of Open WebUI', () => {
  const within = (question: string, documents: string) =>
    '### Task:\nRespond to the user query using the provided context, incorporating inline citations.\n' +
    `<context>\n${documents}\n</context>\n\n${question}`;

  it('are no part of a question', () => {
    for (const documents of ['one', 'two', 'a </context> within']) {
      expect(keyOf(user(within('q1', documents)))).toBe(keyOf(user('q1')));
    }
  });

  it('are part of an answer, and of a question that only looks like it', () => {
    const words = within('q1', 'one');
    expect(keyOf(user('q'), assistant(words))).not.toBe(keyOf(user('q'), assistant('q1')));
    for (const other of [`See: ${words}`, words.replace('</context>', '')]) {
      expect(keyOf(user(other))).not.toBe(keyOf(user('q1')));
    }
  });
});
