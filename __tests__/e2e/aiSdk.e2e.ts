import type { OpenAIRouterOptions } from 'claude-stream';
import { type Call, ClientHost, folders, type NodeVersion, type Thrown } from './clientHost';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { startRealCli } from './realCli';
import { serveRouter } from './serve';

interface Streamed {
  readonly parts: readonly {
    readonly type: string;
    readonly text?: string;
    readonly finishReason?: string;
    readonly error?: Thrown;
  }[];
  readonly text: unknown;
  readonly reasoning: unknown;
  readonly finishReason: unknown;
  readonly reported: readonly Thrown[];
}

const asking = (prompt: string) => ({ messages: [{ role: 'user', content: prompt }] });

describe.each<NodeVersion>(['22', '24'])('the AI SDK on Node %s', (node) => {
  let client: ClientHost;

  beforeAll(async () => {
    client = await ClientHost.start('aiSdk.mjs', folders.newest, node);
  });

  afterAll(() => client.stop());

  async function start(more: OpenAIRouterOptions = {}) {
    const { options } = await startRealCli('2.1.330');
    const server = await serveRouter({ ...options, ...more });
    const call = <Result>(operation: string, args: object = {}): Call<Result> =>
      client.call(operation, { baseURL: server.baseURL, ...args });
    return { server, call };
  }

  /** Streams an answer that succeeds, as one run. */
  async function stream(prompt: string): Promise<Streamed> {
    const { server, call } = await start();
    const streamed = await call<Streamed>('streamText', asking(prompt)).result;
    expect(streamed.parts.filter(({ type }) => type === 'error')).toEqual([]);
    expect(streamed.reported).toEqual([]);
    expect(streamed.finishReason).toBe('stop');
    expect(streamed.parts.at(-1)).toMatchObject({ type: 'finish', finishReason: 'stop' });
    expect(streamed.parts.filter(({ type }) => type.startsWith('tool'))).toEqual([]);
    expect(server.started).toHaveLength(1);
    await nothingLeft(String(server.started[0]), 1_000);
    return streamed;
  }

  test('streams a text, with its usage', async () => {
    const { text, parts } = await stream('hello');
    expect(text).toBe('Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.');
    expect(parts.filter(({ type }) => type === 'text-delta').length).toBeGreaterThan(5);
    expect(parts.at(-1)).toMatchObject({ usage: { inputTokens: 1_000, outputTokens: 20 } });
  });

  test('streams thinking as reasoning', async () => {
    const { text, reasoning, parts } = await stream('think');
    expect(reasoning).toBe('The user wants me to think. I have thought.');
    expect(text).toBe('I have thought about it: the answer is 42.');
    const types = parts.map(({ type }) => type);
    expect(types.filter((type) => /^reasoning-(?:start|end)$/.test(type))).toEqual([
      'reasoning-start',
      'reasoning-end',
    ]);
    expect(types.lastIndexOf('reasoning-end')).toBeLessThan(types.indexOf('text-delta'));
  });

  test('streams an answer for which Claude uses a tool', async () => {
    const { text } = await stream('bash');
    expect(text).toBe('I will run a command.\n\nThe command printed: one\ntwo');
  });

  test('streams what an agent reports after the first result', async () => {
    const { text } = await stream('agent');
    expect(text).toContain('The agent has reported: there are two notes.');
  });

  test.each([
    { prompt: 'fail', text: '' },
    { prompt: 'midfail', text: 'This sentence will never be ' },
  ])('a run that fails, "$prompt", gives an error part and no clean end', async (run) => {
    const { server, call } = await start();
    const { parts, reported } = await call<Streamed>('streamText', asking(run.prompt)).result;
    const errors = parts.filter(({ type }) => type === 'error');
    expect(errors).toHaveLength(1);
    expect(JSON.stringify(errors)).toContain('Prompt is too long');
    expect(reported).toHaveLength(1);
    expect(parts.map(({ text = '' }) => text).join('')).toBe(run.text);
    expect(parts.filter(({ finishReason }) => finishReason === 'stop')).toEqual([]);
    expect(server.started).toHaveLength(1);
  });

  test('an error before the stream is thrown, and tried once', async () => {
    const { server, call } = await start({ apiKey: 'sk-one' });
    const { parts } = await call<Streamed>('streamText', asking('hello')).result;
    const [error] = parts.flatMap((part) => part.error ?? []);
    expect(error?.message).toMatch(/API key/);
    expect(server.started).toHaveLength(0);
    expect(server.errors).toHaveLength(1);
  });

  test('an abort takes the process and its tool with it', async () => {
    const { server, call } = await start();
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const prompt = `bash: while true; do command sleep ${marker}; done`;
    const { result, begun, abort } = call<Streamed>('streamText', asking(prompt));
    await begun;
    const runId = await server.firstToSpeak();
    await processWith(runId, marker);
    abort();
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
    expect((await result).parts.at(-1)).toMatchObject({ type: 'abort' });
    expect(server.started).toHaveLength(1);
  });

  test('an answer that is not streamed', async () => {
    const { call } = await start();
    expect(await call('generateText', asking('think')).result).toMatchObject({
      text: 'I have thought about it: the answer is 42.',
      reasoning: 'The user wants me to think. I have thought.',
      finishReason: 'stop',
      usage: { inputTokens: 1_000, outputTokens: 20 },
    });
  });

  test('a failure of the request is run once', async () => {
    const { server, call } = await start();
    await expect(call('generateText', asking('fail')).result).rejects.toMatchObject({
      message: expect.stringContaining('Prompt is too long'),
    });
    expect(server.started).toHaveLength(1);
  });

  // It does not heed `x-should-retry` and tries twice more by default.
  test('a failure of the server is run once when it is told to try once', async () => {
    const { server, call } = await start({ timeout: { total: 1_500 } });
    const once = { ...asking('slow 60'), maxRetries: 0 };
    await expect(call('generateText', once).result).rejects.toMatchObject({
      message: expect.stringContaining('too long'),
    });
    expect(server.started).toHaveLength(1);
  });

  test('an object that meets a schema', async () => {
    const { call } = await start();
    const answer = { city: 'Köln', inhabitants: 1_087_353 };
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' }, inhabitants: { type: 'integer' } },
      required: ['city', 'inhabitants'],
      additionalProperties: false,
    };
    const prompt = asking(`structured: ${JSON.stringify(answer)}`);
    expect(await call('object', { ...prompt, schema }).result).toEqual(answer);
  });
});
