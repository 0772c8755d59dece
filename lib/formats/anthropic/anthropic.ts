import { escapeLineSeparators } from '../../sse/frames.js';
import type { Format } from '../format.js';
import { errorBody, errorResponse } from './errorResponse.js';
import { MessageCollector } from './messageCollector.js';
import { MessageEncoder } from './messageEncoder.js';
import { readMessagesRequest } from './readMessagesRequest.js';

/**
 * Anthropic's Messages API, streamed and not: for `@anthropic-ai/sdk` and its kind.
 *
 * The turns of a run are merged into one message of text and thinking. Tools that Claude has run are no `tool_use`
 * blocks, which clients would take for theirs to run; they show as the status of a `ping`, which clients pass over.
 */
export const anthropic: Format = {
  read: readMessagesRequest,
  encoder: (context, emit) => new MessageEncoder(context, emit),
  collector: (context) => new MessageCollector(context),
  notice({ failure }, emit) {
    // Deltas add up to the answer: with one missing it would be wrong, and nobody would see it.
    emit(escapeLineSeparators(JSON.stringify(errorBody(failure))), 'error');
    return false;
  },
  errorResponse,
};
