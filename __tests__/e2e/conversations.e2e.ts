import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenAIRouterOptions, Store } from 'claude-stream';
import { afterTest } from './afterTest';
import { runIdOf } from './client';
import { record } from './figures';
import { type Answered, OpenWebUIChat, readAsOpenWebUI } from './openWebUI';
import { nothingLeft, processWith } from './processes';
import { startRealCli, versions } from './realCli';
import { type RouterServer, serveRouter } from './serve';
import { questions, toldTo } from './told';

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

// What the model is told of the turns that the tests begin with.
const hello = ['user: hello', `assistant: ${greeting}`];
const tool = [
  'user: tool',
  'assistant: Let me read the notes.',
  expect.stringMatching(/^tool_use: Read .*notes\.md/),
  expect.stringMatching(/^tool_result: .*Buy milk\./s),
  expect.stringMatching(/^assistant: The file notes\.md says: .*Buy milk\./s),
];
const think = ['user: think', 'thinking', 'assistant: I have thought about it: the answer is 42.'];

describe.each(versions)('a conversation with %s', (version) => {
  async function start(
    more: OpenAIRouterOptions = {},
    chatOptions: ConstructorParameters<typeof OpenWebUIChat>[1] = {},
  ) {
    const cli = await startRealCli(version);
    const server = await serveRouter({ ...cli.options, ...more });
    const chat = new OpenWebUIChat(server.baseURL, chatOptions);
    /** What the model was told when it was asked last. */
    const told = () => toldTo(questions(cli.requests).at(-1));
    return { ...cli, server, chat, told };
  }

  /** The session of an answer, once nothing of its run is alive. */
  async function sessionOf(server: RouterServer, { runId }: Answered): Promise<string> {
    const { sessionId } = await server.outcomeOf(runId);
    await nothingLeft(runId, 1_000);
    return String(sessionId);
  }

  /** Says one thing after the other; settles with the session of each. */
  async function say(server: RouterServer, chat: OpenWebUIChat, prompts: readonly string[]) {
    const sessions: string[] = [];
    for (const prompt of prompts) sessions.push(await sessionOf(server, await chat.say(prompt)));
    return sessions;
  }

  test('five turns are five spawns and one session, and each brings only its message', async () => {
    const { server, chat, told, requests, sessionFiles } = await start();
    const prompts = ['hello', 'tool', 'think', 'bash', 'tick 3 10'];
    const sessions = await say(server, chat, prompts);
    expect(server.started).toHaveLength(5);
    expect(new Set(sessions).size).toBe(1);
    expect([...(await sessionFiles()).keys()]).toEqual([sessions[0]]);
    expect(chat.messages).toHaveLength(10);
    expect(chat.messages.at(-1)?.content).toBe('tick 1 tick 2 tick 3 ');

    expect(JSON.stringify(requests)).not.toContain('The conversation so far');
    const user = told().filter((block) => block.startsWith('user: '));
    expect(user).toEqual(prompts.map((prompt) => `user: ${prompt}`));
    // Tools and thinking, which no client sends back.
    expect(told().slice(0, 7)).toEqual([...hello, ...tool]);
    expect(told().at(-1)).toBe('user: tick 3 10');
  });

  test('a question that is edited forks the session before it', async () => {
    const { server, chat, told } = await start();
    const sessions = await say(server, chat, ['hello', 'tool', 'think', 'bash']);
    const original = chat.copy();

    const edited = await sessionOf(server, await chat.edit(3, 'edited'));
    expect(edited).not.toBe(sessions[0]);
    expect(told()).toEqual([...hello, ...tool, 'user: edited']);
    expect(server.started).toHaveLength(5);

    // Both go on, each where it was.
    expect(await say(server, chat, ['after the edit'])).toEqual([edited]);
    expect(told()).toEqual([
      ...hello,
      ...tool,
      'user: edited',
      `assistant: ${greeting}`,
      'user: after the edit',
    ]);
    expect(await say(server, original, ['without it'])).toEqual([sessions[0]]);
    expect(told()).toContain('user: bash');
    expect(told()).not.toContain('user: edited');
  });

  test('an answer that is regenerated does not know the one before', async () => {
    const { server, chat, told } = await start();
    const [first] = await say(server, chat, ['hello', 'tool']);
    const again = await sessionOf(server, await chat.regenerate());
    expect(again).not.toBe(first);
    expect(told().filter((block) => block === 'user: tool')).toHaveLength(1);
    expect(told().slice(0, 3)).toEqual([...hello, 'user: tool']);
    expect(await say(server, chat, ['hello'])).toEqual([again]);
    expect(told()).toEqual([...hello, ...tool, 'user: hello']);
  });

  test('the first answer is regenerated', async () => {
    const { server, chat, told } = await start();
    const [first] = await say(server, chat, ['hello']);
    const again = await sessionOf(server, await chat.regenerate());
    expect(again).not.toBe(first);
    expect(told()).toEqual(['user: hello']);
  });

  test('a server that was restarted goes on, with a store that persists', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'claude-stream-store-'));
    afterTest(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, 'store.json');
    const { server, chat, options, told } = await start({ store: fileStore(file) });
    const [session] = await say(server, chat, ['hello', 'tool']);
    await server.router.close();

    const second = await serveRouter({ ...options, store: fileStore(file) });
    const moved = new OpenWebUIChat(second.baseURL);
    moved.messages = chat.messages;
    expect(await say(second, moved, ['bash'])).toEqual([session]);
    expect(told().slice(0, 8)).toEqual([...hello, ...tool, 'user: bash']);
    // An edit of what was said before the restart.
    const edited = await sessionOf(second, await moved.edit(2, 'edited'));
    expect(edited).not.toBe(session);
    expect(told()).toEqual([...hello, 'user: edited']);
    expect(second.started).toHaveLength(2);
  });

  test('a server that was restarted is told the history, without one', async () => {
    const { server, chat, options, told } = await start();
    const [session] = await say(server, chat, ['hello', 'tool']);
    await server.router.close();

    const second = await serveRouter(options);
    const moved = new OpenWebUIChat(second.baseURL);
    moved.messages = chat.messages;
    const [begun, continued] = await say(second, moved, ['think', 'hello']);
    expect(begun).not.toBe(session);
    expect(continued).toBe(begun);
    const [history, ...rest] = told();
    expect(history).toMatch(
      /^user: The conversation so far:.*\[user\]\nhello.*Buy milk\..*think$/s,
    );
    expect(rest).toEqual([...think.slice(1), 'user: hello']);
  });

  test('a session that is lost costs nothing but its tool results', async () => {
    const { server, chat, told, sessionFiles } = await start();
    const [session] = await say(server, chat, ['hello', 'tool']);
    for (const file of (await sessionFiles()).values()) await rm(file);

    const answered = await chat.say('think');
    expect(answered).toMatchObject({
      content: 'I have thought about it: the answer is 42.',
      finish: ['stop'],
      error: undefined,
      statuses: [],
    });
    expect(await sessionOf(server, answered)).not.toBe(session);
    expect(told()).toEqual([
      expect.stringMatching(/^user: The conversation so far:.*Buy milk\..*think$/s),
    ]);
    // The process that cannot find its session and the one in its place are one run.
    expect(new Set(server.started).size).toBe(3);
    expect(server.errors).toEqual([]);
    // From here on it is remembered again.
    const next = await chat.say('hello');
    expect(await sessionOf(server, next)).toBe(await sessionOf(server, answered));
  });

  test('a session that has lost the point to fork from costs no more', async () => {
    const { server, chat, told, sessionFiles } = await start();
    await say(server, chat, ['hello', 'tool', 'think']);
    const [file = ''] = (await sessionFiles()).values();
    // What is left knows of the first turn only.
    const lines = (await readFile(file, 'utf8')).split('\n');
    const second = lines.findIndex((line) => /"role":"user","content":(\[.*)?"tool"/.test(line));
    expect(second).toBeGreaterThan(0);
    await writeFile(file, `${lines.slice(0, second).join('\n')}\n`);

    const answered = await chat.edit(3, 'edited');
    expect(answered).toMatchObject({ content: greeting, finish: ['stop'], error: undefined });
    await sessionOf(server, answered);
    expect(told()).toEqual([
      expect.stringMatching(/^user: The conversation so far:.*Buy milk\..*edited$/s),
    ]);
    expect(server.errors).toEqual([]);
  });

  test('Stop within a text: nothing is left, and what was said is known', async () => {
    const { server, chat, told } = await start();
    const [session] = await say(server, chat, ['hello']);
    const response = await chat.ask('tick 100 100');
    const runId = runIdOf(response);
    let shown = '';
    await expect(
      readAsOpenWebUI(response, (content) => {
        shown = content;
        if (content.includes('tick 5 ')) response.destroy();
      }),
    ).rejects.toThrow(/aborted|Premature close/);
    const stopped = performance.now();
    await nothingLeft(runId, 3_000);
    record('ms until nothing was left', performance.now() - stopped);
    expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'disconnected' });

    chat.messages.push({ role: 'assistant', content: shown });
    expect(await say(server, chat, ['think'])).toEqual([session]);
    expect(told().slice(0, 3)).toEqual([...hello, 'user: tick 100 100']);
    expect(told().join('\n')).toContain('assistant: tick 1 tick 2 tick 3 tick 4 ');
    expect(told().at(-1)).toBe('user: think');
    expect(await say(server, chat, ['hello'])).toEqual([session]);
  });

  test('Stop within a tool: nothing is left, and what was done is known', async () => {
    const { server, chat, told } = await start();
    const [session] = await say(server, chat, ['hello']);
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const prompt = `bash: while true; do command sleep ${marker}; done`;
    const response = await chat.ask(prompt);
    const runId = runIdOf(response);
    let shown = '';
    const reading = readAsOpenWebUI(response, (content) => {
      shown = content;
    }).catch(() => undefined);
    await processWith(runId, marker);
    response.destroy();
    await reading;
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));

    expect(shown).toBe('I will run a command.');
    chat.messages.push({ role: 'assistant', content: shown });
    expect(await say(server, chat, ['think'])).toEqual([session]);
    expect(told().slice(0, 5)).toEqual([
      ...hello,
      `user: ${prompt}`,
      'assistant: I will run a command.',
      expect.stringMatching(/^tool_use: Bash .*command sleep/),
    ]);
    expect(told().at(-1)).toBe('user: think');
  });

  test('Stop before a word was said: the question is asked again', async () => {
    const { server, chat, told } = await start();
    const [session] = await say(server, chat, ['hello']);
    const response = await chat.ask('tick 3 100');
    const runId = runIdOf(response);
    response.destroy();
    await nothingLeft(runId, 3_000);
    // Open WebUI keeps an empty answer.
    chat.messages.push({ role: 'assistant', content: '' });
    const answered = await chat.say('think');
    expect(answered).toMatchObject({ finish: ['stop'], error: undefined });
    await sessionOf(server, answered);
    expect(told().slice(0, 2)).toEqual(hello);
    expect(told().at(-1)).toMatch(/think$/);
    expect(session).toBeDefined();
  });

  test('two requests on one conversation at once: both are answered, and both go on', async () => {
    const { server, chat, told } = await start();
    const [session] = await say(server, chat, ['hello']);
    const other = chat.copy();
    const [one, two] = await Promise.all([chat.say('tool'), other.say('think')]);
    expect([one.finish, two.finish]).toEqual([['stop'], ['stop']]);
    const [first, second] = await Promise.all([sessionOf(server, one), sessionOf(server, two)]);
    expect(first).not.toBe(second);
    // One of them went on in the session itself, the other in a copy.
    expect([first, second]).toContain(session);

    expect(await say(server, chat, ['hello'])).toEqual([first]);
    expect(told()).toEqual([...hello, ...tool, 'user: hello']);
    expect(await say(server, other, ['hello'])).toEqual([second]);
    expect(told()).toEqual([...hello, ...think, 'user: hello']);
  });

  test('the same question twice at once', async () => {
    const { server, chat, told } = await start();
    await say(server, chat, ['hello']);
    const other = chat.copy();
    const answers = await Promise.all([chat.say('tick 3 100'), other.say('tick 3 100')]);
    for (const { content } of answers) expect(content).toBe('tick 1 tick 2 tick 3 ');
    await Promise.all(answers.map((answer) => sessionOf(server, answer)));
    await say(server, chat, ['think']);
    expect(told()).toEqual([
      ...hello,
      'user: tick 3 100',
      'assistant: tick 1 tick 2 tick 3',
      'user: think',
    ]);
  });

  test('a system message holds for its turn, and for no other', async () => {
    const { server, chat, requests } = await start();
    const systemOf = (prompt: string) => JSON.stringify(requests.at(-1)?.system).includes(prompt);
    const changed: boolean[][] = [];
    const sessions: string[] = [];
    for (const system of ['Speak like a pirate.', 'Speak like a judge.', undefined]) {
      const said = chat.messages.filter(({ role }) => role !== 'system');
      chat.messages = system === undefined ? said : [{ role: 'system', content: system }, ...said];
      sessions.push(...(await say(server, chat, ['hello'])));
      changed.push(['pirate', 'judge'].map(systemOf));
    }
    expect(changed).toEqual([
      [true, false],
      [false, true],
      [false, false],
    ]);
    expect(new Set(sessions).size).toBe(1);
  });

  test('the header X-OpenWebUI-Chat-Id: a question that had documents before it is recognised', async () => {
    const headers = { 'x-openwebui-chat-id': 'b3c1' };
    const { server, chat, told } = await start({}, { headers });
    const template =
      '### Task:\nRespond to the user query using the provided context.\n' +
      '<context>\n<source id="1">A list.</source>\n</context>\n\n';
    const [session] = await say(server, chat, [`${template}hello`]);
    expect(told()[0]).toContain('A list.');
    // The history has the question as it was asked.
    chat.messages = [{ role: 'user', content: 'hello' }, ...chat.messages.slice(1)];
    expect(await say(server, chat, ['think', 'tool'])).toEqual([session, session]);
    expect(told()[0]).toContain('A list.');
  });

  test('without the header a history that has changed is told', async () => {
    const { server, chat, told } = await start();
    const [session] = await say(server, chat, ['Documents of my own kind.\n\nhello']);
    chat.messages = [{ role: 'user', content: 'hello' }, ...chat.messages.slice(1)];
    expect(await say(server, chat, ['think'])).not.toEqual([session]);
    expect(told()).toEqual([expect.stringMatching(/^user: The conversation so far:.*think$/s)]);
  });

  test.each([
    ['the header of Open WebUI', (user: string) => ({ headers: { 'x-openwebui-user-id': user } })],
    ['the field "user"', (user: string) => ({ fields: { user } })],
  ])('two users with one history have a session each: %s', async (_where, as) => {
    const { server, told } = await start();
    const [anna, ben, carla] = ['anna', 'ben', 'carla'].map(
      (user) => new OpenWebUIChat(server.baseURL, as(user)),
    ) as [OpenWebUIChat, OpenWebUIChat, OpenWebUIChat];
    const [first] = await say(server, anna, ['hello']);
    const [second] = await say(server, ben, ['hello']);
    expect(second).not.toBe(first);
    expect(await say(server, anna, ['tool'])).toEqual([first]);
    expect(await say(server, ben, ['think'])).toEqual([second]);
    // Who comes with somebody else's words gets nothing of that session.
    carla.messages = [...anna.messages];
    const [third] = await say(server, carla, ['think']);
    expect([first, second]).not.toContain(third);
    expect(told()).toEqual([expect.stringMatching(/^user: The conversation so far:.*think$/s)]);
  });

  test('a person in another directory has a session of her own', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'claude-stream-cwd-'));
    afterTest(() => rm(directory, { recursive: true, force: true }));
    const { server, chat } = await start({
      request: ({ headers }) => (headers['x-elsewhere'] ? { cwd: directory } : {}),
    });
    const [session] = await say(server, chat, ['hello']);
    const elsewhere = new OpenWebUIChat(server.baseURL, { headers: { 'x-elsewhere': '1' } });
    elsewhere.messages = [...chat.messages];
    const answered = await elsewhere.say('think');
    expect(answered).toMatchObject({ finish: ['stop'], error: undefined });
    expect(await sessionOf(server, answered)).not.toBe(session);
  });

  test.each(['refuse', 'midfail', 'fail'])(
    'a question that fails, "%s", is asked again and then replaced',
    async (prompt) => {
      const { server, chat, told } = await start();
      await say(server, chat, ['hello']);
      const failed = await chat.say(prompt);
      expect(failed.error?.code).toMatch(/^(?:content_filter|context_length_exceeded)$/);
      await sessionOf(server, failed);
      const again = await chat.regenerate();
      expect(again.error?.code).toBe(failed.error?.code);
      await sessionOf(server, again);
      const replaced = await chat.edit(2, 'think');
      expect(replaced).toMatchObject({ finish: ['stop'], error: undefined });
      await sessionOf(server, replaced);
      const words = told();
      // 2.1.330 compacts a session whose prompt is too long, and forks from no point before that: it is told.
      if (prompt === 'refuse') expect(words).toEqual([...hello, 'user: think']);
      expect(words.join('\n')).toMatch(/hello.*Grüße.*think$/s);
      expect(words.join('\n')).not.toContain(prompt);
    },
  );
});

/** A store that another process finds again: one file, written whole. */
function fileStore(file: string): Store {
  const read = (): Record<string, { value: string; until: number }> => {
    try {
      return JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      return {};
    }
  };
  const entries = new Map(Object.entries(read()));
  const write = () => writeFileSync(file, JSON.stringify(Object.fromEntries(entries)));
  return {
    sessions: {
      get: async (key) => {
        const entry = entries.get(key);
        return entry && entry.until > Date.now() ? entry.value : undefined;
      },
      set: async (key, value, ttl) => {
        entries.set(key, { value, until: Date.now() + ttl });
        write();
      },
      delete: async (key) => {
        const found = entries.delete(key);
        write();
        return found;
      },
    },
  };
}
