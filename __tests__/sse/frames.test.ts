import {
  encodeFrame,
  encodePosition,
  escapeLineSeparators,
  KEEP_ALIVE_COMMENT,
} from '../../lib/sse/frames';

describe('a frame', () => {
  test('is an id, data on one line, and the blank line that dispatches it', () => {
    expect(encodeFrame('run:1', '{"a":1}')).toBe('id: run:1\ndata: {"a":1}\n\n');
  });

  test('may have a name', () => {
    expect(encodeFrame('run:2', '{}', 'outcome')).toBe('event: outcome\nid: run:2\ndata: {}\n\n');
  });

  test('may have no data', () => {
    expect(encodeFrame('run:3', '')).toBe('id: run:3\ndata: \n\n');
  });

  test('may have no id: a client that comes back says the one before it', () => {
    expect(encodeFrame(undefined, '{}')).toBe('data: {}\n\n');
    expect(encodeFrame(undefined, '{}', 'failure')).toBe('event: failure\ndata: {}\n\n');
  });

  test.each(['\n', '\r', '\r\n', 'a\n\ndata: injected', 'a\r\rdata: injected'])(
    'refuses %j in every part: it would inject fields or events',
    (text) => {
      expect(() => encodeFrame('1', text)).toThrow(TypeError);
      expect(() => encodeFrame('1', '{}', text)).toThrow(TypeError);
    },
  );
});

describe('line separators', () => {
  test('that JSON leaves as they are get escaped, and mean the same', () => {
    const value = { text: 'a\u2028b\u2029c\u0085d', '\u2028': '\u0085' };
    const escaped = escapeLineSeparators(JSON.stringify(value));
    expect(escaped).toBe('{"text":"a\\u2028b\\u2029c\\u0085d","\\u2028":"\\u0085"}');
    expect(JSON.parse(escaped)).toEqual(value);
  });

  test('that are escaped already stay as they are, like all other text', () => {
    const json = JSON.stringify({ text: 'Grüße 🌍 \n \r \\u2028 \t \v \x1c' });
    expect(escapeLineSeparators(json)).toBe(json);
  });
});

test('the keep-alive comment is a comment of its own', () => {
  expect(KEEP_ALIVE_COMMENT).toMatch(/^:[^\r\n]*\n\n$/);
});

test('a position is a block of its own, which has no data and so dispatches nothing', () => {
  expect(encodePosition({ id: 'run:0', retry: 1_000 })).toBe('retry: 1000\nid: run:0\n\n');
});
