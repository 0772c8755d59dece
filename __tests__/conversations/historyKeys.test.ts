import { type HistoryKeys, historyKeys } from '../../lib/conversations/historyKeys';
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
  const { exact, open, questions } = historyKeys('me', undefined, messages);
  expect([exact.length, open, questions]).toEqual([1, undefined, []]);
  return exact[0] ?? '';
}

/** The keys in a conversation that the client names. */
const keysIn = (chatId: string, ...messages: ChatMessage[]) => historyKeys('me', chatId, messages);

const listOf = ({ exact, open }: HistoryKeys) => [...exact, open];

describe('the keys', () => {
  const said = [user('q1'), assistant('a1'), user('q2')];

  it('are one without an id: what was said', () => {
    expect(keyOf(...said)).toBe(keyOf(...said));
    expect(keyOf(...said)).not.toBe(keyOf(...said.slice(0, 1)));
  });

  it('are three with an id: what was said there, what was said anywhere, what was said before the question', () => {
    const keys = keysIn('chat', ...said);
    expect(new Set(listOf(keys)).size).toBe(3);
    expect(keys.exact[1]).toBe(keyOf(...said));

    const another = keysIn('another', ...said);
    expect(another.exact[1]).toBe(keys.exact[1]);
    expect(another.exact[0]).not.toBe(keys.exact[0]);
    expect(another.open).not.toBe(keys.open);

    const wrapped = keysIn('chat', user('q1'), assistant('a1'), user('documents\n\nq2'));
    expect(wrapped.open).toBe(keys.open);
    expect(wrapped.exact).not.toContain(keys.exact[0]);
  });

  it('leave nothing open but the last question', () => {
    const { open } = keysIn('chat', ...said);
    expect(keysIn('chat', user('other'), assistant('a1'), user('q2')).open).not.toBe(open);
    expect(keysIn('chat', user('q1'), assistant('other'), user('q2')).open).not.toBe(open);
    expect(keysIn('chat', user('q2')).open).not.toBe(open);
  });

  it('belong to a scope, all of them', () => {
    const own = listOf(historyKeys('me', 'chat', said));
    for (const key of listOf(historyKeys('you', 'chat', said))) expect(own).not.toContain(key);
  });

  it('cannot be made by an id that looks like something else', () => {
    const own = keysIn('chat', ...said);
    for (const id of ['', 'history', own.exact[1] ?? '', '","', 'chat ']) {
      const { exact, open } = keysIn(id, ...said);
      expect(listOf(own)).not.toContain(exact[0]);
      expect(listOf(own)).not.toContain(open);
    }
  });

  it('tell nothing of what was said, and are short', () => {
    const keys = keysIn('the chat', user('the question '.repeat(10_000)));
    for (const key of [...listOf(keys), ...keys.questions]) expect(key).toMatch(/^[\w-]{43}$/);
  });
});

describe('the last question', () => {
  const wholeOf = (...words: string[]) => keysIn('chat', user(...words)).questions[0];

  it('may be the end of what was sent, from any line on', () => {
    const { questions } = keysIn('chat', user('documents\n\nq1\nand more'));
    for (const kept of ['q1\nand more', 'and more', ' and  more\n', 'documents\n\nq1\nand more']) {
      expect(questions).toContain(wholeOf(kept));
    }
    for (const other of ['q1', 'documents', 'more', '']) {
      expect(questions).not.toContain(wholeOf(other));
    }
  });

  it('is looked for at the end of megabytes, too, in no time', () => {
    const started = performance.now();
    const { questions } = keysIn('chat', user(`${'a line of a document\n'.repeat(400_000)}q1`));
    expect(questions).toContain(wholeOf('q1'));
    expect(questions.length).toBeLessThan(100);
    expect(performance.now() - started).toBeLessThan(2_000);
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
