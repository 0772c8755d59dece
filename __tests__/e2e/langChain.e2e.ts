import type { OpenAIRouterOptions } from 'claude-stream';
import { type Call, ClientHost, folders, type NodeVersion } from './clientHost';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { startRealCli } from './realCli';
import { serveRouter } from './serve';

interface Shown {
  readonly content: string;
  readonly toolCalls: number;
  readonly usage?: object;
  readonly chunks?: number;
}

const asking = (prompt: string) => ({ messages: [{ role: 'user', content: prompt }] });

describe.each<NodeVersion>(['22', '24'])('LangChain’s ChatOpenAI on Node %s', (node) => {
  let client: ClientHost;

  beforeAll(async () => {
    client = await ClientHost.start('langChain.mjs', folders.newest, node);
  });

  afterAll(() => client.stop());

  async function start(more: OpenAIRouterOptions = {}) {
    const { options } = await startRealCli('2.1.330');
    const server = await serveRouter({ ...options, ...more });
    const call = <Result>(operation: string, args: object = {}): Call<Result> =>
      client.call(operation, { baseURL: server.baseURL, ...args });
    return { server, call };
  }

  test.each(['invoke', 'stream'])(
    '%s: an answer for which Claude uses a tool',
    async (operation) => {
      const { server, call } = await start();
      const answer = await call<Shown>(operation, asking('bash')).result;
      expect(answer.content).toBe('I will run a command.\n\nThe command printed: one\ntwo');
      expect(answer.toolCalls).toBe(0);
      expect(answer.usage).toMatchObject({ input_tokens: 2_000, output_tokens: 40 });
      if (operation === 'stream') expect(answer.chunks).toBeGreaterThan(5);
      expect(server.started).toHaveLength(1);
      await nothingLeft(String(server.started[0]), 1_000);
    },
  );

  test('an answer that meets a schema', async () => {
    const { call } = await start();
    const answer = { city: 'Köln' };
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    };
    const prompt = asking(`structured: ${JSON.stringify(answer)}`);
    expect(await call('structured', { ...prompt, schema }).result).toEqual(answer);
  });

  test.each(['invoke', 'stream'])(
    '%s: a run that fails is thrown, and run once',
    async (operation) => {
      const { server, call } = await start();
      await expect(call(operation, asking('fail')).result).rejects.toMatchObject({
        message: expect.stringContaining('Prompt is too long'),
      });
      expect(server.started).toHaveLength(1);
    },
  );

  // It does not heed `x-should-retry` and tries six times more by default.
  test('a failure of the server is run once when it is told to try once', async () => {
    const { server, call } = await start({ timeout: { total: 1_500 } });
    const once = { ...asking('slow 60'), maxRetries: 0 };
    await expect(call('invoke', once).result).rejects.toMatchObject({ status: 504 });
    expect(server.started).toHaveLength(1);
  });

  test('an abort takes the process and its tool with it', async () => {
    const { server, call } = await start();
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const prompt = `bash: while true; do command sleep ${marker}; done`;
    const { result, begun, abort } = call('stream', asking(prompt));
    const ended = result.catch(() => undefined);
    await begun;
    const runId = await server.firstToSpeak();
    await processWith(runId, marker);
    abort();
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
    await ended;
    expect(server.started).toHaveLength(1);
  });
});
