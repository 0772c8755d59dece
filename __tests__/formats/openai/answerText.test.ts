import {
  START_NOTICE,
  toolDetails,
  toolLine,
  withoutDisplay,
} from '../../../lib/formats/openai/answerText.js';
import { randomFrom, randomText, timeOf } from '../support.js';
import { toolCallsIn } from './stream.js';

const call = { id: 'toolu_1', name: 'Read notes.md', input: { path: 'a' }, result: 'One.' };
const reasoning =
  '<details type="reasoning" done="true" duration="2">\n<summary>Thought</summary>\n> Hm.\n</details>\n';

describe('a tool call as a line', () => {
  it('is its name in brackets and what it is applied to, with an invisible mark at its end', () => {
    expect(toolLine('Read', 'notes.md')).toBe('[Read] notes.md\u2060');
    expect(toolLine('TodoWrite', '')).toBe('[TodoWrite]\u2060');
  });

  it('keeps its mark when a client trims it', () => {
    expect(toolLine('Read', 'a').trim()).toBe(toolLine('Read', 'a'));
  });
});

describe('a tool call as a block', () => {
  it('has one tag on a line of its own, a summary, and an end', () => {
    expect(toolDetails(call)).toBe(
      '<details type="tool_calls" done="true" id="toolu_1" name="Read notes.md" ' +
        'arguments="&quot;{\\&quot;path\\&quot;:\\&quot;a\\&quot;}&quot;" result="&quot;One.&quot;">\n' +
        '<summary>Tool Executed</summary>\n' +
        '</details>',
    );
  });

  it('is read back by Open WebUI, whatever input and result hold', () => {
    const random = randomFrom(5);
    const alphabet = [
      ...['&', '<', '>', '"', "'", '\\', '\n', '\r', '\t', '\0', '\u2028', '\u2029', '\u0085'],
      ...[
        '&amp;',
        '&#x27;',
        '</details>',
        '<details',
        '<summary>',
        '🌍',
        '\ud83c',
        'a',
        '{{',
        '$&',
      ],
    ];
    for (let round = 0; round < 500; round++) {
      const text = `x${randomText(random, alphabet, 20)}`;
      const [read, ...others] = toolCallsIn(
        toolDetails({ ...call, input: { text }, result: text }),
      );

      expect(others).toEqual([]);
      expect(read).toMatchObject({ arguments: { text }, result: text });
    }
  });

  it.each([undefined, null])('has an empty object for the input %p', (input) => {
    expect(toolCallsIn(toolDetails({ ...call, input }))[0]?.arguments).toEqual({});
  });

  it('has a name of one line, without anything that needs escaping', () => {
    const [read] = toolCallsIn(toolDetails({ ...call, name: 'Bash: a "b"\n<c> & \'d\'\u2028e' }));
    expect(read?.attributes.name).toBe('Bash: a b c d e');
  });

  it('is taken out of an answer again', () => {
    expect(withoutDisplay(`Before.\n\n${toolDetails(call)}\n\nAfter.`)).toBe('Before.\n\n\nAfter.');
  });
});

describe('an answer that a client sends back', () => {
  it.each(['reasoning', 'tool_calls', 'code_interpreter'])(
    'loses its blocks of the type %s',
    (type) => {
      const block = `<details type="${type}" done="true">\n<summary>x</summary>\n> y\n</details>\n`;
      expect(withoutDisplay(`${block}One.\n${block}Two.${block}`)).toBe('One.\nTwo.');
    },
  );

  it.each([
    '<details>\n<summary>More</summary>\nText\n</details>',
    '<details open>\n</details>',
    '<details type="other">\n</details>',
    '<details data-x="reasoning">\n</details>',
    '</details>',
    '<detail type="reasoning">',
    '',
    'Plain.',
  ])('keeps %j, which Claude has said', (text) => {
    expect(withoutDisplay(text)).toBe(text);
  });

  it('loses a block wherever its type stands in the tag', () => {
    expect(withoutDisplay('<details done="true" type="reasoning">\nx\n</details>\nHi')).toBe('Hi');
  });

  it('loses a block that was cut off, and what comes after it', () => {
    expect(withoutDisplay('One.\n<details type="reasoning" done="false">\n> Hm')).toBe('One.\n');
  });

  it('keeps what stands between a block of Claude and one of ours', () => {
    const own = '<details>\n<summary>More</summary>\nText\n</details>\n';
    expect(withoutDisplay(`${own}One.\n${reasoning}Two.`)).toBe(`${own}One.\nTwo.`);
  });

  it('loses the start notice and the lines of tools', () => {
    const lines = [
      toolLine('Read', 'notes.md'),
      toolLine('TodoWrite', ''),
      toolLine('mcp__a', 'x'),
    ];
    expect(withoutDisplay(`${START_NOTICE}\n\nLet me look.\n\n${lines.join('\n')}\n\nDone.`)).toBe(
      'Let me look.\n\n\nDone.',
    );
  });

  it('loses the lines of tools whose names have hyphens, as those of MCP servers may', () => {
    const line = toolLine('mcp__my-server__get-issue', '#3');
    expect(withoutDisplay(`${START_NOTICE}\n${line}\n\nDone.`)).toBe('Done.');
  });

  it('loses the lines of tools whose detail has a line separator', () => {
    const line = toolLine('Bash', 'echo a\u2028b');
    expect(withoutDisplay(`${START_NOTICE}\n${line}\n\nDone.`)).toBe('Done.');
  });

  it.each([
    '[link](https://example.com)',
    '- [ ] todo',
    '  [Read] indented',
    '[a b] c',
    '[1] A source',
    '[dependencies]',
    '[INFO] done',
    '[Read] notes.md',
    '[Read] notes\u2060.md',
    'An invisible mark\u2060',
  ])('keeps %j, which no tool has written, with the notice and without', (line) => {
    const text = `One.\n${line}\nTwo.`;
    expect(withoutDisplay(text)).toBe(text);
    expect(withoutDisplay(`${START_NOTICE}\n\n${text}`)).toBe(text);
    expect(withoutDisplay(`${START_NOTICE}\n${toolLine('Read', 'a')}\n\n${text}`)).toBe(text);
  });

  it('keeps the words of the notice when they do not begin it: they are Claude’s', () => {
    const text = `It says:\n${START_NOTICE}`;
    expect(withoutDisplay(text)).toBe(text);
  });

  it('loses blocks and lines together', () => {
    expect(withoutDisplay(`${reasoning}${START_NOTICE}\n${toolLine('Read', 'a')}\n\nHi`)).toBe(
      'Hi',
    );
  });

  it('of 10 MB of unclosed blocks is read within a second', () => {
    const text = '<details type="reasoning">'.repeat(400_000);
    expect(timeOf(() => withoutDisplay(text))).toBeLessThan(1_000);
  });

  it.each([
    ['unclosed blocks', '<details type="reasoning">'],
    ['blocks that end all at once', '<details type="reasoning">', '</details>'],
    ['unclosed tags', '<details type="reasoning" '],
    ['unclosed tags without a type', '<details '],
    ['closed blocks', '<details type="reasoning"></details>'],
    ['blocks of Claude', '<details></details>'],
    ['ends', '</details>'],
    ['lines', '[Read] a\n'],
    ['lines of tools', '[Read] a\u2060\n'],
    ['marks', '\u2060'],
    ['brackets', '['],
    ['newlines', '\n'],
  ])('of 10 MB of %s is read in linear time', (_, part, end = '') => {
    // Quadratic, 10 MB would take hours: so 200 KB come first.
    for (const [length, limit] of [
      [200_000, 300],
      [10_000_000, 4_000],
    ] as const) {
      const text = part.repeat(length / part.length) + end;
      expect(timeOf(() => withoutDisplay(text))).toBeLessThan(limit);
      expect(timeOf(() => withoutDisplay(`${START_NOTICE}\n${text}`))).toBeLessThan(limit);
    }
  });
});
