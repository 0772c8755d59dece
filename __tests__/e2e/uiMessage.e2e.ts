import { type ClaudeStreamOptions, memoryStore } from 'claude-stream';
import { type Call, ClientHost, folders, type NodeVersion, type Thrown } from './clientHost';
import { nothingLeft } from './processes';
import { startRealCli } from './realCli';
import { serve } from './serve';

interface Shown {
  readonly status: string;
  readonly messages: readonly {
    readonly id: string;
    readonly role: string;
    readonly metadata?: { readonly runId: string; readonly usage?: object };
    readonly parts: readonly Part[];
  }[];
  readonly error?: Thrown;
  readonly errors: readonly Thrown[];
  readonly datas: readonly { readonly data: { readonly description: string } }[];
  readonly finished: number;
  /** The tools that the client was asked to run. */
  readonly calls: readonly unknown[];
}

interface Part {
  readonly type: string;
  readonly text?: string;
  readonly state?: string;
  readonly toolName?: string;
  readonly input?: object;
  readonly output?: unknown;
}

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

const versions: { version: string; folder: string; node: NodeVersion }[] = [
  { version: '5', folder: folders.ai5, node: '20' },
  { version: '6', folder: folders.ai6, node: '22' },
  { version: '7', folder: folders.newest, node: '24' },
];

describe.each(versions)("useChat's chat, ai $version on Node $node", ({ folder, node }) => {
  let client: ClientHost;

  beforeAll(async () => {
    client = await ClientHost.start('uiMessage.mjs', folder, node);
  });

  afterAll(() => client.stop());

  async function start(more: ClaudeStreamOptions = {}) {
    const { options } = await startRealCli('2.1.330');
    const server = await serve({ ...options, format: 'ui-message', ...more });
    const call = (operation: string, args: object): Call<Shown> =>
      client.call(operation, { api: server.url, id: 'chat/1', ...args });
    return { server, call };
  }

  const answerOf = ({ messages }: Shown) => messages.findLast(({ role }) => role === 'assistant');
  /** Without the marks between steps. */
  const partsOf = (shown: Shown) =>
    (answerOf(shown)?.parts ?? []).filter(({ type }) => type !== 'step-start');
  const textOf = (shown: Shown) =>
    partsOf(shown)
      .map(({ type, text }) => (type === 'text' ? text : ''))
      .join('');

  test('reads an answer', async () => {
    const { server, call } = await start();
    const shown = await call('send', { texts: ['hello'] }).result;
    expect(shown).toMatchObject({ status: 'ready', errors: [], finished: 1, calls: [] });
    expect(partsOf(shown)).toMatchObject([{ type: 'text', text: greeting, state: 'done' }]);
    const [runId = ''] = server.started;
    expect(answerOf(shown)).toMatchObject({
      id: runId,
      role: 'assistant',
      metadata: { runId, stopReason: 'end_turn', usage: { outputTokens: 20 } },
    });
    await nothingLeft(runId, 1_000);
  });

  test('reads thinking as reasoning', async () => {
    const { call } = await start();
    expect(partsOf(await call('send', { texts: ['think'] }).result)).toMatchObject([
      { type: 'reasoning', text: 'The user wants me to think. I have thought.', state: 'done' },
      { type: 'text', text: 'I have thought about it: the answer is 42.', state: 'done' },
    ]);
  });

  test('reads a tool with its input and its output, and is not asked to run it', async () => {
    const { call } = await start();
    const shown = await call('send', { texts: ['bash'] }).result;
    expect(partsOf(shown)).toMatchObject([
      { type: 'text', text: 'I will run a command.' },
      {
        type: 'dynamic-tool',
        toolName: 'Bash',
        state: 'output-available',
        input: { command: expect.any(String) },
        output: 'one\ntwo',
      },
      { type: 'text', text: 'The command printed: one\ntwo' },
    ]);
    expect(answerOf(shown)?.parts.filter(({ type }) => type === 'step-start')).toHaveLength(2);
    expect(shown.calls).toEqual([]);
  });

  test('asks again in the same chat', async () => {
    const { server, call } = await start();
    const shown = await call('send', { texts: ['hello', 'think'] }).result;
    expect(shown.messages.map(({ role }) => role)).toEqual([
      'user',
      'assistant',
      'user',
      'assistant',
    ]);
    expect(textOf(shown)).toBe('I have thought about it: the answer is 42.');
    expect(server.started).toHaveLength(2);
  });

  test.each([
    { prompt: 'fail', text: '' },
    { prompt: 'midfail', text: 'This sentence will never be ' },
  ])('has an error when the run fails: $prompt', async ({ prompt, text }) => {
    const { server, call } = await start();
    const shown = await call('send', { texts: [prompt] }).result;
    expect(shown.status).toBe('error');
    expect(shown.errors).toMatchObject([
      { message: expect.stringContaining('Prompt is too long') },
    ]);
    expect(textOf(shown)).toBe(text);
    expect(server.started).toHaveLength(1);
  });

  test('has an error when the request is refused', async () => {
    const { server, call } = await start({ maxPromptBytes: 10 });
    const { status, errors } = await call('send', { texts: ['hello, hello, hello'] }).result;
    expect(status).toBe('error');
    expect(JSON.parse(String(errors[0]?.message))).toMatchObject({
      error: { code: 'prompt_too_large' },
    });
    expect(server.started).toEqual([]);
  });

  test('that is stopped takes the run with it', async () => {
    const { server, call } = await start();
    const shown = await call('stop', { text: 'tick 100 100' }).result;
    expect(shown).toMatchObject({ status: 'ready', errors: [] });
    expect(textOf(shown)).toMatch(/^tick 1 /);
    await nothingLeft(String(server.started[0]), 3_000);
  });

  test('resumes an answer in another page', async () => {
    const { server, call } = await start({ store: memoryStore() });
    const shown = await call('comeBack', { text: 'tick 8 200' }).result;
    expect(shown).toMatchObject({ status: 'ready', errors: [], finished: 1 });
    expect(textOf(shown)).toBe('tick 1 tick 2 tick 3 tick 4 tick 5 tick 6 tick 7 tick 8 ');
    expect(shown.messages).toHaveLength(2);
    expect(server.started).toHaveLength(1);
  });

  test('resumes nothing when nothing is going on', async () => {
    const { server, call } = await start({ store: memoryStore() });
    await call('send', { texts: ['hello'] }).result;
    const shown = await call('resume', { messages: [] }).result;
    expect(shown).toMatchObject({ status: 'ready', messages: [], errors: [] });
    expect(server.started).toHaveLength(1);
  });
});
