import { type ErrorCode, errorCodes } from '../../../lib/errors.js';
import { errorResponse } from '../../../lib/formats/anthropic/errorResponse.js';

const shown = (code: ErrorCode) => {
  const { status, body } = errorResponse({ code, message: 'It failed.' });
  const { error } = body as { error: { type: string } };
  return [status, error.type];
};

it.each<[ErrorCode, number, string]>([
  ['invalid_messages', 400, 'invalid_request_error'],
  ['invalid_api_key', 401, 'authentication_error'],
  ['billing', 402, 'billing_error'],
  ['not_authorized', 403, 'permission_error'],
  ['model_not_offered', 404, 'not_found_error'],
  ['prompt_too_large', 413, 'request_too_large'],
  ['rate_limited', 429, 'rate_limit_error'],
  ['queue_full', 429, 'rate_limit_error'],
  ['not_logged_in', 500, 'api_error'],
  ['crashed', 502, 'api_error'],
  ['total_timeout', 504, 'timeout_error'],
  ['overloaded', 529, 'overloaded_error'],
])('%s is %i %s', (code, status, type) => {
  expect(shown(code)).toEqual([status, type]);
});

it('every error has the shape of the API, and its code beside', () => {
  for (const code of errorCodes) {
    expect(errorResponse({ code, message: 'It failed.' })).toEqual({
      status: expect.any(Number),
      body: {
        type: 'error',
        error: {
          type: expect.stringMatching(/_error$|^request_too_large$/),
          message: 'It failed.',
          code,
        },
      },
    });
  }
});
