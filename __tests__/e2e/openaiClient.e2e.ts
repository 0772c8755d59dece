import type { ClaudeStreamOptions } from 'claude-stream';
import OpenAI, { APIError, APIUserAbortError } from 'openai';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { startRealCli } from './realCli';
import { serve } from './serve';

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

const asking = (prompt: string) => ({
  model: 'claude',
  messages: [{ role: 'user' as const, content: prompt }],
});

async function start(more: ClaudeStreamOptions = {}) {
  const { options } = await startRealCli('2.1.330');
  const server = await serve({ ...options, format: 'openai', ...more });
  const client = new OpenAI({ baseURL: `${server.origin}/v1`, apiKey: 'dummy' });
  return { server, completions: client.chat.completions };
}

/** Every run of the server has ended and left nothing. */
async function expectRuns(started: readonly string[], count: number): Promise<void> {
  expect(started).toHaveLength(count);
  for (const runId of started) await nothingLeft(runId, 1_000);
}

test('a stream', async () => {
  const { server, completions } = await start();
  const stream = await completions.create({
    ...asking('hello'),
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  expect(choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
  expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(greeting);
  expect(choices.flatMap(({ finish_reason }) => finish_reason ?? [])).toEqual(['stop']);
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  expect(chunks.flatMap(({ usage }) => usage ?? [])).toEqual([
    expect.objectContaining({ prompt_tokens: 1_000, completion_tokens: 20, total_tokens: 1_020 }),
  ]);
  await expectRuns(server.started, 1);
});

test('a stream put together by the client, with a tool on the way', async () => {
  const { server, completions } = await start();
  const completion = await completions.stream(asking('bash')).finalChatCompletion();
  expect(completion.choices).toHaveLength(1);
  expect(completion.choices[0]).toMatchObject({
    finish_reason: 'stop',
    message: {
      role: 'assistant',
      content: 'I will run a command.\n\nThe command printed: one\ntwo',
    },
  });
  expect(completion.choices[0]?.message.tool_calls).toBeUndefined();
  await expectRuns(server.started, 1);
});

test('an answer that is not streamed', async () => {
  const { server, completions } = await start();
  const { choices, usage } = await completions.create(asking('hello'));
  expect(choices).toEqual([
    {
      index: 0,
      finish_reason: 'stop',
      logprobs: null,
      message: { role: 'assistant', content: greeting, refusal: null },
    },
  ]);
  expect(usage).toMatchObject({ prompt_tokens: 1_000, completion_tokens: 20 });
  await expectRuns(server.started, 1);
});

test('an error within a stream is thrown', async () => {
  const { server, completions } = await start();
  const stream = await completions.create({ ...asking('fail'), stream: true });
  const reading = (async () => {
    for await (const _chunk of stream);
  })();
  await expect(reading).rejects.toBeInstanceOf(APIError);
  await expect(reading).rejects.toMatchObject({
    code: 'prompt_too_long',
    type: 'invalid_request_error',
    message: expect.stringContaining('Prompt is too long'),
  });
  await expectRuns(server.started, 1);
});

test('an error of an answer that is not streamed has its status', async () => {
  const { server, completions } = await start();
  const failing = completions.create(asking('fail'));
  await expect(failing).rejects.toBeInstanceOf(APIError);
  await expect(failing).rejects.toMatchObject({ status: 400, code: 'prompt_too_long' });
  await expectRuns(server.started, 1);
});

test('an error that is the server’s is not tried again', async () => {
  const { server, completions } = await start({ timeout: { total: 1_500 } });
  const failing = completions.create(asking('slow 60'));
  await expect(failing).rejects.toMatchObject({ status: 504, code: 'total_timeout' });
  await expectRuns(server.started, 1);
});

test('an aborted stream takes its process with it', async () => {
  const { server, completions } = await start();
  const stream = await completions.create({
    ...asking('bash: while true; do command sleep 1.5; done'),
    stream: true,
  });
  const runId = String(server.started[0]);
  await processWith(runId, 'sleep 1.5');
  stream.controller.abort();
  record('ms until nothing was left', await nothingLeft(runId, 3_000));
  expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'disconnected' });
  expect(server.started).toHaveLength(1);
});

test('an aborted request for an answer that is not streamed takes its process with it', async () => {
  const { server, completions } = await start();
  const leaving = new AbortController();
  const asked = completions.create(asking('slow 60'), { signal: leaving.signal });
  const aborted = expect(asked).rejects.toBeInstanceOf(APIUserAbortError);
  const runId = await server.firstToSpeak();
  leaving.abort();
  await aborted;
  record('ms until nothing was left', await nothingLeft(runId, 3_000));
  expect(server.started).toHaveLength(1);
});

test('a timeout shorter than the answer costs one run, since the headers come at once', async () => {
  const { server, completions } = await start();
  const stream = await completions.create(
    { ...asking('slow 5'), stream: true },
    { timeout: 1_000 },
  );
  let text = '';
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
  expect(text).toBe('This answer took 5 seconds.');
  await expectRuns(server.started, 1);
});
