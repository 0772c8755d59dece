import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { type ClaudeStreamOptions, readOptions } from './options.js';
import { serveChat } from './serveChat.js';
import { Service } from './service.js';

export interface ClaudeStreamHandler extends RequestHandler {
  /**
   * Stops every run and refuses new ones with 503. Settles when no process of this handler is alive; clients that are
   * still there get an ending that says so.
   */
  close(): Promise<void>;
}

/**
 * Express middleware that runs Claude Code for a request and streams what it does while it does it.
 *
 * @throws ClaudeStreamError `invalid_option`; `not_called` when it was mounted without parentheses
 */
export function claudeStream(options?: ClaudeStreamOptions): ClaudeStreamHandler {
  const service = new Service(readOptions(options));
  const handler = (request: Request, response: Response, next: NextFunction) => {
    // `next(undefined)` would mean that there was no error.
    serveChat(service, request, response).catch((error) =>
      next(error ?? new Error('The function "request" threw nothing.')),
    );
  };
  return Object.assign(handler, { close: () => service.close() });
}
