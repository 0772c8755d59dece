import { claudeStream } from '../lib/claudeStream';
import { ClaudeStreamError } from '../lib/errors';
import { claude } from '../lib/formats/claude';
import { openai } from '../lib/formats/openai';
import {
  type ClaudeStreamOptions,
  optionNames,
  type RequestOverrides,
  readOptions,
  readOverrides,
} from '../lib/options';

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
      models: undefined,
      maxPromptBytes: 10_485_760,
      keepAlive: 15_000,
      deadlines: { firstMessage: 60_000, idle: 600_000, total: 1_800_000, background: 60_000 },
      exitGrace: 2_000,
      stallTimeout: 60_000,
      highWaterMark: 65_536,
      maxLogBytes: 1_048_576,
      maxLineLength: 67_108_864,
      toolDisplay: 'status',
      exposeErrors: false,
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

  test('false turns a clock off', () => {
    expect(readOptions({ keepAlive: false, stallTimeout: false, timeout: false })).toMatchObject({
      keepAlive: false,
      stallTimeout: false,
      deadlines: { firstMessage: false, idle: false, total: false, background: false },
    });
    expect(readOptions({ timeout: { idle: false, total: 5 } }).deadlines).toEqual({
      firstMessage: 60_000,
      idle: false,
      total: 5,
      background: 60_000,
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
      maxPromptBytes: 1,
      keepAlive: 1,
      timeout: {},
      exitGrace: 1,
      stallTimeout: 1,
      highWaterMark: 1_024,
      maxLogBytes: 1_024,
      maxLineLength: 65_536,
      toolDisplay: 'none',
      exposeErrors: true,
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
    [{ format: 'sse' }, `"format" must be one of 'claude', 'openai'.`],
    [{ format: 'toString' }, `"format" must be one of 'claude', 'openai'.`],
    [{ request: {} }, '"request" must be a function.'],
    [{ models: 'opus' }, '"models" must be an array of strings.'],
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
      '"timeout" must be an object of firstMessage, idle, total, background; it has "all".',
    ],
    [
      { timeout: { idle: 2 ** 31 } },
      `"timeout" must be an object in which idle is ${longest}, or false.`,
    ],
    [
      { highWaterMark: 1 },
      '"highWaterMark" must be a whole number of bytes from 1024 to 1073741824.',
    ],
    [{ toolDisplay: 'all' }, `"toolDisplay" must be one of 'status', 'text', 'none'.`],
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

describe('what the request function returned', () => {
  test('is split into options of the process and fields of the body', () => {
    const overrides = { prompt: 'hi', cwd: '/srv', model: 'opus', session: 's', stream: false };
    expect(readOverrides(overrides)).toEqual({
      command: { cwd: '/srv', model: 'opus' },
      body: { prompt: 'hi', session: 's', stream: false },
    });
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
    [{ args: ['hello'] }, '"args" must be an array of flags'],
    [{ env: { 'A=B': 'x' } }, '"env" must be an object'],
  ])('%j is refused at creation', (options, message) => {
    expect(() => claudeStream(options)).toThrow(message);
  });
});
