import type { Response } from 'express';
import type { ClaudeStreamError } from './errors.js';
import type { JsonResponse } from './formats/format.js';
import type { Settings } from './options.js';

/** Errors after the spawn say `x-should-retry: false`, or the openai SDK would run Claude two more times. */
export function sendJson(
  response: Response,
  { status, body }: JsonResponse,
  stallTimeout: number | false,
): void {
  if (response.destroyed || response.headersSent) return;
  if (status >= 400 && response.hasHeader('Claude-Run-Id')) {
    response.setHeader('x-should-retry', 'false');
  }
  // Node counts only a socket on which nothing moves, and sets its own timeout again after the response.
  if (stallTimeout !== false) response.setTimeout(stallTimeout, () => response.destroy());
  response.status(status).json(body);
}

/** Answers a request for which nothing was started: what only came at a bad time may come again. */
export function sendRefusal(
  response: Response,
  answer: JsonResponse,
  stallTimeout: number | false,
): void {
  const isRetriable = answer.status === 503 || answer.status === 429;
  if (isRetriable && !response.headersSent) response.setHeader('Retry-After', '5');
  sendJson(response, answer, stallTimeout);
}

/** Answers with an error in the format's shape. */
export function sendError(
  response: Response,
  { exposeErrors, format, stallTimeout }: Settings,
  error: ClaudeStreamError,
): void {
  const { code, field } = error;
  const message = exposeErrors ? error.message : error.publicMessage;
  sendRefusal(response, format.errorResponse({ code, message, field }), stallTimeout);
}
