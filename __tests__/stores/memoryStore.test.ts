import { ClaudeStreamError } from '../../lib/errors';
import { memoryStore } from '../../lib/stores/memoryStore';

const HOUR = 60 * 60 * 1_000;

describe('an entry', () => {
  test('is there until it is deleted, and one deletion finds it', async () => {
    const { sessions } = memoryStore();
    expect(await sessions.get('a')).toBeUndefined();
    await sessions.set('a', 'one', HOUR);
    expect(await sessions.get('a')).toBe('one');
    expect(await sessions.delete('a')).toBe(true);
    expect(await sessions.delete('a')).toBe(false);
    expect(await sessions.get('a')).toBeUndefined();
  });

  test('is replaced by another under its key', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    await sessions.set('a', 'two', HOUR);
    expect(await sessions.get('a')).toBe('two');
  });

  test('may be empty', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', '', HOUR);
    expect(await sessions.get('a')).toBe('');
    expect(await sessions.delete('a')).toBe(true);
  });

  test('is deleted by exactly one of those who try at once', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    const deleted = await Promise.all(Array.from({ length: 20 }, () => sessions.delete('a')));
    expect(deleted.filter(Boolean)).toHaveLength(1);
  });

  test.each(['__proto__', 'constructor', ''])('may have the key %j', async (key) => {
    const { sessions } = memoryStore();
    expect(await sessions.get(key)).toBeUndefined();
    await sessions.set(key, 'one', HOUR);
    expect(await sessions.get(key)).toBe('one');
  });

  test('is gone when it is of no use any more', async () => {
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', 20);
    await sessions.set('b', 'two', HOUR);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await sessions.get('a')).toBeUndefined();
    expect(await sessions.delete('a')).toBe(false);
    expect(await sessions.get('b')).toBe('two');
  });

  test('does not keep the server alive', async () => {
    const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const { sessions } = memoryStore();
    await sessions.set('a', 'one', HOUR);
    const after = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    expect(after).toBe(before);
  });
});

describe('a full store', () => {
  test('forgets what was unused for longest', async () => {
    const { sessions } = memoryStore({ maxSessionBytes: 1_024 });
    const value = 'x'.repeat(350);
    await sessions.set('a', value, HOUR);
    await sessions.set('b', value, HOUR);
    await sessions.get('a');
    await sessions.set('c', value, HOUR);
    const kept = await Promise.all(['a', 'b', 'c'].map((key) => sessions.get(key)));
    expect(kept).toEqual([value, undefined, value]);
  });

  test('holds 32 MiB when nothing else is said, whatever the size of its entries', async () => {
    const { sessions } = memoryStore();
    const megabyte = 'x'.repeat(2 ** 20 - 200);
    for (let entry = 0; entry <= 32; entry++) await sessions.set(`${entry}`, megabyte, HOUR);
    expect(await sessions.get('0')).toBeUndefined();
    expect(await sessions.get('1')).toBe(megabyte);
  });

  test('does not take what is larger than itself', async () => {
    const { sessions } = memoryStore({ maxSessionBytes: 1_024 });
    await sessions.set('a', 'x'.repeat(2_000), HOUR);
    expect(await sessions.get('a')).toBeUndefined();
  });
});

test('two stores know nothing of each other', async () => {
  const one = memoryStore().sessions;
  await one.set('a', 'one', HOUR);
  expect(await memoryStore().sessions.get('a')).toBeUndefined();
});

test.each([0, -1, 1.5, 1_023, Number.NaN, Number.POSITIVE_INFINITY, '2048', null])(
  'maxSessionBytes must not be %p',
  (maxSessionBytes) => {
    const create = () => memoryStore({ maxSessionBytes: maxSessionBytes as number });
    expect(create).toThrow(ClaudeStreamError);
    expect(create).toThrow('"maxSessionBytes" must be a whole number of bytes from 1024.');
  },
);

test('an undefined maxSessionBytes is none', () => {
  expect(() => memoryStore({ maxSessionBytes: undefined })).not.toThrow();
});
