import {
  escapeReasoningTags,
  ReasoningTagEscaper,
} from '../../../lib/formats/openai/reasoningTags.js';
import { randomDeltas, randomFrom, randomText } from '../support.js';

/** The start of reasoning, of a solution or of code as Open WebUI 0.10.2 looks for it in answer text. */
const RECOGNISED =
  /<(?:think|thinking|reason|reasoning|thought|Thought|code_interpreter|\|begin_of_(?:thought|solution)\|)(?:\s.*?)?>|◁think▷/;

const TAGS = [
  '<think>',
  '<thinking>',
  '<reason>',
  '<reasoning>',
  '<thought>',
  '<Thought>',
  '<|begin_of_thought|>',
  '<|begin_of_solution|>',
  '<code_interpreter>',
  '◁think▷',
];
const WITH_ATTRIBUTES = [
  '<think foo="bar">',
  '<thinking\tx>',
  '<reason >',
  '<Thought\nid=1>',
  '<code_interpreter type="code" lang="python">',
];

/** What a client gets of a text that comes in these deltas. */
function escaped(...deltas: string[]): string {
  const escaper = new ReasoningTagEscaper();
  return deltas.map((delta) => escaper.write(delta)).join('') + escaper.flush();
}

const broken = (tag: string) => `${tag[0]}\u200b${tag.slice(1)}`;

it.each([...TAGS, ...WITH_ATTRIBUTES])('breaks %j by a zero-width space', (tag) => {
  expect(escaped(`Write ${tag} first.`)).toBe(`Write ${broken(tag)} first.`);
});

it.each([...TAGS, ...WITH_ATTRIBUTES])('breaks %j wherever it is cut in two', (tag) => {
  const whole = `a${tag}b`;
  for (let cut = 0; cut <= whole.length; cut++) {
    expect(escaped(whole.slice(0, cut), whole.slice(cut))).toBe(`a${broken(tag)}b`);
  }
});

it.each([...TAGS, ...WITH_ATTRIBUTES])('breaks %j when every character comes alone', (tag) => {
  expect(escaped(...Array.from(`a${tag}b`))).toBe(`a${broken(tag)}b`);
});

it.each(TAGS)('breaks %j when the answer ends with it', (tag) => {
  expect(escaped(tag)).toBe(broken(tag));
  expect(escaped(...Array.from(tag))).toBe(broken(tag));
});

it.each([...TAGS, ...WITH_ATTRIBUTES])('breaks %j in a whole text in the same way', (tag) => {
  expect(escapeReasoningTags(`a${tag}${tag}`)).toBe(`a${broken(tag)}${broken(tag)}`);
});

it('breaks every one of several tags', () => {
  expect(escaped('<think><think', '><<reason>')).toBe('<\u200bthink><\u200bthink><<\u200breason>');
});

it.each([
  '</think>',
  '<thin ',
  '<thinker>',
  '<Think>',
  '<think',
  '< think>',
  'a < b',
  '<',
  '◁',
  '◁think',
  '<|begin|>',
  '<|begin_of_text|>',
  '<|end_of_solution|>',
  '<code>',
  '<code_interpreters>',
  '</code_interpreter>',
  'plain',
  '',
])('leaves %j as it is', (text) => {
  expect(escaped(text)).toBe(text);
  expect(escaped(...Array.from(text))).toBe(text);
});

it('holds nothing back of a text that does not end like a tag', () => {
  const escaper = new ReasoningTagEscaper();
  for (const text of ['Hello ', 'a < b', '<b>', '<thinker', '</thi', 'x>']) {
    expect(escaper.write(text)).toBe(text);
  }
});

it('holds back only what could become a tag, and only until it is clear', () => {
  const escaper = new ReasoningTagEscaper();

  expect(escaper.write('So <thi')).toBe('So ');
  expect(escaper.write('n')).toBe('');
  expect(escaper.write('g')).toBe('<thing');
  expect(escaper.flush()).toBe('');
});

it.each(TAGS)('holds back of %j no more than itself', (tag) => {
  const escaper = new ReasoningTagEscaper();
  const held = `${'x'.repeat(100)}${tag}`.length - escaper.write(`${'x'.repeat(100)}${tag}`).length;
  expect(held).toBeLessThanOrEqual(tag.length);
});

it('is the same text without the zero-width spaces, however it is cut', () => {
  const random = randomFrom(1);
  const alphabet = [...TAGS, '<', 'think', '>', '◁', '▷', '|', ' ', 'x', '🌍', '</think>'];
  for (let round = 0; round < 500; round++) {
    const text = randomText(random, alphabet, 30);
    const answer = escaped(...randomDeltas(random, text, 8));

    expect(answer.replaceAll('\u200b', '')).toBe(text);
    expect(answer).not.toMatch(RECOGNISED);
    expect(answer).toBe(escaped(text));
  }
});

it('takes linear time for many deltas and for many brackets', () => {
  const start = performance.now();
  escaped('<'.repeat(1_000_000));
  escaped(...Array.from({ length: 100_000 }, () => '<thi'));
  expect(performance.now() - start).toBeLessThan(2_000);
});
