import type { Message } from '@anthropic-ai/sdk/resources/messages';
import type { ClaudeStreamOptions } from 'claude-stream';
import { type Call, ClientHost, folders, type NodeVersion } from './clientHost';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { startRealCli } from './realCli';
import { serve } from './serve';

interface Streamed {
  readonly message: Message;
  readonly texts: readonly string[];
  readonly types: readonly string[];
}

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

const asking = (prompt: string, more: object = {}) => ({
  body: {
    model: 'default',
    max_tokens: 1_024,
    messages: [{ role: 'user', content: prompt }],
    ...more,
  },
});

describe.each<NodeVersion>(['20', '24'])("Anthropic's SDK on Node %s", (node) => {
  let client: ClientHost;

  beforeAll(async () => {
    client = await ClientHost.start('anthropic.mjs', folders.ours, node);
  });

  afterAll(() => client.stop());

  async function start(more: ClaudeStreamOptions = {}) {
    const { options } = await startRealCli('2.1.330');
    const server = await serve({ ...options, format: 'anthropic', ...more });
    const call = <Result>(operation: string, args: object = {}): Call<Result> =>
      client.call(operation, { baseURL: server.origin, ...args });
    const expectOneRun = async () => {
      expect(server.started).toHaveLength(1);
      await nothingLeft(String(server.started[0]), 1_000);
    };
    return { server, call, expectOneRun };
  }

  test('streams a message, with its usage', async () => {
    const { call, expectOneRun } = await start();
    const { message, texts, types } = await call<Streamed>('stream', asking('hello')).result;
    expect(message).toMatchObject({
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text: greeting }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 100, cache_read_input_tokens: 900, output_tokens: 20 },
    });
    expect(texts.join('')).toBe(greeting);
    expect(texts.length).toBeGreaterThan(5);
    expect(types.at(-1)).toBe('message_stop');
    await expectOneRun();
  });

  test('streams thinking as a block of its own', async () => {
    const { call } = await start();
    const { message } = await call<Streamed>('stream', asking('think')).result;
    expect(message.content).toMatchObject([
      { type: 'thinking', thinking: 'The user wants me to think. I have thought.' },
      { type: 'text', text: 'I have thought about it: the answer is 42.' },
    ]);
  });

  test('merges the turns of a run that uses a tool into one message', async () => {
    const { call, expectOneRun } = await start();
    const { message, types } = await call<Streamed>('stream', asking('bash')).result;
    expect(message.content).toMatchObject([
      { type: 'text', text: 'I will run a command.' },
      { type: 'text', text: '\n\nThe command printed: one\ntwo' },
    ]);
    expect(message.stop_reason).toBe('end_turn');
    expect(types.filter((type) => type === 'message_start')).toHaveLength(1);
    await expectOneRun();
  });

  test.each(['fail', 'midfail'])('throws when a run fails: %s', async (prompt) => {
    const { call, expectOneRun } = await start();
    await expect(call('stream', asking(prompt)).result).rejects.toMatchObject({
      message: expect.stringContaining('Prompt is too long'),
      type: 'invalid_request_error',
    });
    await expectOneRun();
  });

  test('gets a message that is not streamed', async () => {
    const { call, expectOneRun } = await start();
    expect(await call<Message>('create', asking('bash')).result).toMatchObject({
      content: [{ text: 'I will run a command.' }, { text: '\n\nThe command printed: one\ntwo' }],
      stop_reason: 'end_turn',
    });
    await expectOneRun();
  });

  test('throws when a run fails that is not streamed, and runs it once', async () => {
    const { call, expectOneRun } = await start({ timeout: { total: 1_500 } });
    await expect(call('create', asking('slow 60')).result).rejects.toMatchObject({
      status: 504,
      message: expect.stringContaining('too long'),
      type: 'timeout_error',
    });
    await expectOneRun();
  });

  test('throws when the request is wrong, and runs nothing', async () => {
    const { server, call } = await start();
    await expect(call('create', asking('hello', { system: 5 })).result).rejects.toMatchObject({
      status: 400,
      type: 'invalid_request_error',
    });
    expect(server.started).toEqual([]);
  });

  test('parses an answer that meets a schema', async () => {
    const { call } = await start();
    const answer = { city: 'Köln', inhabitants: 1_087_353 };
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' }, inhabitants: { type: 'integer' } },
      required: ['city', 'inhabitants'],
      additionalProperties: false,
    };
    const body = asking(`structured: ${JSON.stringify(answer)}`, {
      output_config: { format: { type: 'json_schema', schema } },
    });
    const message = await call<Message>('create', body).result;
    expect(message.content).toHaveLength(1);
    expect(JSON.parse((message.content[0] as { text: string }).text)).toEqual(answer);
    expect(await call('parse', body).result).toEqual(answer);
  });

  test('that aborts takes the process and its tool with it', async () => {
    const { server, call } = await start();
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const prompt = `bash: while true; do command sleep ${marker}; done`;
    const { result, begun, abort } = call<Streamed>('stream', asking(prompt));
    result.catch(() => {});
    await begun;
    const runId = await server.firstToSpeak();
    await processWith(runId, marker);
    abort();
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
    await expect(result).rejects.toMatchObject({ class: 'APIUserAbortError' });
  });
});
