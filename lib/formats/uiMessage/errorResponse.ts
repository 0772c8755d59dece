import { statusOf } from '../../errors.js';
import type { Failure, JsonResponse } from '../format.js';

/** An error before the first byte. The AI SDK makes its whole text the message of the error that it throws. */
export function errorResponse({ code, message }: Failure): JsonResponse {
  return { status: statusOf(code), body: { error: { code, message } } };
}
