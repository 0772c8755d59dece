import { escapeLineSeparators } from '../../sse/frames.js';
import type { Format } from '../format.js';
import { ChunkEncoder } from './chunkEncoder.js';
import { CompletionCollector } from './completionCollector.js';
import { errorBody, errorResponse } from './errorResponse.js';
import { readCompletionRequest } from './readCompletionRequest.js';

/**
 * OpenAI chat completions, streamed and not: for Open WebUI, LibreChat, LangChain, the AI SDK and the openai SDK.
 *
 * Tools that Claude has run are never `tool_calls`: Open WebUI would look for them, fail and call the model again, up
 * to 256 times. They show as status chunks (`choices: []`), which Open WebUI displays and the other clients ignore.
 */
export const openai: Format = {
  read: readCompletionRequest,
  encoder: (context, emit) => new ChunkEncoder(context, emit),
  collector: (context) => new CompletionCollector(context),
  notice({ failure }, emit) {
    // Deltas add up to the answer: with one missing it would be wrong, and nobody would see it.
    emit(escapeLineSeparators(JSON.stringify(errorBody(failure))));
    emit('[DONE]');
    return false;
  },
  errorResponse,
};
