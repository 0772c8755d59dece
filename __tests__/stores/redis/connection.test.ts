import { Connection } from '../../../lib/stores/redis/connection';
import { StoreError } from '../../../lib/stores/store';

const never = () => new Promise<never>(() => {});

afterEach(() => jest.useRealTimers());

test('a command is sent as it is, and its reply comes back', async () => {
  const send = jest.fn(async () => ['reply']);
  const connection = new Connection(send, 1_000, 100);
  expect(await connection.send('SET', 'a', '1')).toEqual(['reply']);
  expect(await connection.sendBlocking(5_000, 'XREAD', 'STREAMS')).toEqual(['reply']);
  expect(send.mock.calls).toEqual([
    ['SET', 'a', '1'],
    ['XREAD', 'STREAMS'],
  ]);
});

test('a command that is not answered in time fails', async () => {
  const answer = new Connection(never, 10, 100).send('GET', 'secret');
  await expect(answer).rejects.toThrow(StoreError);
  await expect(answer).rejects.toThrow('Redis did not answer GET within 10 ms.');
});

test('a command that waits in Redis has that time besides', async () => {
  jest.useFakeTimers();
  const settled = jest.fn();
  const answer = new Connection(never, 10, 100).sendBlocking(500, 'XREAD').catch((error) => {
    settled();
    return error;
  });
  await jest.advanceTimersByTimeAsync(505);
  expect(settled).not.toHaveBeenCalled();
  await jest.advanceTimersByTimeAsync(10);
  expect(await answer).toEqual(new StoreError('Redis did not answer XREAD within 510 ms.'));
});

test.each([
  ['rejects', () => Promise.reject(new Error('WRONGTYPE'))],
  [
    'throws',
    () => {
      throw new Error('WRONGTYPE');
    },
  ],
])('a failure is told with its cause when the client %s', async (_how, send) => {
  const error = (await new Connection(send, 1_000, 100)
    .send('GET', 'a')
    .catch((cause) => cause)) as Error;
  expect(error).toBeInstanceOf(StoreError);
  expect(error.message).toBe('Redis failed at GET: Error: WRONGTYPE');
  expect(error.cause).toEqual(new Error('WRONGTYPE'));
});

test('what the client rejects with after the time is nobody’s to handle', async () => {
  const unhandled = jest.fn();
  process.on('unhandledRejection', unhandled);
  let reject = (_cause: Error) => {};
  const send = () =>
    new Promise<never>((_resolve, rejectLate) => {
      reject = rejectLate;
    });
  await expect(new Connection(send, 5, 100).send('GET', 'a')).rejects.toThrow(StoreError);
  reject(new Error('late'));
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.off('unhandledRejection', unhandled);
  expect(unhandled).not.toHaveBeenCalled();
});

test('a client that holds too many commands is given no more of them, until it has answered', async () => {
  jest.useFakeTimers();
  const answers: (() => void)[] = [];
  const connection = new Connection(
    () => new Promise<void>((resolve) => answers.push(resolve)),
    10,
    2,
  );
  const sent = () => connection.send('PING').catch((error: Error) => error.message);
  const first = [sent(), sent()];
  await jest.advanceTimersByTimeAsync(10);
  expect(await Promise.all(first)).toEqual(
    Array(2).fill('Redis did not answer PING within 10 ms.'),
  );
  expect(await sent()).toBe('Redis has not answered 2 commands yet.');
  expect(answers).toHaveLength(2);
  answers[0]?.();
  await jest.advanceTimersByTimeAsync(0);
  void sent();
  expect(answers).toHaveLength(3);
  // One that is lost for good must not be the end of it.
  await jest.advanceTimersByTimeAsync(10);
  await jest.advanceTimersByTimeAsync(60_000);
  void sent();
  expect(answers).toHaveLength(4);
  jest.useRealTimers();
});

test('no timer is left behind', async () => {
  jest.useFakeTimers();
  await new Connection(async () => 'OK', 1_000, 100).send('PING');
  await new Connection(() => Promise.reject(new Error('no')), 1_000, 100)
    .send('PING')
    .catch(() => {});
  expect(jest.getTimerCount()).toBe(0);
});
