import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { type Line, readLines } from '../../lib/claude/lines';
import type { ClaudeMessage, StreamEventMessage } from '../../lib/claude/messages';

const KiB = 1024;
const MiB = 1024 * KiB;

/** The lines of `chunks`, once the input has ended. */
function linesOf(chunks: Iterable<Buffer | string>, maxLineLength = MiB): Promise<Line[]> {
  return new Promise((resolve) => {
    const lines: Line[] = [];
    const reader = readLines(
      maxLineLength,
      (line) => lines.push(line),
      () => resolve(lines),
    );
    for (const chunk of chunks) reader.write(Buffer.from(chunk));
    reader.end();
  });
}

/** In short: a message's type, or why a line is none. */
async function summaryOf(chunks: Iterable<Buffer | string>, maxLineLength?: number) {
  const lines = await linesOf(chunks, maxLineLength);
  return lines.map((line) => (line.kind === 'message' ? line.message.type : line.reason));
}

/** A line of JSON of `length` bytes, without its newline. */
function lineOfLength(length: number, type = 'long'): string {
  const frame = `{"type":"${type}","x":""}`.length;
  return `{"type":"${type}","x":"${'x'.repeat(length - frame)}"}`;
}

describe('a message', () => {
  const text = '{"type":"a","text":"Grüße 🌍 \u2028 €"}';
  const message = { type: 'a', text: 'Grüße 🌍 \u2028 €' };

  test('comes with its text as it was written', async () => {
    expect(await linesOf([`${text}\n`])).toEqual([
      { kind: 'message', message, text, abridged: false },
    ]);
  });

  test('is whole wherever its bytes are cut', async () => {
    const bytes = Buffer.from(`${text}\n{"type":"b"}\n`);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const lines = await linesOf([bytes.subarray(0, cut), bytes.subarray(cut)]);
      expect(lines).toEqual([
        { kind: 'message', message, text, abridged: false },
        { kind: 'message', message: { type: 'b' }, text: '{"type":"b"}', abridged: false },
      ]);
    }
  });

  test('is whole when it comes byte by byte', async () => {
    const bytes = Buffer.from(`${text}\r\n${text}\n`);
    const lines = await linesOf([...bytes].map((byte) => Buffer.from([byte])));
    expect(lines).toEqual([
      { kind: 'message', message, text, abridged: false },
      { kind: 'message', message, text, abridged: false },
    ]);
  });

  test('counts without a newline when it is the last', async () => {
    expect(await summaryOf(['{"type":"a"}\n{"typ', 'e":"b"}'])).toEqual(['a', 'b']);
  });

  test('may end with CRLF, also between two chunks', async () => {
    const lines = await linesOf(['{"type":"a"}\r', '\n{"type":"b"}\r\n']);
    expect(lines).toEqual([
      { kind: 'message', message: { type: 'a' }, text: '{"type":"a"}', abridged: false },
      { kind: 'message', message: { type: 'b' }, text: '{"type":"b"}', abridged: false },
    ]);
  });

  test('may be one of thousands in a chunk', async () => {
    const types = Array.from({ length: 5_000 }, (_, index) => `t${index}`);
    const chunk = types.map((type) => `{"type":"${type}"}\n`).join('');
    expect(await summaryOf([chunk])).toEqual(types);
  });

  test('may come in thousands of chunks', async () => {
    const line = lineOfLength(5_000);
    const chunks = [...line].map((character) => character);
    expect(await summaryOf([...chunks, '\n', '{"type":"b"}\n'])).toEqual(['long', 'b']);
  });
});

describe('a delta', () => {
  const fields =
    '"session_id":"0-a","parent_tool_use_id":null,"uuid":"1-b","api_message_id":"msg_1"';
  const delta = (json: string) =>
    `{"type":"stream_event","event":{"type":"content_block_delta","index":3,"delta":${json}},${fields}}`;
  const textDelta = (json: string) => delta(`{"type":"text_delta","text":${json}}`);
  const message = (delta: object) => ({
    type: 'stream_event',
    parent_tool_use_id: null,
    event: { type: 'content_block_delta', index: 3, delta },
  });

  test('of text or thinking is read without its other fields', async () => {
    const lines = [textDelta('"Hi "'), delta('{"type":"thinking_delta","thinking":"Hm."}')];
    expect(await linesOf([`${lines.join('\n')}\n`])).toEqual([
      {
        kind: 'message',
        abridged: true,
        text: lines[0],
        message: message({ type: 'text_delta', text: 'Hi ' }),
      },
      {
        kind: 'message',
        abridged: true,
        text: lines[1],
        message: message({ type: 'thinking_delta', thinking: 'Hm.' }),
      },
    ]);
  });

  test('has the words that JSON.parse would read, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (text) => {
        const [line] = await linesOf([`${textDelta(JSON.stringify(text))}\n`]);
        // What is no text, half a surrogate pair, is no text in UTF-8 either, but comes through as an escape.
        expect(line).toMatchObject({
          abridged: true,
          message: message({ type: 'text_delta', text }),
        });
      }),
    );
  });

  test('may be of any version, with fields that nobody knows', async () => {
    const line = textDelta('"a"').replace(/}$/, ',"ttft_ms":26,"is_new":true,"nothing":null}');
    expect(await linesOf([line])).toMatchObject([{ abridged: true }]);
  });

  test.each([
    ['another order of its fields', `{${fields},"type":"stream_event","event":{"type":"x"}}`],
    ['a field that is an object', textDelta('"a"').replace(/}$/, ',"x":{}}')],
    ['a subagent', textDelta('"a"').replace('_id":null', '_id":"toolu_1"')],
    ['input of a tool', delta('{"type":"input_json_delta","partial_json":"{"}')],
    ['a field within the delta', delta('{"type":"text_delta","text":"a","x":1}')],
    ['a field twice', textDelta('"a"').replace(/}$/, ',"parent_tool_use_id":"toolu_1"}')],
    ['a space', ` ${textDelta('"a"')}`],
    ['more than 4 096 characters', textDelta(JSON.stringify('x'.repeat(4_096)))],
    ['five million characters', textDelta(JSON.stringify('x\n'.repeat(2_500_000)))],
  ])('that has %s is parsed as any other message', async (_, line) => {
    expect(await linesOf([`${line}\n`], 16 * MiB)).toEqual([
      { kind: 'message', message: JSON.parse(line), text: line, abridged: false },
    ]);
  });

  test.each([
    ['its end', textDelta('"a"').slice(0, -1)],
    ['its words', textDelta('"a')],
    ['a tab within its words', textDelta('"\t"')],
    ['an escape that there is not', textDelta(String.raw`"\x41"`)],
    ['half an escape', textDelta(String.raw`"\u12"`)],
    ['something behind it', `${textDelta('"a"')} Warning`],
    ['something within it', textDelta('"a"').replace('"uuid"', 'Warning"uuid"')],
    ['a zero before its index', textDelta('"a"').replace('"index":3', '"index":03')],
    ['an index that is no number', textDelta('"a"').replace('"index":3', '"index":x')],
  ])('with a fault is no message: %s', async (_, line) => {
    expect(() => JSON.parse(line)).toThrow();
    expect(await summaryOf([`${line}\n`])).toEqual(['not_json']);
  });

  const transcripts = join(__dirname, '../fixtures/transcripts');

  test.each(readdirSync(transcripts).filter((file) => file.endsWith('.jsonl')))(
    'of the recording %s is what JSON.parse reads',
    async (file) => {
      const recording = readFileSync(join(transcripts, file), 'utf8');
      const parsed = recording
        .split('\n')
        .filter(Boolean)
        .map((line): ClaudeMessage => JSON.parse(line));
      const lines = await linesOf([recording], 16 * MiB);
      expect(lines).toHaveLength(parsed.length);
      for (const [index, line] of lines.entries()) {
        if (line.kind !== 'message') throw new Error('not reached');
        expect(parsed[index]).toMatchObject(line.message);
        const { type, parent_tool_use_id: parent, event } = parsed[index] as StreamEventMessage;
        const kind = type === 'stream_event' && parent === null && event.delta?.type;
        expect(line.abridged).toBe(kind === 'text_delta' || kind === 'thinking_delta');
      }
    },
  );
});

describe('a line that is no message', () => {
  test.each([
    ['a warning', 'Warning: deprecated'],
    ['half a message', '{"type":'],
    ['an array', '[1,2]'],
    ['a number', '42'],
    ['null', 'null'],
    ['an object without a type', '{"no":"type"}'],
    ['an object whose type is no string', '{"type":7}'],
    ['two messages', '{"type":"a"}{"type":"b"}'],
  ])('is reported as such: %s', async (_, text) => {
    expect(await linesOf([`{"type":"a"}\n${text}\n{"type":"b"}\n`])).toEqual([
      expect.objectContaining({ kind: 'message' }),
      { kind: 'invalid', reason: 'not_json', text },
      expect.objectContaining({ kind: 'message' }),
    ]);
  });

  test('may be no text at all', async () => {
    const bytes = Buffer.from([0xff, 0xfe, 0x00, 0xf0, 0x9f, 0x0a]);
    expect(await summaryOf([bytes, '{"type":"b"}\n'])).toEqual(['not_json', 'b']);
  });

  test('cannot swallow the next one with half a UTF-8 sequence', async () => {
    expect(await summaryOf([Buffer.from([0xf0, 0x9f]), '\n', '{"type":"b"}\n'])).toEqual([
      'not_json',
      'b',
    ]);
  });

  test('is kept only as far as a log needs it', async () => {
    const [line] = await linesOf([`${'y'.repeat(10_000)}\n`]);
    expect(line).toEqual({ kind: 'invalid', reason: 'not_json', text: 'y'.repeat(200) });
  });

  test('is skipped when it is blank', async () => {
    expect(await linesOf(['\n\n   \n\r\n\t\n', '\n', ' '])).toEqual([]);
  });
});

describe('a line that is too long', () => {
  test('is dropped and reported in its place, and the next lines count', async () => {
    const long = 'x'.repeat(300);
    const chunks = ['{"type":"a"}\n{"type":"b"}\n{"x":"', long, long, '"}\n{"type":"c"}\n', long];
    expect(await linesOf(chunks, 250)).toEqual([
      { kind: 'message', message: { type: 'a' }, text: '{"type":"a"}', abridged: false },
      { kind: 'message', message: { type: 'b' }, text: '{"type":"b"}', abridged: false },
      { kind: 'invalid', reason: 'too_long', text: `{"x":"${'x'.repeat(194)}` },
      { kind: 'message', message: { type: 'c' }, text: '{"type":"c"}', abridged: false },
      { kind: 'invalid', reason: 'too_long', text: 'x'.repeat(200) },
    ]);
  });

  test('is one that is longer than the limit by a byte', async () => {
    const halves = (line: string) => [line.slice(0, 50), line.slice(50), '\n'];
    expect(await summaryOf(halves(lineOfLength(250)), 250)).toEqual(['long']);
    expect(await summaryOf(halves(lineOfLength(251)), 250)).toEqual(['too_long']);
  });

  test('keeps its place among lines of every length, however they are cut', async () => {
    const limit = 200;
    const random = seeded(7);
    const lengths = Array.from({ length: 400 }, () => (random() < 0.2 ? 900 : 30 + random() * 100));
    const text = lengths
      .map((length, index) => `${lineOfLength(Math.floor(length), `t${index}`)}\n`)
      .join('');
    const bytes = Buffer.from(text);
    const chunks: Buffer[] = [];
    for (let start = 0; start < bytes.length; ) {
      const end = start + 1 + Math.floor(random() * 180);
      chunks.push(bytes.subarray(start, end));
      start = end;
    }
    expect(await summaryOf(chunks, limit)).toEqual(
      lengths.map((length, index) => (length > limit ? 'too_long' : `t${index}`)),
    );
  });

  test('takes no memory, however long it is', () => {
    const collectGarbage = garbageCollector();
    const lines: Line[] = [];
    const reader = readLines(
      8 * MiB,
      (line) => lines.push(line),
      () => {},
    );
    const before = memory();
    for (let written = 0; written < 200 * MiB; written += MiB) {
      reader.write(Buffer.alloc(MiB, 'x'));
    }
    collectGarbage();
    expect(memory() - before).toBeLessThan(2 * MiB);
    reader.write(Buffer.from('\n{"type":"after"}\n'));
    expect(lines).toMatchObject([{ reason: 'too_long' }, { message: { type: 'after' } }]);

    function memory() {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    }
  });
});

test('a line of many chunks costs no more than its length', async () => {
  const line = Buffer.from(`${lineOfLength(32 * MiB)}\n`);
  const chunks: Buffer[] = [];
  for (let start = 0; start < line.length; start += 64 * KiB) {
    chunks.push(line.subarray(start, start + 64 * KiB));
  }
  const started = performance.now();
  expect(await summaryOf(chunks, 64 * MiB)).toEqual(['long']);
  expect(performance.now() - started).toBeLessThan(3_000);
});

/** Numbers from 0 to 1 that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc');
}

test('megabytes of short junk lines do not block the event loop for seconds', async () => {
  const started = performance.now();
  let invalid = 0;
  const chunk = Buffer.from('x\n'.repeat(2 ** 15));
  await new Promise<void>((resolve) => {
    const lines = readLines(
      2 ** 20,
      () => (invalid += 1),
      () => resolve(),
    );
    for (let written = 0; written < 8_000_000; written += chunk.length) lines.write(chunk);
    lines.end();
  });
  expect(invalid).toBeGreaterThan(3_900_000);
  // 0.4 s here; with a throw of JSON.parse for each line 33 s.
  expect(performance.now() - started).toBeLessThan(5_000);
});
