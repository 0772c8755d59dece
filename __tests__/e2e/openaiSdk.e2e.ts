import type { OpenAIRouterOptions } from 'claude-stream';
import type { ChatCompletion, ChatCompletionChunk } from 'openai/resources';
import { type Call, ClientHost, folders, type NodeVersion } from './clientHost';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { startRealCli } from './realCli';
import { serveRouter } from './serve';

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

const asking = (prompt: string, more: object = {}) => ({
  model: 'default',
  messages: [{ role: 'user', content: prompt }],
  ...more,
});

const schema = {
  type: 'object',
  properties: { city: { type: 'string' }, inhabitants: { type: 'integer' } },
  required: ['city', 'inhabitants'],
  additionalProperties: false,
};

const clients: { version: string; folder: string; node: NodeVersion }[] = [
  { version: '6', folder: folders.ours, node: '20' },
  { version: '7', folder: folders.newest, node: '22' },
  { version: '7', folder: folders.newest, node: '24' },
];

describe.each(clients)('openai $version on Node $node', ({ version, folder, node }) => {
  let client: ClientHost;

  beforeAll(async () => {
    client = await ClientHost.start('openai.mjs', folder, node);
  });

  afterAll(() => client.stop());

  async function start(more: OpenAIRouterOptions = {}) {
    const { options, requests } = await startRealCli('2.1.330');
    const server = await serveRouter({ ...options, ...more });
    const call = <Result>(operation: string, args: object = {}): Call<Result> =>
      client.call(operation, { baseURL: server.baseURL, ...args });
    /** Every run of the server has ended and left nothing. */
    const expectRuns = async (count: number) => {
      expect(server.started).toHaveLength(count);
      for (const runId of server.started) await nothingLeft(runId, 1_000);
    };
    return { server, requests, call, expectRuns };
  }

  test('is the version that it should be', async () => {
    const found = await client.call<string>('version').result;
    expect(found.split('.')[0]).toBe(version);
  });

  test('a stream', async () => {
    const { call, expectRuns } = await start();
    const body = asking('hello', { stream_options: { include_usage: true } });
    const chunks = await call<ChatCompletionChunk[]>('stream', { body }).result;
    const choices = chunks.flatMap((chunk) => chunk.choices);
    expect(choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
    expect(choices.map(({ delta }) => delta.content ?? '').join('')).toBe(greeting);
    expect(choices.flatMap(({ finish_reason }) => finish_reason ?? [])).toEqual(['stop']);
    expect(new Set(chunks.map(({ id, model }) => `${id} ${model}`)).size).toBe(1);
    expect(chunks.flatMap(({ usage }) => usage ?? [])).toEqual([
      expect.objectContaining({ prompt_tokens: 1_000, completion_tokens: 20, total_tokens: 1_020 }),
    ]);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: {} });
    await expectRuns(1);
  });

  test('a stream put together by the client, with a tool on the way', async () => {
    const { call, expectRuns } = await start();
    const body = asking('bash');
    const completion = await call<ChatCompletion>('finalChatCompletion', { body }).result;
    expect(completion.choices).toHaveLength(1);
    expect(completion.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: {
        role: 'assistant',
        content: 'I will run a command.\n\nThe command printed: one\ntwo',
      },
    });
    expect(completion.choices[0]?.message.tool_calls).toBeUndefined();
    await expectRuns(1);
  });

  test('an answer that is not streamed', async () => {
    const { call, expectRuns } = await start();
    const { choices, usage } = await call<ChatCompletion>('create', { body: asking('hello') })
      .result;
    expect(choices).toEqual([
      {
        index: 0,
        finish_reason: 'stop',
        logprobs: null,
        message: { role: 'assistant', content: greeting, refusal: null },
      },
    ]);
    expect(usage).toMatchObject({ prompt_tokens: 1_000, completion_tokens: 20 });
    await expectRuns(1);
  });

  test('an error within a stream is thrown', async () => {
    const { call, expectRuns } = await start();
    await expect(call('stream', { body: asking('fail') }).result).rejects.toMatchObject({
      class: 'APIError',
      code: 'context_length_exceeded',
      type: 'invalid_request_error',
      message: expect.stringContaining('Prompt is too long'),
    });
    await expect(
      call('finalChatCompletion', { body: asking('midfail') }).result,
    ).rejects.toMatchObject({ code: 'context_length_exceeded' });
    await expectRuns(2);
  });

  test('an error of an answer that is not streamed has its status', async () => {
    const { call, expectRuns } = await start();
    await expect(call('create', { body: asking('fail') }).result).rejects.toMatchObject({
      class: 'BadRequestError',
      status: 400,
      code: 'context_length_exceeded',
    });
    await expectRuns(1);
  });

  test('an error that is the server’s is not tried again', async () => {
    const { call, expectRuns } = await start({ timeout: { total: 1_500 } });
    await expect(call('create', { body: asking('slow 60') }).result).rejects.toMatchObject({
      class: 'InternalServerError',
      status: 504,
      code: 'total_timeout',
    });
    await expectRuns(1);
  });

  test('an aborted stream takes its process and its tool with it', async () => {
    const { server, call } = await start();
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const body = asking(`bash: while true; do command sleep ${marker}; done`);
    const { result, begun, abort } = call('stream', { body });
    await begun;
    const runId = String(server.started[0]);
    await processWith(runId, marker);
    abort();
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
    // The client takes its own abort for an end.
    await result;
    expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'disconnected' });
    expect(server.started).toHaveLength(1);
  });

  test('an aborted request for an answer that is not streamed takes its process with it', async () => {
    const { server, call } = await start();
    const { result, abort } = call('create', { body: asking('slow 60') });
    const aborted = expect(result).rejects.toMatchObject({ class: 'APIUserAbortError' });
    const runId = await server.firstToSpeak();
    abort();
    await aborted;
    record('ms until nothing was left', await nothingLeft(runId, 3_000));
    expect(server.started).toHaveLength(1);
  });

  test('a timeout of 1 s and a silence of 5 s cost one spawn, since the headers come at once', async () => {
    const { call, expectRuns } = await start();
    const chunks = await call<ChatCompletionChunk[]>('stream', {
      body: asking('slow 5'),
      options: { timeout: 1_000 },
    }).result;
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
    expect(text).toBe('This answer took 5 seconds.');
    await expectRuns(1);
  });

  test('the models are listed, retrieved and used', async () => {
    const { call, requests, expectRuns } = await start();
    const started = performance.now();
    const models = await call<{ id: string }[]>('models').result;
    record('ms until the models were listed', performance.now() - started);
    expect(models.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['default', 'sonnet', 'haiku']),
    );
    expect(models[0]).toMatchObject({ object: 'model', owned_by: 'anthropic' });
    expect(await call('model', { id: 'sonnet' }).result).toMatchObject({ id: 'sonnet' });
    await expect(call('model', { id: 'gpt-4o' }).result).rejects.toMatchObject({
      class: 'NotFoundError',
      code: 'model_not_found',
    });
    await expectRuns(0);

    const body = asking('hello', { model: 'sonnet' });
    const { model } = await call<ChatCompletion>('create', { body }).result;
    expect(model).toBe('sonnet');
    expect(requests.at(-1)?.model).toContain('sonnet');
    await expect(
      call('stream', { body: asking('hello', { model: 'gpt-4o' }) }).result,
    ).rejects.toMatchObject({ class: 'NotFoundError', code: 'model_not_found', param: 'model' });
    await expectRuns(1);
  });

  test('only who has the key is let in', async () => {
    const { call, expectRuns } = await start({ apiKey: ['sk-one', 'sk-two'] });
    const refused = { class: 'AuthenticationError', status: 401, code: 'invalid_api_key' };
    for (const operation of ['models', 'create', 'stream']) {
      const args = { apiKey: 'sk-three', body: asking('hello') };
      await expect(call(operation, args).result).rejects.toMatchObject(refused);
    }
    await expectRuns(0);
    const args = { apiKey: 'sk-two', body: asking('hello') };
    expect(await call('create', args).result).toMatchObject({ object: 'chat.completion' });
    await expectRuns(1);
  });

  test('an answer that meets a schema is its content', async () => {
    const { call, expectRuns } = await start();
    const response_format = { type: 'json_schema', json_schema: { name: 'city', schema } };
    const answer = { city: 'Köln 🏙️', inhabitants: 1_087_353 };
    const body = asking(`structured: ${JSON.stringify(answer)}`, { response_format });
    const { choices } = await call<ChatCompletion>('create', { body }).result;
    expect(JSON.parse(String(choices[0]?.message.content))).toEqual(answer);
    const chunks = await call<ChatCompletionChunk[]>('stream', { body }).result;
    const contents = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '');
    expect(JSON.parse(contents.join(''))).toEqual(answer);
    const completion = await call<ChatCompletion>('finalChatCompletion', { body }).result;
    expect(JSON.parse(String(completion.choices[0]?.message.content))).toEqual(answer);
    await expectRuns(3);
  });

  test('an answer that does not meet it is an error', async () => {
    const { call, expectRuns } = await start();
    const response_format = { type: 'json_object' };
    const body = asking('unstructured', { response_format });
    await expect(call('create', { body }).result).rejects.toMatchObject({
      status: 502,
      code: 'schema_not_met',
    });
    await expect(call('stream', { body }).result).rejects.toMatchObject({ code: 'schema_not_met' });
    await expectRuns(2);
  });

  test('the effort reaches the model, minimal as the lowest that there is', async () => {
    const { call, requests, expectRuns } = await start();
    for (const [asked, used] of [
      ['minimal', 'low'],
      ['high', 'high'],
    ]) {
      const body = asking('hello', { reasoning_effort: asked });
      expect(await call('create', { body }).result).toMatchObject({ object: 'chat.completion' });
      expect(requests.at(-1)).toMatchObject({ output_config: { effort: used } });
    }
    await expectRuns(2);
  });

  test('what is not supported names its field', async () => {
    const { call, expectRuns } = await start();
    for (const operation of ['create', 'stream']) {
      await expect(
        call(operation, { body: asking('hello', { n: 2 }) }).result,
      ).rejects.toMatchObject({ class: 'BadRequestError', status: 400, param: 'n' });
    }
    await expectRuns(0);
  });
});
