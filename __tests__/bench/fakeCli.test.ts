import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MARK, stampsIn, writeTranscript } from '../../bench/transcript.js';
import { type Line, readLines } from '../../lib/claude/lines';
import { isIdle, isResult, isStreamEvent } from '../../lib/claude/messages';
import { eventsOf, outcomeOf, post, startChatServer, textOf } from '../chatServer';

const bench = join(__dirname, '../../bench');
const fakeCli = join(bench, 'fakeCli/claude');
const directory = mkdtempSync(join(tmpdir(), 'claude-stream-'));
const path = join(directory, 'transcript.jsonl');

afterAll(() => rmSync(directory, { recursive: true }));

const marks = (text: string) => Buffer.from(text).filter((byte) => byte === MARK).length;

/** What the fake CLI writes for a prompt as an argument and a stdin that is closed after `input`. */
async function outputOf(args: string[], input: string, writes = 'lines'): Promise<string> {
  const child = spawn(fakeCli, args, {
    env: { ...process.env, BENCH_TRANSCRIPT: path, BENCH_WRITES: writes },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stdin.end(input);
  await once(child, 'close');
  return output;
}

test.each(['ascii', 'other'] as const)(
  'its lines are messages, text in %s words',
  async (words) => {
    writeTranscript(path, { deltas: 20, words });
    const lines: Line[] = [];
    const reader = readLines(
      2 ** 20,
      (line) => lines.push(line),
      () => undefined,
    );
    reader.write(Buffer.from(await outputOf([], '{"type":"user"}\n')));
    reader.end();
    await new Promise(setImmediate);
    const messages = lines.map((line) => (line.kind === 'message' ? line.message : line));
    expect(lines.filter(({ kind }) => kind === 'invalid')).toEqual([]);
    const deltas = messages.filter(
      (message) =>
        isStreamEvent(message as never) && JSON.stringify(message).includes('text_delta'),
    );
    expect(deltas).toHaveLength(20);
    expect(messages.filter((message) => isResult(message as never))).toHaveLength(1);
    expect(isIdle(messages.at(-1) as never)).toBe(true);
  },
);

test.each(['claude', 'openai'] as const)('a run of it is a success, told in %s', async (format) => {
  writeTranscript(path, { deltas: 300, words: 'other', longLine: 20_000 });
  const env = { BENCH_TRANSCRIPT: path };
  const server = await startChatServer('mute', { command: fakeCli, format }, env);
  try {
    const body = { prompt: 'hi' };
    const messages = [{ role: 'user', content: 'hi' }];
    const { text } = await post(
      server.url,
      format === 'claude' ? body : { stream: true, messages },
    );
    expect(await server.nextOutcome()).toMatchObject({ status: 'success', invalidLines: 0 });
    // Nothing but the deltas bears the mark, in either format.
    expect(marks(text)).toBe(300);
    if (format === 'claude') {
      expect(outcomeOf(text).status).toBe('success');
      expect(textOf(text)).toContain('日本~');
      expect(textOf(text)).toContain('x'.repeat(20_000));
    } else {
      expect(eventsOf(text).at(-1)?.data).toBe('[DONE]');
    }
  } finally {
    await server.close();
  }
});

test('it answers the request to initialize, and then the prompt', async () => {
  writeTranscript(path, { deltas: 1 });
  const request =
    '{"type":"control_request","request_id":"r-1","request":{"subtype":"initialize"}}';
  const output = await outputOf([], `${request}\n{"type":"user"}\n`);
  const [first = '', ...rest] = output.split('\n');
  expect(JSON.parse(first)).toMatchObject({
    type: 'control_response',
    response: { subtype: 'success', request_id: 'r-1' },
  });
  expect(marks(rest.join('\n'))).toBe(1);
});

test.each(['lines', 'blocks'])('in %s, it writes its transcript, byte for byte', async (writes) => {
  writeTranscript(path, { deltas: 300, words: 'other', longLine: 20_000 });
  expect(await outputOf([], '{"type":"user"}\n', writes)).toBe(readFileSync(path, 'utf8'));
});

test('it takes the prompt as an argument when stdin is closed', async () => {
  writeTranscript(path, { deltas: 2 });
  expect(marks(await outputOf(['--print', 'hi'], ''))).toBe(2);
});

test('the one that ticks says when', async () => {
  const before = Date.now();
  const child = spawn(join(bench, 'fakeCli/ticking.js'), [], {
    env: { ...process.env, BENCH_INTERVAL: '1' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.write('{"type":"user"}\n');
  let times: number[] = [];
  for await (const bytes of child.stdout) {
    times = [...times, ...stampsIn(bytes)];
    if (times.length >= 3) child.stdin.end();
  }
  expect(times.length).toBeGreaterThanOrEqual(3);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  // The two clocks of a machine agree to a few milliseconds.
  expect(times[0]).toBeGreaterThan(before - 50);
  expect(times.at(-1)).toBeLessThan(Date.now() + 50);
});
