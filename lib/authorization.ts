import { createHash, timingSafeEqual } from 'node:crypto';
import type { Request } from 'express';
import { ClaudeStreamError } from './errors.js';
import type { ApiKey } from './options.js';

/**
 * Makes the check of who may use a router.
 *
 * @returns rejects with ClaudeStreamError `invalid_api_key`, or with whatever the application's own function throws
 */
export function authorization(apiKey: ApiKey): (request: Request) => Promise<void> {
  const isKnown = typeof apiKey === 'function' ? apiKey : oneOf([apiKey].flat());
  return async (request) => {
    const key = bearerToken(request);
    if (key !== undefined && (await isKnown(key, request)) === true) return;
    throw new ClaudeStreamError(
      'invalid_api_key',
      key === undefined
        ? 'There is no API key. Send it as "Authorization: Bearer <key>".'
        : 'The API key is wrong.',
    );
  };
}

/** Every key is compared, and by its hash, so that the time taken tells nothing of where or which. */
function oneOf(keys: readonly string[]): (key: string) => boolean {
  const known = keys.map(digest);
  return (key) => {
    const given = digest(key);
    return known.filter((one) => timingSafeEqual(one, given)).length > 0;
  };
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function bearerToken({ headers }: Request): string | undefined {
  const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '') ?? [];
  return token;
}
