import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { longText } from '../../examples/scriptedModel.js';
import { post, runIdOf } from './client';
import { type Answer, claudeAnswer, openaiAnswer, partsOf } from './eventStream';
import { record } from './figures';
import { nothingLeft } from './processes';
import { startRealCli, versions } from './realCli';
import { fixture, serve } from './serve';

const length = 16_000_000;
const text = longText(length);
const prompt = `long ${length}`;

/** Reads 1 MB, then nothing for `ms`, then the rest. */
async function readWithPause(response: IncomingMessage, ms: number): Promise<string> {
  let stream = '';
  let paused = false;
  for await (const chunk of response.setEncoding('utf8')) {
    stream += chunk;
    if (paused || stream.length < 1_000_000) continue;
    paused = true;
    await delay(ms);
  }
  record('MB of event stream', stream.length / 1e6);
  return stream;
}

function expectWhole(answer: Answer, expected: string): void {
  expect(answer).toMatchObject({ ending: 'success', finish: 'stop' });
  expect(answer.text.length).toBe(expected.length);
  // Not `toBe`, which would print 16 MB.
  expect(answer.text === expected).toBe(true);
}

/** The last event of a type, parsed. */
function lastOf(stream: string, type: string) {
  const events = partsOf(stream).filter((part) => part.kind === 'event' && part.event === type);
  const last = events.at(-1);
  return last?.kind === 'event' ? JSON.parse(last.data) : undefined;
}

test.each(versions)('16 MB of %s reach a client that pauses for 10 s', async (version) => {
  const { options } = await startRealCli(version);
  const server = await serve(options);
  const response = await post(server.url, { prompt });
  const stream = await readWithPause(response, 10_000);
  expectWhole(claudeAnswer(stream), text);
  expect(lastOf(stream, 'result').result === text).toBe(true);
  expect(lastOf(stream, 'outcome').result === text).toBe(true);
  await nothingLeft(runIdOf(response), 3_000);
});

test('16 MB in the openai format reach a client that pauses for 10 s', async () => {
  const { options } = await startRealCli('2.1.197');
  const server = await serve({ ...options, format: 'openai' });
  const response = await post(server.url, {
    stream: true,
    messages: [{ role: 'user', content: prompt }],
  });
  expectWhole(openaiAnswer(await readWithPause(response, 10_000)), text);
  await nothingLeft(runIdOf(response), 3_000);
});

test('16 MB of a process that exits as soon as its stdin closes reach a client that pauses', async () => {
  const server = await serve({ command: fixture('hasty'), env: { BYTES: String(length) } });
  const response = await post(server.url, { prompt: 'hi' });
  const stream = await readWithPause(response, 3_000);
  const lines = Array.from({ length: length / 1_000 }, (_, line) =>
    String(line * 1_000).padStart(1_000, '.'),
  );
  expectWhole(claudeAnswer(stream), lines.join(''));
  expect(lastOf(stream, 'result').result).toBe('done');
  await nothingLeft(runIdOf(response), 3_000);
});
