import {
  type Command,
  type CommandOptions,
  commandFor,
  INITIALIZE_REQUEST,
  inquiryFor,
  RUN_ID_VARIABLE,
  type Turn,
} from '../../lib/claude/command';

const fixed = [
  '-p',
  '--input-format=stream-json',
  '--output-format=stream-json',
  '--verbose',
  '--include-partial-messages',
];

function command(
  options: CommandOptions = {},
  turn: Partial<Turn> = {},
  server: NodeJS.ProcessEnv = {},
): Command {
  return commandFor(options, { content: 'hello', ...turn }, 'run-1', server);
}

/** The arguments beyond those that every command has. */
function flags(options: CommandOptions, turn: Partial<Turn> = {}): readonly string[] {
  return command(options, turn).args.slice(fixed.length);
}

/** The environment beyond what every command has. */
function environment(server: NodeJS.ProcessEnv, env: CommandOptions['env'] = {}) {
  const own = Object.keys(command().env);
  const all = Object.entries(command({ env }, {}, server).env);
  return Object.fromEntries(all.filter(([name]) => !own.includes(name)));
}

/** The content of the user message on stdin. */
function content(turn: Turn['content'], options: CommandOptions = {}): unknown {
  const { prompt } = command(options, { content: turn });
  return JSON.parse(prompt).message.content;
}

/** What the process is told before the user message; `undefined` if nothing. */
function setup(options: CommandOptions, turn: Partial<Turn> = {}): unknown {
  const { setup, prompt } = command(options, turn);
  expect(JSON.parse(prompt).type).toBe('user');
  if (setup === '') return undefined;
  const { type, request_id, request } = JSON.parse(setup);
  expect({ type, request_id }).toEqual({
    type: 'control_request',
    request_id: 'claude-stream-initialize',
  });
  return request;
}

describe('the command', () => {
  test('is claude in the directory of the server, streaming JSON both ways', () => {
    expect(command()).toEqual({
      command: 'claude',
      args: fixed,
      cwd: undefined,
      env: {
        CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS: '1',
        CLAUDE_CODE_DISABLE_FILE_MENTIONS: '1',
        CLAUDE_STREAM_RUN_ID: 'run-1',
      },
      setup: '',
      prompt: '{"type":"user","message":{"role":"user","content":"hello"}}\n',
    });
  });

  test('can be another one, in another directory', () => {
    expect(command({ command: '/opt/claude', cwd: '/srv' })).toMatchObject({
      command: '/opt/claude',
      cwd: '/srv',
    });
  });
});

describe('flags', () => {
  const cases: [CommandOptions, string[]][] = [
    [{ model: 'opus' }, ['--model=opus']],
    [{ fallbackModel: 'sonnet' }, ['--fallback-model=sonnet']],
    [{ fallbackModel: ['sonnet', 'haiku'] }, ['--fallback-model=sonnet,haiku']],
    [{ tools: ['Bash', 'Read'] }, ['--tools=Bash,Read']],
    [{ tools: [] }, ['--tools=']],
    [{ allowedTools: ['Bash(git *)', 'Read'] }, ['--allowedTools=Bash(git *),Read']],
    [{ disallowedTools: ['WebFetch'] }, ['--disallowedTools=WebFetch']],
    [{ permissionMode: 'plan' }, ['--permission-mode=plan']],
    [{ addDirs: ['/a', '/b c'] }, ['--add-dir=/a', '--add-dir=/b c']],
    [{ mcpConfig: 'mcp.json' }, ['--mcp-config=mcp.json']],
    [{ mcpConfig: { mcpServers: {} } }, ['--mcp-config={"mcpServers":{}}']],
    [{ mcpConfig: ['a.json', { b: 1 }] }, ['--mcp-config=a.json', '--mcp-config={"b":1}']],
    [{ strictMcpConfig: true }, ['--strict-mcp-config']],
    [{ strictMcpConfig: false }, []],
    [{ settings: 'settings.json' }, ['--settings=settings.json']],
    [{ settings: { model: 'opus' } }, ['--settings={"model":"opus"}']],
    [{ settingSources: ['user', 'project'] }, ['--setting-sources=user,project']],
    [{ settingSources: [] }, ['--setting-sources=']],
    [{ maxTurns: 3 }, ['--max-turns=3']],
    [{ maxBudgetUsd: 0.5 }, ['--max-budget-usd=0.5']],
    [{ effort: 'high' }, ['--effort=high']],
    [{ args: ['--betas=a', '--debug'] }, ['--betas=a', '--debug']],
  ];

  test.each(cases)('%j becomes %j', (options, expected) => {
    expect(flags(options)).toEqual(expected);
  });

  test('are one argument each, so that no value is taken for a flag', () => {
    const args = flags({
      model: '--dangerously-skip-permissions',
      addDirs: ['--help'],
    });
    expect(args).toEqual(['--model=--dangerously-skip-permissions', '--add-dir=--help']);
  });

  test('of the application come last', () => {
    expect(flags({ args: ['--debug'], model: 'opus', strictMcpConfig: true }).at(-1)).toBe(
      '--debug',
    );
  });
});

describe('the turn', () => {
  test('never becomes an argument, even when it looks like a flag', () => {
    const { args, prompt } = command({}, { content: '--version' });
    expect(args).toEqual(fixed);
    expect(JSON.parse(prompt)).toEqual({
      type: 'user',
      message: { role: 'user', content: '--version' },
    });
  });

  test('is one line of stdin, whatever it holds', () => {
    const { prompt } = command({}, { content: 'one\ntwo\r\nthree\u2028four' });
    expect(prompt.indexOf('\n')).toBe(prompt.length - 1);
    expect(content('one\ntwo')).toBe('one\ntwo');
  });

  test('with a session resumes it', () => {
    expect(flags({}, { session: 'f3b4' })).toEqual(['--resume=f3b4']);
  });

  test('chooses its model and effort over those of the options', () => {
    expect(
      flags({ model: 'opus', effort: 'low' }, { model: 'sonnet', effort: 'max' }).toSorted(),
    ).toEqual(['--effort=max', '--model=sonnet']);
  });

  test('goes on from an earlier message in a copy of its session', () => {
    expect(flags({}, { session: 'f3b4', forkAt: 'a1' })).toEqual([
      '--resume=f3b4',
      '--resume-session-at=a1',
      '--fork-session',
    ]);
  });

  test('that may ask for permission says where', () => {
    const { args } = commandFor({ args: ['--debug'] }, { content: 'hi' }, 'run-1', {}, true);
    expect(args.slice(fixed.length)).toEqual(['--permission-prompt-tool=stdio', '--debug']);
  });
});

describe('the system prompt and the schema', () => {
  test('are not mentioned when there are none', () => {
    expect(setup({})).toBeUndefined();
    expect(setup({ appendSystemPrompt: '' }, { system: undefined })).toBeUndefined();
  });

  test('go over stdin before the user message, and nothing of them into the arguments', () => {
    const { args } = command({ systemPrompt: '--version' }, { system: 'secret', schema: {} });
    expect(args).toEqual(fixed);
    expect(INITIALIZE_REQUEST).toBe('claude-stream-initialize');
  });

  test.each<[CommandOptions, Partial<Turn>, object]>([
    [{ systemPrompt: 'A' }, {}, { systemPrompt: 'A', systemPromptSnapshot: false }],
    [{ appendSystemPrompt: 'A' }, {}, { appendSystemPrompt: 'A', systemPromptSnapshot: false }],
    [{}, { system: 'B' }, { appendSystemPrompt: 'B', systemPromptSnapshot: false }],
    [
      { systemPrompt: 'S', appendSystemPrompt: 'A' },
      { system: 'B' },
      { systemPrompt: 'S', appendSystemPrompt: 'A\n\nB', systemPromptSnapshot: false },
    ],
    [
      { systemMessages: 'append', systemPrompt: 'S' },
      { system: 'B' },
      { systemPrompt: 'S', appendSystemPrompt: 'B', systemPromptSnapshot: false },
    ],
    [
      { systemMessages: 'replace', systemPrompt: 'S', appendSystemPrompt: 'A' },
      { system: 'B' },
      { systemPrompt: 'B', appendSystemPrompt: 'A', systemPromptSnapshot: false },
    ],
    [
      { systemMessages: 'replace', systemPrompt: 'S' },
      {},
      { systemPrompt: 'S', systemPromptSnapshot: false },
    ],
    [{}, { schema: { type: 'object' } }, { jsonSchema: { type: 'object' } }],
    [
      { systemPrompt: 'A' },
      { schema: { type: 'object' } },
      { systemPrompt: 'A', systemPromptSnapshot: false, jsonSchema: { type: 'object' } },
    ],
  ])('%j and %j become %j', (options, turn, expected) => {
    expect(setup(options, turn)).toEqual({ subtype: 'initialize', ...expected });
  });

  test('are never recorded with the session, whoever they come from: either may change', () => {
    for (const setUp of [
      setup({ systemPrompt: 'A' }),
      setup({ appendSystemPrompt: 'A' }),
      setup({}, { system: 'B' }),
    ]) {
      expect(setUp).toHaveProperty('systemPromptSnapshot', false);
    }
    expect(setup({}, { schema: {} })).not.toHaveProperty('systemPromptSnapshot');
  });

  test('may be longer than any argument', () => {
    const system = 'x'.repeat(1_000_000);
    expect(setup({}, { system })).toMatchObject({ appendSystemPrompt: system });
  });

  test('are one line, whatever they hold', () => {
    expect(setup({}, { system: 'one\ntwo\r\nthree\u2028four' })).toMatchObject({
      appendSystemPrompt: 'one\ntwo\r\nthree\u2028four',
    });
  });
});

describe('an inquiry', () => {
  const options: CommandOptions = {
    command: '/opt/claude',
    cwd: '/srv',
    env: { A: 'b' },
    settings: 'settings.json',
    settingSources: ['user'],
    systemPrompt: 'Be brief.',
    mcpConfig: 'mcp.json',
    allowedTools: ['Bash'],
    permissionMode: 'bypassPermissions',
    model: 'opus',
    args: ['--debug'],
  };
  const inquiry = inquiryFor(options, 'run-1', { SECRET: 'x', HOME: '/root' });

  test('is asked of the same CLI, in the same place, for the same account', () => {
    expect(inquiry).toMatchObject({ command: '/opt/claude', cwd: '/srv' });
    expect(inquiry.env).toMatchObject({ A: 'b', HOME: '/root', CLAUDE_STREAM_RUN_ID: 'run-1' });
    expect(inquiry.env).not.toHaveProperty('SECRET');
  });

  test('has no tools, no servers and no session', () => {
    expect(inquiry.args.slice(fixed.length)).toEqual([
      '--tools=',
      '--settings=settings.json',
      '--setting-sources=user',
      '--strict-mcp-config',
      '--no-session-persistence',
    ]);
  });

  test('has no prompt', () => {
    expect(JSON.parse(inquiry.setup)).toEqual({
      type: 'control_request',
      request_id: INITIALIZE_REQUEST,
      request: { subtype: 'initialize' },
    });
  });
});

const text = (words: string) => ({ type: 'text', text: words });

describe('a text that begins with a slash', () => {
  const image = {
    type: 'image',
    source: { type: 'base64', media_type: 'image/png', data: 'AA==' },
  };
  test('stays text', () => {
    expect(content('/cost')).toBe('\n/cost');
  });

  test('stays text in every block, since the CLI looks at the last one', () => {
    expect(content([text('/init'), image, text('/cost')])).toEqual([
      text('\n/init'),
      image,
      text('\n/cost'),
    ]);
  });

  test('is a command with slashCommands', () => {
    expect(content('/cost', { slashCommands: true })).toBe('/cost');
    expect(content([image, text('/cost')], { slashCommands: true })).toEqual([
      image,
      text('/cost'),
    ]);
  });

  test('changes nothing for the others', () => {
    expect(content('and/or')).toBe('and/or');
    expect(content([text('and/or'), image])).toEqual([text('and/or'), image]);
  });
});

describe('the environment', () => {
  test.each([
    'DATABASE_URL',
    'AWS_SECRET_ACCESS_KEY',
    'GITHUB_TOKEN',
    'NODE_OPTIONS',
    'NODE_ENV',
    'LD_PRELOAD',
    'CLAUDECODE',
    'CLAUDE_CODE_ENTRYPOINT',
    'CLAUDE_CODE_SSE_PORT',
    'CLAUDE_STREAM_RUN_ID_OF_ANOTHER',
    'PATHS',
    'XHOME',
  ])('keeps %s out', (name) => {
    expect(environment({ [name]: 'value' })).toEqual({});
  });

  test.each([
    'PATH',
    'HOME',
    'LANG',
    'LC_ALL',
    'TMPDIR',
    'HTTPS_PROXY',
    'https_proxy',
    'NODE_EXTRA_CA_CERTS',
    'ANTHROPIC_API_KEY',
    'ANTHROPIC_BASE_URL',
    'CLAUDE_CODE_OAUTH_TOKEN',
    'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC',
    'CLAUDE_CONFIG_DIR',
    'DISABLE_AUTOUPDATER',
  ])('lets %s in, under its own name', (name) => {
    expect(environment({ [name]: 'value' })).toEqual({ [name]: 'value' });
  });

  test('takes what the option adds, whatever its name', () => {
    expect(environment({ HOME: '/root' }, { HOME: '/srv', NODE_OPTIONS: '--no-warnings' })).toEqual(
      { HOME: '/srv', NODE_OPTIONS: '--no-warnings' },
    );
  });

  test('loses what the option sets to undefined', () => {
    expect(environment({ HOME: '/root', ANTHROPIC_API_KEY: 'k' }, { HOME: undefined })).toEqual({
      ANTHROPIC_API_KEY: 'k',
    });
  });

  test('always carries the id of the run, whatever the server and the option say', () => {
    const other = { [RUN_ID_VARIABLE]: 'other' };
    expect(command({ env: other }, {}, other).env[RUN_ID_VARIABLE]).toBe('run-1');
  });

  test('asks for the session state, unless the application wants it otherwise', () => {
    const name = 'CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS';
    expect(command().env[name]).toBe('1');
    expect(command({ env: { [name]: '0' } }).env[name]).toBe('0');
  });
});

describe('a text that mentions a file', () => {
  test.each(['@/etc/passwd', 'see @../secret', 'a\n@"b c"', '(@x)', '看@x', 'a\u00a0@x'])(
    'is text: %j',
    (prompt) => {
      expect(content(prompt)).toBe(prompt.replace('@', '\u2060@'));
      expect(content([text('see'), text(prompt)])).toEqual([
        text('see'),
        text(prompt.replace('@', '\u2060@')),
      ]);
    },
  );

  test('is left alone where it is none: a mail address', () => {
    expect(content('write to jo.doe+x@example.org')).toBe('write to jo.doe+x@example.org');
  });

  test('attaches the file with fileMentions', () => {
    expect(content('@/etc/passwd', { fileMentions: true })).toBe('@/etc/passwd');
    expect(command({ fileMentions: true }).env).not.toHaveProperty(
      'CLAUDE_CODE_DISABLE_FILE_MENTIONS',
    );
  });
});
