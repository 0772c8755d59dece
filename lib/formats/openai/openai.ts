import type { Format } from '../format.js';
import { ChunkEncoder } from './chunkEncoder.js';
import { CompletionCollector } from './completionCollector.js';
import { errorResponse } from './errorResponse.js';
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
  errorResponse,
};
