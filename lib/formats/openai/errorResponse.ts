import { type ErrorCode, statusOf } from '../../errors.js';
import type { Failure, JsonResponse } from '../format.js';

/**
 * What OpenAI calls the same thing, for clients that react to it: `context_length_exceeded` makes them shorten the
 * conversation, `insufficient_quota` keeps them from trying again. What has no name there keeps ours.
 */
const names: Partial<Record<ErrorCode, { status?: number; type?: string; code: string }>> = {
  prompt_too_long: { code: 'context_length_exceeded' },
  prompt_too_large: { code: 'context_length_exceeded' },
  model_not_offered: { status: 404, code: 'model_not_found' },
  // Both are tried again after a while, as the header Retry-After says.
  queue_full: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  rate_limited: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  billing: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota' },
  refused: { code: 'content_filter' },
  invalid_api_key: { type: 'authentication_error', code: 'invalid_api_key' },
};

/** An error as OpenAI's API answers it before the first byte. */
export function errorResponse(failure: Failure): JsonResponse {
  return {
    status: names[failure.code]?.status ?? statusOf(failure.code),
    body: errorBody(failure),
  };
}

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

/** An error that has a status and no code of ours. */
export function statusResponse(status: number, message: string): JsonResponse {
  const type = types[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
  return { status, body: { error: { message, type, param: null, code: null } } };
}

/** OpenAI's error object; within a stream it is all there is. */
export function errorBody({ code, message, field }: Failure): object {
  const named = names[code];
  const type = named?.type ?? (statusOf(code) < 500 ? 'invalid_request_error' : 'server_error');
  return { error: { message, type, param: field ?? null, code: named?.code ?? code } };
}
