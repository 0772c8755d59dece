import { ClaudeStreamError } from '../../../lib/errors';
import { type RedisStoreOptions, redisStore } from '../../../lib/stores/redis/redisStore';

const sendCommand = jest.fn(async () => null as unknown);
const sendBlockingCommand = jest.fn(async () => null as unknown);
const create = (options: Record<string, unknown> = {}) =>
  redisStore({ sendCommand, sendBlockingCommand, ...options } as RedisStoreOptions);

afterEach(() => jest.clearAllMocks());

function expectRefused(make: () => unknown, message: string): void {
  expect(make).toThrow(ClaudeStreamError);
  expect(make).toThrow(expect.objectContaining({ code: 'invalid_option' }));
  expect(make).toThrow(message);
}

test('sends nothing before it is used', () => {
  create();
  expect(sendCommand).not.toHaveBeenCalled();
  expect(sendBlockingCommand).not.toHaveBeenCalled();
});

describe.each(['sendCommand', 'sendBlockingCommand'])('%s', (name) => {
  test.each([undefined, null, {}, 'GET'])('must not be %j', (value) => {
    expectRefused(() => create({ [name]: value }), `"${name}" must be a function`);
  });
});

test.each([undefined, null])('options must not be %j', (options) => {
  expectRefused(
    () => redisStore(options as unknown as RedisStoreOptions),
    '"sendCommand" must be a function',
  );
});

test('one connection is not enough', () => {
  expectRefused(
    () => create({ sendBlockingCommand: sendCommand }),
    '"sendBlockingCommand" must use a connection of its own',
  );
});

describe.each([
  ['ttl', 'milliseconds', 1, 2 ** 31 - 1],
  ['maxRunBytes', 'bytes', 1_024, 2 ** 30],
  ['ownerTimeout', 'milliseconds', 800, 2 ** 31 - 1],
  ['commandTimeout', 'milliseconds', 1, 2 ** 31 - 1],
])('%s', (name, unit, min, max) => {
  test.each([min - 1, max + 1, min + 0.5, Number.NaN, Number.POSITIVE_INFINITY, `${min}`, null])(
    'must not be %p',
    (value) => {
      expectRefused(
        () => create({ [name]: value }),
        `"${name}" must be a whole number of ${unit} from ${min} to ${max}.`,
      );
    },
  );

  test.each([min, max, undefined])('may be %p', (value) => {
    expect(() => create({ [name]: value })).not.toThrow();
  });
});

test.each(['timeout', 'maxRuns', '__proto__x', 'toString'])('has no option %s', (name) => {
  expectRefused(() => create({ [name]: 1 }), `redisStore has no option "${name}".`);
});

test.each([null, 1, {}])('prefix must not be %j', (prefix) => {
  expectRefused(() => create({ prefix }), '"prefix" must be a string.');
});

test.each([
  [{}, 'claude-stream:session:a'],
  [{ prefix: undefined }, 'claude-stream:session:a'],
  [{ prefix: 'app:' }, 'app:session:a'],
  [{ prefix: '' }, 'session:a'],
])('with %j every key begins with the prefix', async (options, key) => {
  await create(options).sessions.get('a');
  expect(sendCommand.mock.calls).toEqual([['GET', key]]);
});
