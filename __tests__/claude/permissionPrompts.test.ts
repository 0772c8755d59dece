import type { ClaudeMessage } from '../../lib/claude/messages';
import {
  PermissionPrompts,
  type PermissionPromptsOptions,
  type PermissionRequest,
} from '../../lib/claude/permissionPrompts';

/** Prompts whose answers, failures and waiting are noted. */
function prompts(decide: PermissionPromptsOptions['decide'], timeout: number | false = false) {
  const sent: unknown[] = [];
  const failures: unknown[] = [];
  const waiting: boolean[] = [];
  const noted = new PermissionPrompts({
    decide,
    timeout,
    send: (message) => sent.push(message),
    onFailure: (cause) => failures.push(cause),
    onWaiting: (is) => waiting.push(is),
  });
  return { noted, sent, failures, waiting };
}

const asks = (id: unknown, more: object = {}): ClaudeMessage => ({
  type: 'control_request',
  request_id: id,
  request: {
    subtype: 'can_use_tool',
    tool_name: 'Bash',
    input: { command: 'ls' },
    tool_use_id: `toolu_${id}`,
    ...more,
  },
});

const takesBack = (id: unknown): ClaudeMessage => ({
  type: 'control_cancel_request',
  request_id: id,
});

const answerTo = (id: string, response: object) => ({
  type: 'control_response',
  response: { subtype: 'success', request_id: id, response },
});

const ticks = () => new Promise((resolve) => setImmediate(resolve));

/** A decision that the test makes later. */
function pending() {
  const open: {
    request: PermissionRequest;
    signal: AbortSignal;
    decide: (value: unknown) => void;
  }[] = [];
  const decide = (request: PermissionRequest, signal: AbortSignal) =>
    new Promise((resolve) => {
      open.push({ request, signal, decide: resolve });
    });
  return { open, decide };
}

describe('a question', () => {
  test('is handed over with all that the CLI says about it', () => {
    const { open, decide } = pending();
    prompts(decide).noted.observe(
      asks('1', { description: 'List files', permission_suggestions: [{ type: 'addRules' }] }),
    );
    expect(open[0]?.request).toEqual({
      toolName: 'Bash',
      input: { command: 'ls' },
      toolUseId: 'toolu_1',
      description: 'List files',
      suggestions: [{ type: 'addRules' }],
    });
    expect(open[0]?.signal.aborted).toBe(false);
  });

  test.each([undefined, null, 7, 'text', []])('may have anything in its fields: %j', (value) => {
    const { open, decide } = pending();
    prompts(decide).noted.observe(
      asks('1', {
        input: value,
        tool_use_id: value,
        description: value,
        permission_suggestions: value,
      }),
    );
    const isText = typeof value === 'string';
    expect(open[0]?.request).toEqual({
      toolName: 'Bash',
      input: {},
      toolUseId: isText ? value : undefined,
      description: isText ? value : undefined,
      suggestions: [],
    });
  });
});

describe('an answer', () => {
  test('allows', async () => {
    const { noted, sent, failures } = prompts(async () => ({ behavior: 'allow' }));
    noted.observe(asks('1'));
    await ticks();
    expect(sent).toEqual([answerTo('1', { behavior: 'allow', updatedInput: { command: 'ls' } })]);
    expect(failures).toEqual([]);
  });

  test('allows with another input and more permissions', async () => {
    const decision = {
      behavior: 'allow',
      updatedInput: { command: 'ls -l' },
      updatedPermissions: [{ type: 'addRules' }],
    };
    const { noted, sent } = prompts(() => decision);
    noted.observe(asks('1'));
    await ticks();
    expect(sent).toEqual([answerTo('1', decision)]);
  });

  test('denies, with the words of the application or with our own', async () => {
    const messages = ['Not here.', undefined];
    const { noted, sent } = prompts(() => ({ behavior: 'deny', message: messages.shift() }));
    noted.observe(asks('1'));
    noted.observe(asks('2'));
    await ticks();
    expect(sent).toEqual([
      answerTo('1', { behavior: 'deny', message: 'Not here.' }),
      answerTo('2', { behavior: 'deny', message: 'The user does not allow it.' }),
    ]);
  });

  test('is given to each question by its own id, in whatever order', async () => {
    const { open, decide } = pending();
    const { noted, sent } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(asks('2'));
    open[1]?.decide({ behavior: 'deny' });
    await ticks();
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect(sent).toMatchObject([
      { response: { request_id: '2', response: { behavior: 'deny' } } },
      { response: { request_id: '1', response: { behavior: 'allow' } } },
    ]);
  });

  test('is given once, although the question comes twice', async () => {
    const { open, decide } = pending();
    const { noted, sent } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(asks('1'));
    expect(open).toHaveLength(1);
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect(sent).toHaveLength(1);
  });
});

describe('a function that fails', () => {
  const oops = new Error('oops in /secret/place');

  test.each<[string, PermissionPromptsOptions['decide']]>([
    [
      'throws',
      () => {
        throw oops;
      },
    ],
    ['rejects', () => Promise.reject(oops)],
  ])('and %s denies, and is reported', async (_how, decide) => {
    const { noted, sent, failures } = prompts(decide);
    noted.observe(asks('1'));
    await ticks();
    expect(sent).toEqual([
      answerTo('1', { behavior: 'deny', message: 'The permission could not be asked for.' }),
    ]);
    expect(failures).toEqual([oops]);
  });

  test.each([
    [undefined],
    [null],
    [true],
    ['allow'],
    [[]],
    [{}],
    [{ behavior: 'ask' }],
    [{ behavior: true }],
    [{ behavior: 'deny', message: 7 }],
    [{ behavior: 'allow', updatedInput: 'ls' }],
    [{ behavior: 'allow', updatedInput: [] }],
    [{ behavior: 'allow', updatedInput: null }],
    [{ behavior: 'allow', updatedPermissions: {} }],
    [() => ({ behavior: 'allow' })],
  ])('because it returns %p denies, and is reported', async (decision) => {
    const { noted, sent, failures } = prompts(() => decision);
    noted.observe(asks('1'));
    await ticks();
    expect(sent).toMatchObject([{ response: { response: { behavior: 'deny' } } }]);
    expect(failures).toHaveLength(1);
    expect(String(failures[0])).toContain('canUseTool must return');
  });

  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const unwritable: [string, object][] = [
    ['a BigInt in its input', { updatedInput: { size: 1n } }],
    ['itself in its input', { updatedInput: circular }],
    ['a BigInt in its permissions', { updatedPermissions: [1n] }],
    ['itself in its permissions', { updatedPermissions: [circular] }],
    [
      'what throws in its input',
      {
        updatedInput: {
          toJSON() {
            throw new TypeError('not today');
          },
        },
      },
    ],
  ];
  test.each(unwritable)(
    'because it cannot be written, with %s, denies, and is reported',
    async (_what, more) => {
      const { noted, sent, failures, waiting } = prompts(() => ({ behavior: 'allow', ...more }));
      noted.observe(asks('1'));
      await ticks();
      expect(sent).toEqual([
        answerTo('1', { behavior: 'deny', message: 'The permission could not be asked for.' }),
      ]);
      expect(failures).toEqual([expect.any(TypeError)]);
      expect(waiting).toEqual([true, false]);
    },
  );
});

describe('the time', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  test('denies what nobody has answered, and the late answer counts no more', async () => {
    const { open, decide } = pending();
    const { noted, sent, failures, waiting } = prompts(decide, 5_000);
    noted.observe(asks('1'));
    jest.advanceTimersByTime(4_999);
    expect(sent).toEqual([]);
    jest.advanceTimersByTime(1);
    const message = 'Nobody answered the permission request within 5 s.';
    expect(sent).toEqual([answerTo('1', { behavior: 'deny', message })]);
    expect(open[0]?.signal.aborted).toBe(true);
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect(sent).toHaveLength(1);
    expect(failures).toEqual([]);
    expect(waiting).toEqual([true, false]);
  });

  test('is up for each question by itself', () => {
    const { noted, sent } = prompts(pending().decide, 5_000);
    noted.observe(asks('1'));
    jest.advanceTimersByTime(3_000);
    noted.observe(asks('2'));
    jest.advanceTimersByTime(2_000);
    expect(sent).toMatchObject([{ response: { request_id: '1' } }]);
    jest.advanceTimersByTime(3_000);
    expect(sent).toHaveLength(2);
  });

  test('is not measured when it is turned off', () => {
    const { noted, sent } = prompts(pending().decide, false);
    noted.observe(asks('1'));
    jest.advanceTimersByTime(10 ** 9);
    expect(sent).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('leaves no timer behind', async () => {
    const { noted } = prompts(() => ({ behavior: 'allow' }), 5_000);
    noted.observe(asks('1'));
    await ticks();
    expect(jest.getTimerCount()).toBe(0);
    const { noted: open } = prompts(pending().decide, 5_000);
    open.observe(asks('1'));
    open.end();
    expect(jest.getTimerCount()).toBe(0);
  });
});

describe('a question that is taken back', () => {
  test('is not answered; its signal says so', async () => {
    const { open, decide } = pending();
    const { noted, sent, failures, waiting } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(takesBack('1'));
    expect(open[0]?.signal.aborted).toBe(true);
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect([sent, failures]).toEqual([[], []]);
    expect(waiting).toEqual([true, false]);
  });

  test('may make the function throw: that is no failure', async () => {
    const { noted, sent, failures } = prompts(
      (_request, signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
    );
    noted.observe(asks('1'));
    noted.observe(takesBack('1'));
    await ticks();
    expect([sent, failures]).toEqual([[], []]);
  });

  test('leaves the others alone', async () => {
    const { open, decide } = pending();
    const { noted, sent } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(asks('2'));
    noted.observe(takesBack('2'));
    noted.observe(takesBack('of another'));
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect(sent).toMatchObject([{ response: { request_id: '1' } }]);
  });
});

describe('the end of the run', () => {
  test('ends every question without an answer', async () => {
    const { open, decide } = pending();
    const { noted, sent, failures, waiting } = prompts(decide);
    for (const id of ['1', '2', '3']) noted.observe(asks(id));
    noted.end();
    expect(open.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
    for (const { decide: settle } of open) settle({ behavior: 'allow' });
    await ticks();
    expect([sent, failures]).toEqual([[], []]);
    expect(waiting).toEqual([true, false]);
    noted.end();
  });

  test('is the end of questions: one that comes after it is not put to anybody', async () => {
    const { open, decide } = pending();
    const { noted } = prompts(decide);
    noted.end();
    noted.observe(asks('1'));
    await ticks();
    expect(open.filter(({ signal }) => !signal.aborted)).toHaveLength(0);
  });
});

describe('waiting', () => {
  test('begins with the first question and ends with the last answer', async () => {
    const { open, decide } = pending();
    const { noted, waiting } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(asks('2'));
    expect(waiting).toEqual([true]);
    open[0]?.decide({ behavior: 'allow' });
    await ticks();
    expect(waiting).toEqual([true]);
    open[1]?.decide({ behavior: 'deny' });
    await ticks();
    expect(waiting).toEqual([true, false]);
    noted.observe(asks('3'));
    expect(waiting).toEqual([true, false, true]);
  });
});

/** Values that no CLI has sent yet. */
const odd: [unknown][] = [null, undefined, 7, {}, [], { toString: 1 }].map((value) => [value]);

describe('what is no permission request', () => {
  test('is answered with an error, or the CLI would wait for ever', () => {
    const { noted, sent } = prompts(() => ({ behavior: 'allow' }));
    noted.observe({ ...asks('1'), request: { subtype: 'elicitation' } });
    expect(sent).toEqual([
      {
        type: 'control_response',
        response: {
          subtype: 'error',
          request_id: '1',
          error: expect.stringMatching(/^Not supported: "?elicitation"?$/),
        },
      },
    ]);
  });

  test.each(odd)('is answered with an error, whatever its subtype: %j', (subtype) => {
    const { noted, sent } = prompts(() => ({ behavior: 'allow' }));
    noted.observe({ ...asks('1'), request: { subtype } });
    expect(sent).toMatchObject([{ response: { subtype: 'error', request_id: '1' } }]);
  });

  test.each(odd)('takes nothing back that it does not name: %j', async (id) => {
    const { open, decide } = pending();
    const { noted } = prompts(decide);
    noted.observe(asks('1'));
    noted.observe(takesBack(id));
    expect(open[0]?.signal.aborted).toBe(false);
  });

  test.each<ClaudeMessage>([
    { type: 'control_request' },
    { type: 'control_request', request_id: '1' },
    { type: 'control_request', request_id: '1', request: null },
    { type: 'control_request', request_id: 7, request: { subtype: 'can_use_tool' } },
    { type: 'control_cancel_request' },
    { type: 'assistant', request_id: '1' },
  ])('is passed over when nobody could be answered: %j', (message) => {
    const { noted, sent, waiting } = prompts(() => ({ behavior: 'allow' }));
    noted.observe(message);
    expect([sent, waiting]).toEqual([[], []]);
  });

  test('a tool name of any shape denies or asks, and never throws', async () => {
    const { noted, sent } = prompts(() => ({ behavior: 'deny' }));
    for (const [index, name] of [null, 7, {}, { toString: 1 }].entries()) {
      noted.observe(asks(String(index), { tool_name: name }));
    }
    await ticks();
    expect(sent).toHaveLength(4);
  });
});
