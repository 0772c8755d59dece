import { AnswerDigest } from '../../lib/conversations/answerDigest';
import { randomDeltas, randomFrom, randomText } from '../formats/support';

const digestOf = (...pieces: string[]) => {
  const digest = new AnswerDigest();
  for (const piece of pieces) digest.add(piece);
  return digest;
};

describe('the hash of the whole', () => {
  it('is the same however the text is cut, also within a surrogate pair', () => {
    const text = `Grüße 🌍 ${'x'.repeat(10_000)} 👋`;
    const whole = digestOf(text).whole();
    expect(digestOf(...text.split('')).whole()).toBe(whole);
    expect(digestOf(...(text.match(/[\s\S]{1,7}/g) ?? [])).whole()).toBe(whole);
    expect(digestOf(`${text}.`).whole()).not.toBe(whole);
  });

  it('does not count white space', () => {
    expect(digestOf('\n\na b', ' ', '\tc ').whole()).toBe(digestOf('abc').whole());
  });

  it('may be asked for as often as one likes', () => {
    const digest = digestOf('a');
    expect(digest.whole()).toBe(digest.whole());
  });

  it('of nothing is not that of something', () => {
    expect(digestOf().whole()).not.toBe(digestOf('a').whole());
    expect(digestOf('', ' \n').whole()).toBe(digestOf().whole());
  });

  it('tells texts apart that a surrogate half or its replacement makes', () => {
    const texts = ['\ud83c', '\ud83d', '\ufffd', '🌍'];
    expect(new Set(texts.map((text) => digestOf(text).whole())).size).toBe(texts.length);
  });
});

describe('the prefixes', () => {
  it('are what was said after each piece, as a client has it that stopped there', () => {
    const random = randomFrom(6);
    for (let round = 0; round < 50; round++) {
      const text = randomText(random, ['a', 'b', ' ', '\n', '🌍', '\u2028'], 60);
      const pieces = randomDeltas(random, text, 5);
      const { prefixes } = digestOf(...pieces);
      for (let count = 1; count <= pieces.length; count++) {
        const kept = pieces.slice(0, count).join('');
        if (kept.trim() !== '') expect(prefixes).toContain(digestOf(kept.trim()).lastPrefix);
      }
    }
  });

  it('are not of what stands between two pieces', () => {
    expect(digestOf('abc', 'def').prefixes).not.toContain(digestOf('ab').lastPrefix);
  });

  it('are none of white space, nor of nothing', () => {
    expect(digestOf('', ' ', '\n').prefixes).toEqual([]);
    expect(digestOf('a', ' ', '\n').prefixes).toHaveLength(1);
  });

  it('are the last 512, however many there were', () => {
    const of = (count: number) => digestOf(...Array.from({ length: count }, (_, at) => `${at};`));
    for (const count of [511, 512, 513, 1_023, 1_024, 1_025, 5_000]) {
      const digest = of(count);
      const { prefixes } = digest;
      expect(prefixes).toHaveLength(Math.min(count, 512));
      expect(prefixes.at(-1)).toBe(digest.lastPrefix);
      expect(prefixes[0]).toBe(of(Math.max(1, count - 511)).lastPrefix);
    }
  });

  it('differ from each other, and say nothing of the text', () => {
    const { prefixes } = digestOf(...Array.from({ length: 512 }, () => 'a'));
    expect(new Set(prefixes).size).toBe(512);
    for (const prefix of prefixes) expect(prefix).toMatch(/^[0-9a-z]{1,11}$/);
  });

  it('are not the same for words in another order', () => {
    const prefixes = ['ab', 'ba', 'aab', 'aba', 'baa'].map((text) => digestOf(text).lastPrefix);
    expect(new Set(prefixes).size).toBe(5);
  });
});
