import { errorCodes, statusOf } from '../../../lib/errors.js';
import { errorBody, errorResponse } from '../../../lib/formats/openai/errorResponse.js';

const message = 'It failed.';

it.each([
  ['prompt_too_long', 400, 'invalid_request_error', 'context_length_exceeded'],
  ['prompt_too_large', 413, 'invalid_request_error', 'context_length_exceeded'],
  ['model_not_offered', 404, 'invalid_request_error', 'model_not_found'],
  ['rate_limited', 429, 'rate_limit_error', 'rate_limit_exceeded'],
  ['billing', 429, 'insufficient_quota', 'insufficient_quota'],
  ['refused', 400, 'invalid_request_error', 'content_filter'],
  ['invalid_api_key', 401, 'authentication_error', 'invalid_api_key'],
] as const)('calls %s what OpenAI calls it: %i %s %s', (code, status, type, openaiCode) => {
  expect(errorResponse({ code, message })).toEqual({
    status,
    body: { error: { message, type, param: null, code: openaiCode } },
  });
});

it.each([
  ['unsupported_parameter', 'invalid_request_error'],
  ['invalid_messages', 'invalid_request_error'],
  ['session_not_found', 'invalid_request_error'],
  ['overloaded', 'server_error'],
  ['schema_not_met', 'server_error'],
  ['crashed', 'server_error'],
] as const)('keeps our name of %s, with a status and the type %s', (code, type) => {
  expect(errorResponse({ code, message })).toEqual({
    status: statusOf(code),
    body: { error: { message, type, param: null, code } },
  });
});

it.each(errorCodes)('answers %s with an error of four fields and nothing else', (code) => {
  const { status, body } = errorResponse({ code, message });

  expect(status).toBeGreaterThanOrEqual(400);
  expect(body).toEqual({
    error: { message, type: expect.any(String), param: null, code: expect.any(String) },
  });
});

it('does not tempt a client to try again what would fail again', () => {
  // The openai SDK retries 408, 409, 429 and everything from 500 on, unless it is told not to.
  for (const code of ['invalid_request', 'prompt_too_long', 'refused', 'max_turns'] as const) {
    expect([400, 401, 403, 404, 413, 422]).toContain(errorResponse({ code, message }).status);
  }
});

it('names the field that is wrong as param', () => {
  const field = 'messages[2].content';
  expect(errorResponse({ code: 'invalid_messages', message, field }).body).toMatchObject({
    error: { param: 'messages[2].content' },
  });
});

it('is the same object within a stream', () => {
  expect(errorBody({ code: 'rate_limited', message })).toEqual(
    errorResponse({ code: 'rate_limited', message }).body,
  );
});
