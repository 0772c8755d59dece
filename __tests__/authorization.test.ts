import type { Request } from 'express';
import { authorization } from '../lib/authorization';
import { ClaudeStreamError } from '../lib/errors';

const asking = (header: string | undefined) =>
  ({ headers: { authorization: header } }) as unknown as Request;

/** Whether somebody with this header is let in; what keeps them out must say so as it should. */
async function isLetIn(check: (request: Request) => Promise<void>, header: string | undefined) {
  try {
    await check(asking(header));
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(ClaudeStreamError);
    expect(error).toMatchObject({ code: 'invalid_api_key', status: 401 });
    return false;
  }
}

describe('one key', () => {
  const check = authorization('sk-right');

  test.each(['Bearer sk-right', 'bearer sk-right', 'BEARER   sk-right  '])(
    'lets in who has it: %j',
    async (header) => {
      expect(await isLetIn(check, header)).toBe(true);
    },
  );

  test.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'sk-right',
    'Basic sk-right',
    'Bearer sk-wrong',
    'Bearer sk-righ',
    'Bearer sk-rightt',
    'Bearer SK-RIGHT',
    'Bearer sk-right sk-right',
    'Bearer sk-right, Bearer sk-right',
    'Bearer sk-right\u0000',
    'XBearer sk-right',
    'Bearer\tsk-right\n',
  ])('keeps out who has not: %j', async (header) => {
    expect(await isLetIn(check, header)).toBe(false);
  });

  test('says what is missing, and nothing of the right one', async () => {
    await expect(check(asking(undefined))).rejects.toThrow('Authorization: Bearer <key>');
    await expect(check(asking('Bearer sk-wrong'))).rejects.toThrow(/^The API key is wrong\.$/);
  });

  test('may be of any length and any characters', async () => {
    const key = `${'ü🌍'.repeat(500)}/+=`;
    expect(await isLetIn(authorization(key), `Bearer ${key}`)).toBe(true);
    expect(await isLetIn(authorization(key), `Bearer ${key}x`)).toBe(false);
  });

  test('is found out in a time that does not grow with what was sent', async () => {
    const started = performance.now();
    expect(await isLetIn(check, `Bearer ${' '.repeat(100_000)}`)).toBe(false);
    expect(await isLetIn(check, `Bearer ${'x '.repeat(50_000)}`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe('several keys', () => {
  test('let in who has any of them', async () => {
    const check = authorization(['sk-one', 'sk-two', 'sk-three']);
    for (const key of ['sk-one', 'sk-two', 'sk-three']) {
      expect(await isLetIn(check, `Bearer ${key}`)).toBe(true);
    }
    for (const key of ['sk-four', 'sk-one,sk-two', 'sk-on']) {
      expect(await isLetIn(check, `Bearer ${key}`)).toBe(false);
    }
  });
});

describe('a function', () => {
  test('is asked with the key and the request, and may take its time', async () => {
    const isKnown = jest.fn(async (key: string) => key === 'sk-right');
    const check = authorization(isKnown);
    expect(await isLetIn(check, 'Bearer sk-right')).toBe(true);
    expect(await isLetIn(check, 'Bearer sk-wrong')).toBe(false);
    expect(isKnown).toHaveBeenCalledWith('sk-right', asking('Bearer sk-right'));
  });

  test('is not asked when there is no key', async () => {
    const isKnown = jest.fn(() => true);
    expect(await isLetIn(authorization(isKnown), undefined)).toBe(false);
    expect(isKnown).not.toHaveBeenCalled();
  });

  test.each([undefined, null, 0, 1, '', 'yes', {}, []])(
    'lets nobody in with %p: only true does',
    async (value) => {
      const check = authorization((async () => value) as never);
      expect(await isLetIn(check, 'Bearer sk-right')).toBe(false);
    },
  );

  test.each([
    () => {
      throw new Error('no database');
    },
    () => Promise.reject(new Error('no database')),
  ])('that fails lets nobody in, and its error goes on', async (isKnown) => {
    await expect(authorization(isKnown)(asking('Bearer sk-right'))).rejects.toThrow('no database');
  });
});
