import { claudeStream } from '../lib/claudeStream';
import { ClaudeStreamError } from '../lib/errors';
import { claude } from '../lib/formats/claude';
import { openai } from '../lib/formats/openai/openai';
import { openaiRouter } from '../lib/openaiRouter';
import {
  type ClaudeStreamOptions,
  type OpenAIRouterOptions,
  optionNames,
  type RequestOverrides,
  readOptions,
  readOverrides,
  readRouterOptions,
  routerOptionNames,
} from '../lib/options';
import { memoryStore } from '../lib/stores/memoryStore';

/** What the middleware says of options that a type checker would not have let through. */
function complaint(options: unknown): string {
  const error = errorOf(() => claudeStream(options as ClaudeStreamOptions));
  expect(error.code).toBe('invalid_option');
  return error.message;
}

function errorOf(call: () => unknown): ClaudeStreamError {
  try {
    call();
  } catch (error) {
    if (error instanceof ClaudeStreamError) return error;
    throw error;
  }
  throw new Error('Nothing was thrown.');
}

describe('without options', () => {
  test('every default is in place', () => {
    expect(readOptions()).toEqual({
      format: claude,
      command: {},
      request: undefined,
      models: 'none',
      taskModel: 'haiku',
      sessions: undefined,
      runStore: undefined,
      onDisconnect: undefined,
      disconnectGrace: 300_000,
      authorize: undefined,
      canUseTool: undefined,
      maxPromptBytes: 33_554_432,
      concurrency: false,
      maxQueue: 100,
      key: undefined,
      keepAlive: 15_000,
      deadlines: {
        queue: 600_000,
        firstMessage: 60_000,
        idle: 600_000,
        total: 1_800_000,
        background: 60_000,
        permission: 300_000,
      },
      exitGrace: 2_000,
      stallTimeout: 60_000,
      highWaterMark: 65_536,
      coalesce: 0,
      maxLogBytes: 1_048_576,
      maxLineLength: 67_108_864,
      toolDisplay: 'status',
      exposeErrors: false,
      warm: 0,
      hooks: {},
    });
  });

  test('undefined means absent, for every option', () => {
    const absent = Object.fromEntries(optionNames.map((name) => [name, undefined]));
    expect({ ...readOptions(absent), hooks: {} }).toEqual(readOptions());
    expect(readOptions(absent).command).toStrictEqual({});
    expect(readOptions({ timeout: { idle: undefined } as object }).deadlines.idle).toBe(600_000);
  });
});

describe('options', () => {
  test('of the process are kept together', () => {
    const command = {
      command: '/opt/claude',
      cwd: '/srv',
      tools: [],
      env: { A: 'b', C: undefined },
    };
    expect(readOptions({ ...command, keepAlive: 5 }).command).toStrictEqual(command);
  });

  test('choose a format by its name', () => {
    expect(readOptions({ format: 'openai' }).format).toBe(openai);
  });

  test('false turns the model for tasks off', () => {
    expect(readOptions({ taskModel: false }).taskModel).toBe(false);
    expect(readRouterOptions({ taskModel: false }).taskModel).toBe(false);
  });

  test('false turns a clock off', () => {
    expect(readOptions({ keepAlive: false, stallTimeout: false, timeout: false })).toMatchObject({
      keepAlive: false,
      stallTimeout: false,
      deadlines: {
        queue: false,
        firstMessage: false,
        idle: false,
        total: false,
        background: false,
        permission: false,
      },
    });
    expect(readOptions({ timeout: { idle: false, total: 5 } }).deadlines).toEqual({
      queue: 600_000,
      firstMessage: 60_000,
      idle: false,
      total: 5,
      background: 60_000,
      permission: 300_000,
    });
  });

  test('may all be set', () => {
    const all: Required<ClaudeStreamOptions> = {
      command: 'claude',
      args: ['--betas=a'],
      cwd: '/',
      env: { A: '' },
      model: 'opus',
      fallbackModel: ['sonnet'],
      systemPrompt: 'a',
      appendSystemPrompt: '',
      systemMessages: 'replace',
      tools: ['Bash'],
      allowedTools: ['Bash'],
      disallowedTools: ['Bash'],
      permissionMode: 'plan',
      addDirs: ['/'],
      mcpConfig: [{}, 'a.json'],
      strictMcpConfig: true,
      settings: {},
      settingSources: [],
      maxTurns: 1,
      maxBudgetUsd: 0.01,
      effort: 'max',
      slashCommands: true,
      fileMentions: true,
      format: 'openai',
      request: () => ({}),
      models: ['opus'],
      taskModel: 'opus',
      sessions: 'auto',
      sessionHeader: 'X-Chat',
      store: memoryStore(),
      onDisconnect: 'continue',
      disconnectGrace: false,
      authorize: () => true,
      canUseTool: () => ({ behavior: 'deny' }),
      maxPromptBytes: 1,
      concurrency: 1,
      maxQueue: 0,
      key: () => '',
      keepAlive: 1,
      timeout: {},
      exitGrace: 1,
      stallTimeout: 1,
      highWaterMark: 1_024,
      coalesce: 50,
      maxLogBytes: 1_024,
      maxLineLength: 65_536,
      toolDisplay: 'none',
      exposeErrors: true,
      warm: 0,
      onStart: () => {},
      onMessage: () => {},
      onEnd: () => {},
      onError: () => {},
    };
    expect(Object.keys(all).toSorted()).toEqual([...optionNames].toSorted());
    expect(() => claudeStream(all)).not.toThrow();
  });
});

describe('a wrong value is refused at creation and the message says what is expected', () => {
  const longest = 'a whole number of milliseconds from 1 to 2147483647';
  test.each<[object, string]>([
    [{ command: '' }, '"command" must be a string that is not empty.'],
    [{ command: ['claude'] }, '"command" must be a string that is not empty.'],
    [{ args: '--debug' }, '"args" must be an array of strings.'],
    [{ args: ['--debug', 1] }, '"args" must be an array of strings.'],
    [{ cwd: null }, '"cwd" must be a string that is not empty.'],
    [
      { env: { A: 1 } },
      '"env" must be an object whose values are strings, or undefined to remove a variable.',
    ],
    [{ fallbackModel: 1 }, '"fallbackModel" must be a string or an array of strings.'],
    [{ appendSystemPrompt: 1 }, '"appendSystemPrompt" must be a string.'],
    [{ tools: 'Bash' }, '"tools" must be an array of strings.'],
    [{ mcpConfig: [1] }, '"mcpConfig" must be a string, an object, or an array of them.'],
    [{ strictMcpConfig: 'yes' }, '"strictMcpConfig" must be true or false.'],
    [{ settings: [] }, '"settings" must be a string or an object.'],
    [{ maxTurns: 0 }, '"maxTurns" must be a whole number of turns from 1 to 10000.'],
    [{ maxTurns: 1.5 }, '"maxTurns" must be a whole number of turns from 1 to 10000.'],
    [{ maxBudgetUsd: -1 }, '"maxBudgetUsd" must be a positive number.'],
    [{ maxBudgetUsd: Number.NaN }, '"maxBudgetUsd" must be a positive number.'],
    [{ effort: 'huge' }, `"effort" must be one of 'low', 'medium', 'high', 'xhigh', 'max'.`],
    [{ format: 'sse' }, `"format" must be one of 'claude', 'openai', 'anthropic', 'ui-message'.`],
    [
      { format: 'toString' },
      `"format" must be one of 'claude', 'openai', 'anthropic', 'ui-message'.`,
    ],
    [{ request: {} }, '"request" must be a function.'],
    [
      { models: 'opus' },
      '"models" must be an array of at least one model, or an object of models by the names that clients use.',
    ],
    [{ systemMessages: 'drop' }, `"systemMessages" must be one of 'append', 'replace'.`],
    [{ taskModel: '' }, '"taskModel" must be a string that is not empty, or false.'],
    [{ taskModel: true }, '"taskModel" must be a string that is not empty, or false.'],
    [{ sessions: true }, `"sessions" must be one of 'auto', 'off'.`],
    [{ sessionHeader: 'X Chat' }, '"sessionHeader" must be the name of a header.'],
    [{ store: {} }, '"store" must be a store, such as memoryStore().'],
    [{ store: memoryStore }, '"store" must be a store, such as memoryStore().'],
    [{ store: new Map() }, '"store" must be a store, such as memoryStore().'],
    [
      { store: { sessions: { get() {}, set() {} } } },
      '"store" must be a store, such as memoryStore().',
    ],
    [{ canUseTool: ['Bash'] }, '"canUseTool" must be a function.'],
    [
      { timeout: { permission: 0 } },
      `"timeout" must be an object in which permission is ${longest}, or false.`,
    ],
    [
      { concurrency: 0 },
      '"concurrency" must be a whole number of runs from 1 to 100000, or false.',
    ],
    [
      { concurrency: true },
      '"concurrency" must be a whole number of runs from 1 to 100000, or false.',
    ],
    [{ maxQueue: -1 }, '"maxQueue" must be a whole number of requests from 0 to 100000.'],
    [{ maxQueue: false }, '"maxQueue" must be a whole number of requests from 0 to 100000.'],
    [{ key: 'user' }, '"key" must be a function.'],
    [
      { timeout: { queue: 0 } },
      `"timeout" must be an object in which queue is ${longest}, or false.`,
    ],
    [{ keepAlive: 0 }, `"keepAlive" must be ${longest}, or false.`],
    [{ keepAlive: true }, `"keepAlive" must be ${longest}, or false.`],
    [{ keepAlive: '15s' }, `"keepAlive" must be ${longest}, or false.`],
    [{ keepAlive: 2 ** 31 }, `"keepAlive" must be ${longest}, or false.`],
    [{ stallTimeout: Number.POSITIVE_INFINITY }, `"stallTimeout" must be ${longest}, or false.`],
    [{ exitGrace: false }, `"exitGrace" must be ${longest}.`],
    [
      { timeout: 1_000 },
      '"timeout" must be an object such as { firstMessage: 60_000, idle: 600_000, total: 1_800_000 }, or false.',
    ],
    [
      { timeout: { all: 1 } },
      '"timeout" must be an object of queue, firstMessage, idle, total, background, permission; it has "all".',
    ],
    [
      { timeout: { idle: 2 ** 31 } },
      `"timeout" must be an object in which idle is ${longest}, or false.`,
    ],
    [
      { highWaterMark: 1 },
      '"highWaterMark" must be a whole number of bytes from 1024 to 1073741824.',
    ],
    [{ toolDisplay: 'all' }, `"toolDisplay" must be one of 'status', 'text', 'details', 'none'.`],
    [{ warm: -1 }, '"warm" must be a whole number of processes from 0 to 100.'],
    [{ warm: 101 }, '"warm" must be a whole number of processes from 0 to 100.'],
    [{ warm: true }, '"warm" must be a whole number of processes from 0 to 100.'],
    [{ onEnd: 'log' }, '"onEnd" must be a function.'],
  ])('%j', (options, message) => {
    expect(complaint(options)).toBe(message);
  });

  test.each([null, 'openai', 42, [], () => {}])('%p, which is no object', (options) => {
    expect(complaint(options)).toBe('The options of claudeStream must be an object.');
  });

  test('a line longer than the longest string of V8', () => {
    expect(complaint({ maxLineLength: 2 ** 29 })).toMatch(/^"maxLineLength" must be/);
  });

  test('a text that no argument can carry', () => {
    expect(complaint({ systemPrompt: 'a\0b' })).toMatch(/^"systemPrompt" must be/);
  });
});

describe('an unknown option', () => {
  test.each([
    ['heartbeat', 'keepAlive'],
    ['keepalive', 'keepAlive'],
    ['keep_alive', 'keepAlive'],
    ['timeouts', 'timeout'],
    ['timeoutMs', 'timeout'],
    ['workingDirectory', 'cwd'],
    ['mcpServers', 'mcpConfig'],
    ['system_prompt', 'systemPrompt'],
    ['allowed_tools', 'allowedTools'],
    ['allowTools', 'allowedTools'],
    ['permissions', 'permissionMode'],
    ['max-turns', 'maxTurns'],
    ['highwatermark', 'highWaterMark'],
    ['onMessages', 'onMessage'],
    ['onPermission', 'canUseTool'],
    ['sessionsHeader', 'sessions'],
  ])('"%s" is taken for "%s"', (name, meant) => {
    expect(complaint({ [name]: 1 })).toBe(`There is no option "${name}". Did you mean "${meant}"?`);
  });

  test.each(['frobnicate', 'toString', '__proto__', '_', '42', ''])('"%s" is like none', (name) => {
    expect(complaint(Object.fromEntries([[name, 1]]))).toBe(`There is no option "${name}".`);
  });
});

test('a middleware mounted without being called says so', () => {
  const request = { method: 'POST', headers: {}, socket: {} };
  const error = errorOf(() => claudeStream(request as ClaudeStreamOptions));
  expect(error.code).toBe('not_called');
  expect(error.message).toBe(
    'claudeStream was mounted without being called. Write app.post(path, claudeStream()), with parentheses.',
  );
});

describe('sessions', () => {
  test('are off for a middleware, and where they are on have a store and a header', () => {
    expect(readOptions({ format: 'openai' }).sessions).toBeUndefined();
    expect(readOptions({ format: 'openai', sessions: 'auto' }).sessions).toEqual({
      store: { get: expect.anything(), set: expect.anything(), delete: expect.anything() },
      header: 'x-openwebui-chat-id',
    });
  });

  test('are kept where the application says, by the header that it says', () => {
    const store = memoryStore();
    const options = { format: 'openai', sessions: 'auto', store, sessionHeader: 'X-Chat' } as const;
    expect(readOptions(options).sessions).toEqual({ store: store.sessions, header: 'x-chat' });
  });

  test.each<ClaudeStreamOptions>([{ sessions: 'auto' }, { sessions: 'auto', format: 'claude' }])(
    'cannot be recognised in the native format: %j',
    (options) => {
      expect(complaint(options)).toContain("\"sessions\" must be 'off' for the format 'claude'");
    },
  );
});

describe('models', () => {
  const names = (models: ClaudeStreamOptions['models']) => readOptions({ models }).models;

  test('are offered under their own names, or under those of the application', () => {
    expect(names(['opus', 'haiku'])).toEqual(
      new Map([
        ['opus', 'opus'],
        ['haiku', 'haiku'],
      ]),
    );
    expect(names({ 'gpt-4o': 'sonnet' })).toEqual(new Map([['gpt-4o', 'sonnet']]));
  });
});

describe('the options of a router', () => {
  test('are those of a middleware without the format, and two of its own', () => {
    expect(routerOptionNames).toEqual(['apiKey', 'maxBodyBytes']);
    const { format: _, sessions: _sessions, models: _models, ...shared } = readOptions();
    expect(readRouterOptions()).toMatchObject({
      ...shared,
      format: openai,
      models: 'any',
      sessions: { header: 'x-openwebui-chat-id' },
      apiKey: undefined,
      maxBodyBytes: 52_428_800,
    });
  });

  test('may turn sessions off, and name the models', () => {
    const { sessions, models } = readRouterOptions({ sessions: 'off', models: ['opus'] });
    expect(sessions).toBeUndefined();
    expect(models).toEqual(new Map([['opus', 'opus']]));
  });

  test('undefined means absent, for every option but the key', () => {
    const all = [...optionNames, ...routerOptionNames].filter(
      (name) => !['format', 'authorize', 'apiKey'].includes(name),
    );
    const absent = Object.fromEntries(all.map((name) => [name, undefined]));
    const plain = (options: OpenAIRouterOptions) =>
      JSON.stringify({ ...readRouterOptions(options), hooks: {} });
    expect(plain(absent)).toEqual(plain({}));
  });

  test.each(['secret', ['one', 'two'], '!"#$~', () => true])('the key may be %j', (apiKey) => {
    expect(readRouterOptions({ apiKey }).apiKey).toBe(apiKey);
  });

  const keyed =
    '"apiKey" must be a string of visible ASCII characters, as a header can hold them, an array of such, or a function.';
  test.each<[unknown, string]>([
    [
      { apiKey: undefined },
      '"apiKey" is undefined. Is the environment variable set? To let everybody in, leave the option out.',
    ],
    [{ apiKey: '' }, keyed],
    [{ apiKey: ' ' }, keyed],
    [{ apiKey: 'two words' }, keyed],
    [{ apiKey: 'secret\n' }, keyed],
    [{ apiKey: 'schlüssel' }, keyed],
    [{ apiKey: ['a', 'b c'] }, keyed],
    [{ apiKey: [undefined] }, keyed],
    [{ apiKey: [['a']] }, keyed],
    [{ apiKey: [] }, keyed],
    [{ apiKey: ['a', ''] }, keyed],
    [{ apiKey: null }, keyed],
    [{ apiKey: false }, keyed],
    [{ apiKey: 42 }, keyed],
    [
      { maxBodyBytes: '50mb' },
      '"maxBodyBytes" must be a whole number of bytes from 1 to 1073741824.',
    ],
    [{ format: 'openai' }, 'There is no option "format".'],
    [{ heartbeat: 1 }, 'There is no option "heartbeat". Did you mean "keepAlive"?'],
    [null, 'The options of openaiRouter must be an object.'],
    ['secret', 'The options of openaiRouter must be an object.'],
  ])('%j is refused at creation', (options, message) => {
    const error = errorOf(() => openaiRouter(options as OpenAIRouterOptions));
    expect(error.code).toBe('invalid_option');
    expect(error.message.startsWith(message)).toBe(true);
  });

  test('of one that was mounted without being called are a request', () => {
    const request = { method: 'POST', headers: {}, socket: {} };
    const error = errorOf(() => openaiRouter(request as OpenAIRouterOptions));
    expect(error.code).toBe('not_called');
    expect(error.message).toContain("app.use('/v1', openaiRouter())");
  });
});

describe('what the request function returned', () => {
  test('is split into options of the process and fields of the body', () => {
    const body = { prompt: 'hi', session: 's', stream: false, user: 'u' };
    const overrides = { ...body, cwd: '/srv', model: 'opus' };
    expect(readOverrides(overrides)).toEqual({ command: { cwd: '/srv', model: 'opus' }, body });
  });

  test('undefined is absent of the process, but replaces a field of the body', () => {
    const overrides = { session: undefined, cwd: undefined };
    expect(readOverrides(overrides)).toStrictEqual({ command: {}, body: { session: undefined } });
  });

  test.each(['disallowedTool', 'workingDirectory', 'timeout', 'toString'])(
    'must not be unknown: %s would restrict nothing',
    (name) => {
      expect(() => readOverrides({ [name]: 'x' })).toThrow(`There is no option "${name}"`);
    },
  );

  test.each<[unknown, string]>([
    ['hi', 'The function "request" must return an object.'],
    [null, 'The function "request" must return an object.'],
    [{ maxTurns: 'many' }, '"maxTurns" must be a whole number of turns from 1 to 10000.'],
    [{ cwd: '' }, '"cwd" must be a string that is not empty.'],
  ])('is checked: %j', (overrides, message) => {
    const error = errorOf(() => readOverrides(overrides as RequestOverrides));
    expect(error.code).toBe('invalid_option');
    expect(error.message).toBe(message);
  });
});

describe('a wrong value', () => {
  test.each<[object, string]>([
    [{ permissionMode: 'yolo' }, '"permissionMode" must be one of'],
    [{ settingSources: ['projects'] }, '"settingSources" must be an array of user, project, local'],
    [{ models: [] }, '"models" must be an array of at least one model'],
    [{ models: {} }, '"models" must be an array of at least one model'],
    [{ models: { 'gpt-4o': 7 } }, '"models" must be an array of at least one model'],
    [{ models: { 'gpt-4o': '' } }, '"models" must be an array of at least one model'],
    [{ args: ['hello'] }, '"args" must be an array of flags'],
    [{ env: { 'A=B': 'x' } }, '"env" must be an object'],
  ])('%j is refused at creation', (options, message) => {
    expect(() => claudeStream(options)).toThrow(message);
  });
});
