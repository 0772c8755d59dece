import { type ErrorCode, statusOf } from '../../errors.js';
import type { Failure, JsonResponse } from '../format.js';

/** Where Anthropic's API answers the same thing with another status. */
const statuses: Partial<Record<ErrorCode, number>> = {
  model_not_offered: 404,
  // Clients try again after a while, as for the API itself.
  overloaded: 529,
};

/** Anthropic's error types by status (API reference, "Errors"). */
const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

/** An error as Anthropic's API answers it before the first byte. */
export function errorResponse(failure: Failure): JsonResponse {
  return { status: apiStatusOf(failure.code), body: errorBody(failure) };
}

/** Anthropic's error object, which is also the data of the event `error`. */
export function errorBody({ code, message }: Failure): object {
  const status = apiStatusOf(code);
  const type = types[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  return { type: 'error', error: { type, message, code } };
}

function apiStatusOf(code: ErrorCode): number {
  return statuses[code] ?? statusOf(code);
}
