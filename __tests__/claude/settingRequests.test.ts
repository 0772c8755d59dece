import { type CommandOptions, commandFor, spareFor, type Turn } from '../../lib/claude/command';
import { settingRequests } from '../../lib/claude/settingRequests';

/** What a process that waits with `options` has to be told to serve a request. */
function told(
  options: CommandOptions,
  { asks = false, ...request }: CommandOptions & { asks?: boolean } = {},
  turn: Partial<Turn> = {},
) {
  return settingRequests(
    spareFor(options, 'spare', { PATH: '/bin' }, false),
    commandFor(
      { ...options, ...request },
      { content: 'hi', ...turn },
      'run',
      { PATH: '/bin' },
      asks,
    ),
  );
}

const model = (name: string) => ({
  type: 'control_request',
  request_id: 'claude-stream-set-model',
  request: { subtype: 'set_model', model: name },
});
const mode = (name: string) => ({
  type: 'control_request',
  request_id: 'claude-stream-set-permission-mode',
  request: { subtype: 'set_permission_mode', mode: name },
});

const some: CommandOptions = {
  command: '/opt/claude',
  args: ['--debug'],
  cwd: '/srv',
  env: { HOME: '/home/one' },
  model: 'opus',
  permissionMode: 'default',
  systemPrompt: 'You are brief.',
  tools: ['Read'],
};

describe('a process that waits with the same options', () => {
  test('is told nothing', () => {
    expect(told({})).toEqual([]);
    expect(told(some)).toEqual([]);
  });

  test('is told the model and the permission mode where they differ', () => {
    expect(told({}, {}, { model: 'haiku' })).toEqual([model('haiku')]);
    expect(told(some, {}, { model: 'haiku' })).toEqual([model('haiku')]);
    expect(told(some, {}, { model: 'opus' })).toEqual([]);
    expect(told({}, { permissionMode: 'plan' })).toEqual([mode('plan')]);
    expect(told(some, { permissionMode: 'acceptEdits' }, { model: 'haiku' })).toEqual([
      model('haiku'),
      mode('acceptEdits'),
    ]);
  });

  test("keeps a model that is set by the application's own flag, which comes last", () => {
    expect(told({ args: ['--model=opus'] }, {}, { model: 'haiku' })).toEqual([]);
  });
});

describe('no other process fits', () => {
  test.each<[string, CommandOptions & { asks?: boolean }, Partial<Turn>]>([
    ['another command', { command: '/opt/other' }, {}],
    ['other flags', { tools: ['Bash'] }, {}],
    ['other arguments', { args: ['--verbose'] }, {}],
    ['another directory', { cwd: '/tmp' }, {}],
    ['another environment', { env: { HOME: '/home/two' } }, {}],
    ['another system prompt', { systemPrompt: 'You are long.' }, {}],
    ['somebody to ask for permission', { asks: true }, {}],
    ['effort', {}, { effort: 'low' }],
    ['a session', {}, { session: '11111111-2222-4333-8444-555555555555' }],
    ['system messages', {}, { system: 'Be kind.' }],
    ['a schema', {}, { schema: { type: 'object' } }],
    ['no permission at all to leave out', { permissionMode: 'bypassPermissions' }, {}],
    ['a mode that depends on more than its name', { permissionMode: 'auto' }, {}],
    ['a mode that not every version knows', { permissionMode: 'manual' }, {}],
  ])('%s', (_what, request, turn) => {
    expect(told(some, request, turn)).toBeUndefined();
  });

  test('than one that was started for it, where nothing is asked', () => {
    const free: CommandOptions = { permissionMode: 'bypassPermissions' };
    expect(told(free)).toEqual([]);
    expect(told(free, { permissionMode: 'default' })).toBeUndefined();
  });

  test('when a variable of the server has changed', () => {
    const spare = spareFor({}, 'spare', { HTTPS_PROXY: 'http://one' }, false);
    const wanted = commandFor({}, { content: 'hi' }, 'run', { HTTPS_PROXY: 'http://two' });
    expect(settingRequests(spare, wanted)).toBeUndefined();
  });
});
