import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OpenAIRouterOptions, ToolDisplay } from 'claude-stream';
import { hugeText } from '../../examples/scriptedModel.js';
import { post, runIdOf } from './client';
import { record } from './figures';
import { OpenWebUIChat, type Status } from './openWebUI';
import { nothingLeft, processWith } from './processes';
import { type ModelRequest, startRealCli, versions } from './realCli';
import { serveRouter } from './serve';
import { toldTo } from './told';

const KiB = 1_024;

/** A status as it begins and as it ends. */
const beginsAndEnds = (description: string): Status[] => [
  { description, done: false },
  { description, done: true },
];

/** Nothing spins for ever: whatever was shown as under way was shown as done. */
function expectAllDone(statuses: readonly Status[]): void {
  const last = new Map(statuses.map(({ description, done }) => [description, done]));
  expect(last.size).toBeGreaterThan(0);
  expect([...last.values()].every((done) => done)).toBe(true);
}

describe.each(versions)('Open WebUI before %s', (version) => {
  async function start(more: OpenAIRouterOptions = {}) {
    const cli = await startRealCli(version);
    const { env } = cli.options;
    const server = await serveRouter({ ...cli.options, ...more, env: { ...env, ...more.env } });
    const chat = new OpenWebUIChat(server.baseURL, {
      fields: { stream_options: { include_usage: true } },
    });
    return { ...cli, server, chat };
  }

  /** One question; when it returns, nothing of the run is alive. */
  async function ask(prompt: string, more: OpenAIRouterOptions = {}) {
    const started = await start(more);
    const shown = await started.chat.say(prompt);
    await nothingLeft(shown.runId, 1_000);
    return { ...started, shown };
  }

  test('a text, with its usage once', async () => {
    const { shown } = await ask('hello');
    expect(shown).toMatchObject({
      content: 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.',
      reasoning: '',
      statuses: [],
      error: undefined,
      finish: ['stop'],
      usage: { prompt_tokens: 1_000, completion_tokens: 20, total_tokens: 1_020 },
    });
  });

  test('thinking', async () => {
    const { shown } = await ask('think');
    expect(shown).toMatchObject({
      content: 'I have thought about it: the answer is 42.',
      reasoning: 'The user wants me to think. I have thought.',
      finish: ['stop'],
    });
  });

  test('a literal reasoning tag does not hide the rest', async () => {
    const { shown } = await ask("bash: printf '<think>a</think> <reasoning>b'");
    expect(shown.content.replaceAll('\u200b', '')).toContain('<think>a</think> <reasoning>b');
  });

  const read = 'Read notes.md';
  const shownTools: [ToolDisplay, { content: RegExp; statuses: Status[] }][] = [
    [
      'status',
      {
        content: /^Let me read the notes\.\n\nThe file notes\.md says: .*Buy milk\./s,
        statuses: beginsAndEnds(read),
      },
    ],
    [
      'text',
      {
        content:
          /^\[Starting Claude Code\.\.\.\]\n\nLet me read the notes\.\n\n\[Read\] notes\.md\u2060\n\nThe file notes\.md says: .*Buy milk\./s,
        statuses: [],
      },
    ],
    [
      'details',
      {
        content:
          /^Let me read the notes\.\n\n<details type="tool_calls" done="true" id="[^"]+" name="Read notes\.md" arguments="[^"]+" result="[^"]*Buy milk\.[^"]*">\n<summary>.*<\/summary>\n<\/details>\n\nThe file notes\.md says: .*Buy milk\./s,
        statuses: beginsAndEnds(read),
      },
    ],
    [
      'none',
      {
        content: /^Let me read the notes\.\n\nThe file notes\.md says: .*Buy milk\./s,
        statuses: [],
      },
    ],
  ];

  test.each(shownTools)(
    'a tool, shown as %s, and never sent back to Claude',
    async (display, expected) => {
      const { shown, chat, server, requests } = await ask('tool', { toolDisplay: display });
      expect(shown.content).toMatch(expected.content);
      expect(shown.statuses).toEqual(expected.statuses);
      expect(shown.usage).toMatchObject({ prompt_tokens: 2_000, completion_tokens: 40 });

      const next = await chat.say('hello');
      const [first, second] = await Promise.all(
        [shown, next].map(({ runId }) => server.outcomeOf(runId)),
      );
      expect(second?.sessionId).toBe(first?.sessionId);
      expect(JSON.stringify(requests)).not.toMatch(/<details|\[Starting Claude|\[Read\]/);
    },
  );

  test('a history with tools on show that no session knows is told without them', async () => {
    const { chat, requests } = await start({ toolDisplay: 'details', sessions: 'off' });
    await chat.say('tool');
    await chat.say('hello');
    expect(toldTo(requests.at(-1))).toEqual([
      expect.stringMatching(
        /^user: The conversation so far:\n\n\[user\]\ntool\n\n\[assistant\]\nLet me read the notes\.\s+The file notes\.md says: .*hello$/s,
      ),
    ]);
    expect(JSON.stringify(requests)).not.toContain('<details');
  });

  test('a command that runs, a subagent and what it does', async () => {
    const { shown } = await ask('agent');
    expect(shown.content).toContain('The agent has reported');
    expect(shown.statuses).toContainEqual({ description: 'Agent: Look at notes', done: true });
    expectAllDone(shown.statuses);
  });

  test('an error that is permanent', async () => {
    const { shown } = await ask('fail');
    expect(shown).toMatchObject({
      content: '',
      finish: [],
      error: { type: 'invalid_request_error', code: 'context_length_exceeded' },
    });
    expect(shown.error?.message).toMatch(/^Prompt is too long/);
  });

  test('a model that is overloaded twice: the retries show and are done', async () => {
    const { shown } = await ask('overloaded');
    expect(shown).toMatchObject({
      content: 'The model was overloaded twice and then had time.',
      error: undefined,
      finish: ['stop'],
    });
    expect(shown.statuses[0]).toEqual({
      description: expect.stringMatching(/^Retry 1 of \d+ in \d+ s: /),
      done: false,
    });
    expect(shown.statuses.at(-1)?.done).toBe(true);
  });

  test('an API that dies in mid-sentence and then refuses', async () => {
    const { shown } = await ask('midfail');
    expect(shown).toMatchObject({
      content: 'This sentence will never be ',
      finish: [],
      error: { code: 'context_length_exceeded' },
    });
    expect(shown.statuses.at(-1)?.done).not.toBe(false);
  });

  test('a refusal', async () => {
    const { shown } = await ask('refuse');
    expect(shown).toMatchObject({ finish: [], error: { code: 'content_filter' } });
  });

  test('an answer cut at the output limit', async () => {
    const { shown } = await ask('maxtokens');
    expect(shown.content).toBe('This answer is cut'.repeat(4));
    expect(shown).toMatchObject({ finish: [], error: { code: 'max_output_tokens' } });
  });

  test('too many turns: the tool that was under way is shown as done', async () => {
    const { shown } = await ask('tool', { maxTurns: 1 });
    expect(shown).toMatchObject({
      content: 'Let me read the notes.',
      statuses: beginsAndEnds(read),
      finish: [],
      error: { code: 'max_turns' },
    });
  });

  test('a run that takes too long: the tool that was under way is shown as done', async () => {
    const { shown } = await ask('bash: command sleep 1.5; command sleep 60', {
      timeout: { total: 3_000 },
    });
    expect(shown).toMatchObject({ finish: [], error: { code: 'total_timeout' } });
    expect(shown.statuses).toContainEqual(
      expect.objectContaining({
        description: expect.stringMatching(/^Bash: command/),
        done: false,
      }),
    );
    expect(shown.statuses.at(-1)).toEqual({
      description: expect.stringMatching(/^Bash: command/),
      done: true,
    });
  });

  test('a CLI that is killed within a tool: the tool is shown as done, and none is left', async () => {
    const { chat } = await start();
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const response = await chat.ask(`bash: while true; do command sleep ${marker}; done`);
    const runId = runIdOf(response);
    const answered = chat.keep(response);
    await processWith(runId, marker);
    const { pid } = await processWith(runId, '--input-format=stream-json');
    process.kill(pid, 'SIGKILL');
    const { statuses, finish, error } = await answered;
    expect({ finish, code: error?.code }).toEqual({ finish: [], code: 'crashed' });
    expect(statuses).toEqual(beginsAndEnds(expect.stringMatching(/^Bash: while true/)));
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
  });

  test('an error before the first byte is JSON, which it shows', async () => {
    const { server } = await start({ apiKey: 'sk-one' });
    const response = await post(`${server.baseURL}/chat/completions`, { messages: [] });
    expect(response.statusCode).toBe(401);
    expect(response.headers['content-type']).toMatch(/^application\/json/);
    response.resume();
  });

  test('300 KB in one delta: short lines, and every character', async () => {
    const { shown } = await ask('huge 300000');
    expect(shown.content === hugeText(300_000)).toBe(true);
    record('bytes of the longest line', shown.longestLine);
    expect(shown.longestLine).toBeLessThan(64 * KiB);
  });

  test.each<ToolDisplay>(['details', 'status', 'text'])(
    '300 KB as the result of a tool, shown as %s: short lines, and every character',
    async (toolDisplay) => {
      const { cwd, chat, requests } = await start({
        toolDisplay,
        env: { CLAUDE_CODE_FILE_READ_MAX_OUTPUT_TOKENS: '10000000' },
      });
      await writeFile(join(cwd, 'huge.txt'), hugeText(300_000));
      const shown = await chat.say('read: huge.txt');
      record('bytes of the longest line', shown.longestLine);
      expect(shown.longestLine).toBeLessThan(64 * KiB);
      expect(shown.finish).toEqual(['stop']);
      if (toolDisplay !== 'details') return;
      const [, attribute = ''] = /^<details .* result="([^"]*)">$/m.exec(shown.content) ?? [];
      const result = JSON.parse(unescaped(attribute)) as string;
      expect(`tool_result: ${result}` === toldTo(requests.at(-1)).at(-1)).toBe(true);
      expect(withoutLineNumbers(result) === hugeText(300_000)).toBe(true);
    },
  );

  const history = 'USER: tool\nASSISTANT: The file notes.md says: Buy milk.';
  const tasks = [
    [
      'a title',
      {},
      `### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Chat History:\n<chat_history>\n${history}\n</chat_history>`,
    ],
    [
      'tags',
      {},
      `### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history.\n### Chat History:\n<chat_history>\n${history}\n</chat_history>`,
    ],
    [
      'follow-ups',
      {},
      `### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next.\n### Chat History:\n<chat_history>\n${history}\n</chat_history>`,
    ],
    [
      'a prompt of the administrator’s own, named by the header',
      { 'x-openwebui-task': 'title_generation' },
      `A title for: ${history}`,
    ],
  ] as const;

  test.each(tasks)('%s: the small model, no tools, no session', async (_task, headers, content) => {
    const { chat, server, requests, sessionFiles } = await start();
    await chat.say('tool');
    const before = requests.length;
    const sessions = [...(await sessionFiles()).keys()];
    expect(sessions).toHaveLength(1);

    const response = await post(
      `${server.baseURL}/chat/completions`,
      { model: 'default', stream: false, messages: [{ role: 'user', content }] },
      headers,
    );
    const body = JSON.parse(await textOf(response));
    expect(body.choices[0].message.content).toBe('A scripted answer');
    expect(response.statusCode).toBe(200);

    const asked = requests.slice(before);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.model).toContain('haiku');
    expect(asked[0]?.tools ?? []).toEqual([]);
    expect([...(await sessionFiles()).keys()]).toEqual(sessions);
    record('bytes of the system prompt', JSON.stringify(asked[0]?.system ?? '').length);

    // The conversation itself goes on as if nothing had been asked.
    const { runId } = await chat.say('hello');
    expect(await server.outcomeOf(runId)).toMatchObject({ sessionId: sessions[0] });
  });

  test('a task uses the model that the application names for it', async () => {
    const { server, requests } = await start({ taskModel: 'sonnet' });
    // The scripted model looks for its keywords in what is no side call of a small model.
    const content = tasks[0][2].replaceAll('tool', 'hello');
    const response = await post(`${server.baseURL}/chat/completions`, {
      model: 'default',
      messages: [{ role: 'user', content }],
    });
    await textOf(response);
    expect(requests.map(({ model }) => model)).toEqual([expect.stringContaining('sonnet')]);
  });

  test('a question about documents is no task', async () => {
    const { chat, requests, sessionFiles } = await start();
    const { content } = await chat.say(
      '### Task:\nRespond to the user query using the provided context, incorporating inline citations.\n' +
        '<context>\n<source id="1">A list.</source>\n</context>\n\ntool',
    );
    // The document stands where the scripted model looks for its keyword, too.
    expect(content).toContain('Buy milk.');
    expect((requests.at(-1) as ModelRequest).tools?.length).toBeGreaterThan(0);
    expect((await sessionFiles()).size).toBe(1);
  });
});

async function textOf(response: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

const ENTITIES: Record<string, string> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&#x27;': "'",
};

function unescaped(attribute: string): string {
  return attribute.replace(/&(?:amp|lt|gt|quot|#x27);/g, (entity) => ENTITIES[entity] ?? '');
}

/** The CLI numbers the lines of what it reads. */
function withoutLineNumbers(text: string): string {
  return text
    .split('\n')
    .map((line) => line.replace(/^ *\d+[\t→]/, ''))
    .join('\n');
}
