import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  CanUseTool,
  OpenAIRouterOptions,
  PermissionDecision,
  PermissionRequest,
} from 'claude-stream';
import { runIdOf } from './client';
import { record } from './figures';
import { OpenWebUIChat, readAsOpenWebUI, type Status } from './openWebUI';
import { nothingLeft } from './processes';
import { startRealCli, versions } from './realCli';
import { serveRouter } from './serve';
import { questions, toldTo } from './told';

interface Asked {
  readonly request: PermissionRequest;
  readonly signal: AbortSignal;
}

/** Never answers; settles with the first question that it is asked. */
function silent() {
  let ask = (_asked: Asked) => {};
  const asked = new Promise<Asked>((resolve) => {
    ask = resolve;
  });
  const canUseTool: CanUseTool = (request, { signal }) => {
    ask({ request, signal });
    return new Promise(() => {});
  };
  return { asked, canUseTool };
}

const waiting = 'Waiting for permission: Bash: touch made.txt';

const beginsAndEnds = (description: string): Status[] => [
  { description, done: false },
  { description, done: true },
];

describe.each(versions)('%s asks before it runs a command', (version) => {
  /** An application that allows to read, and has an opinion about everything else. */
  async function start(more: OpenAIRouterOptions) {
    const cli = await startRealCli(version);
    const server = await serveRouter({ ...cli.options, allowedTools: ['Read'], ...more });
    const chat = new OpenWebUIChat(server.baseURL);
    /** What the model was told that came of the command. */
    const result = () => toldTo(questions(cli.requests).at(-1)).at(-1);
    return { ...cli, server, chat, result };
  }

  /** Asks for the command `touch made.txt`, and how the question about it was answered. */
  async function touch(decide: (request: PermissionRequest) => PermissionDecision) {
    const asked: PermissionRequest[] = [];
    const started = await start({
      canUseTool: async (request) => {
        asked.push(request);
        await delay(100);
        return decide(request);
      },
    });
    const shown = await started.chat.say('bash: touch made.txt');
    expect(shown).toMatchObject({ finish: ['stop'], error: undefined });
    await nothingLeft(shown.runId, 1_000);
    return { ...started, shown, asked, files: await readdir(started.cwd) };
  }

  test('it is allowed', async () => {
    const { asked, files, shown, server } = await touch(() => ({ behavior: 'allow' }));
    expect(asked).toEqual([
      expect.objectContaining({
        toolName: 'Bash',
        input: expect.objectContaining({ command: 'touch made.txt' }),
        toolUseId: expect.stringMatching(/^toolu_/),
      }),
    ]);
    expect(files).toContain('made.txt');
    // The person in front of the client sees what is waited for, until it is answered.
    expect(shown.statuses.filter(({ description }) => description === waiting)).toEqual(
      beginsAndEnds(waiting),
    );
    expect(shown.statuses.at(-1)).toEqual({ description: 'Bash: touch made.txt', done: true });
    expect(server.errors).toEqual([]);
  });

  test('it is changed', async () => {
    const { files, server } = await touch(({ input }) => ({
      behavior: 'allow',
      updatedInput: { ...input, command: 'touch changed.txt' },
    }));
    expect(files).toContain('changed.txt');
    expect(files).not.toContain('made.txt');
    expect(server.errors).toEqual([]);
  });

  test('it is denied, and the reason reaches the model', async () => {
    const message = 'Not on a Sunday 🌞.';
    const { files, shown, result } = await touch(() => ({ behavior: 'deny', message }));
    expect(files).not.toContain('made.txt');
    expect(result()).toContain(message);
    expect(shown.content).toContain(message);
    expect(shown.statuses.filter(({ description }) => description === waiting)).toEqual(
      beginsAndEnds(waiting),
    );
  });

  test('nobody answers in time: it is denied', async () => {
    const { asked, canUseTool } = silent();
    const { cwd, chat, result } = await start({ canUseTool, timeout: { permission: 1_000 } });
    const shown = await chat.say('bash: touch made.txt');
    expect(shown).toMatchObject({ finish: ['stop'], error: undefined });
    expect(result()).toContain('Nobody answered the permission request within 1 s.');
    expect((await asked).signal.aborted).toBe(true);
    expect(await readdir(cwd)).not.toContain('made.txt');
    await nothingLeft(shown.runId, 1_000);
  });

  test('a question may take longer than the CLI may be silent', async () => {
    const { cwd, chat } = await start({
      canUseTool: () => delay<PermissionDecision>(2_500, { behavior: 'allow' }),
      timeout: { idle: 1_500 },
    });
    const shown = await chat.say('bash: touch made.txt');
    expect(shown).toMatchObject({ finish: ['stop'], error: undefined });
    expect(await readdir(cwd)).toContain('made.txt');
  });

  test('the client leaves: the question is taken back, and nothing is left', async () => {
    const { asked, canUseTool } = silent();
    const { cwd, server, chat } = await start({ canUseTool });
    const response = await chat.ask('bash: touch made.txt');
    const runId = runIdOf(response);
    const reading = readAsOpenWebUI(response).catch(() => undefined);
    const { signal } = await asked;
    expect(signal.aborted).toBe(false);
    const left = performance.now();
    response.destroy();
    await reading;
    await nothingLeft(runId, 3_000);
    record('ms until nothing was left', performance.now() - left);
    expect(signal.aborted).toBe(true);
    expect(await server.outcomeOf(runId)).toMatchObject({ reason: 'disconnected' });
    expect(server.errors).toEqual([]);
    expect(await readdir(cwd)).not.toContain('made.txt');
  });

  test('the router is closed: the question is taken back, and nothing is left', async () => {
    const { asked, canUseTool } = silent();
    const { server, chat } = await start({ canUseTool });
    const response = await chat.ask('bash: touch made.txt');
    const reading = readAsOpenWebUI(response);
    const { signal } = await asked;
    await server.router.close();
    expect(signal.aborted).toBe(true);
    const { statuses, error, finish } = await reading;
    expect(error?.code).toBe('shutting_down');
    expect(finish).toEqual([]);
    expect(statuses).toContainEqual({ description: waiting, done: true });
    await nothingLeft(runIdOf(response), 0);
  });

  test('the application fails: it is denied, and the operator is told', async () => {
    const { cwd, chat, server } = await start({
      canUseTool: () => {
        throw new Error('The database is away.');
      },
    });
    const shown = await chat.say('bash: touch made.txt');
    expect(shown).toMatchObject({ finish: ['stop'], error: undefined });
    expect(shown.content).not.toContain('database');
    expect(server.errors).toEqual([expect.objectContaining({ code: 'hook_failed' })]);
    expect(server.errors[0]?.message).toContain('The database is away.');
    expect(await readdir(cwd)).not.toContain('made.txt');
  });

  test('nobody is asked about what is allowed', async () => {
    const { asked, canUseTool } = silent();
    const { chat } = await start({ canUseTool });
    const shown = await chat.say('tool');
    expect(shown.content).toContain('Buy milk.');
    expect(await Promise.race([asked, 'nobody'])).toBe('nobody');
  });

  test('without canUseTool it is denied at once, which shows', async () => {
    const { cwd, chat, result } = await start({});
    const shown = await chat.say('bash: touch made.txt');
    expect(shown).toMatchObject({ finish: ['stop'], error: undefined });
    // 2.1.197 tells only the model.
    if (version === '2.1.330') {
      expect(shown.statuses).toContainEqual({ description: 'Permission denied: Bash', done: true });
    }
    expect(result()).toMatch(/needs approval|was blocked/);
    expect(await readdir(cwd)).not.toContain('made.txt');
  });
});
