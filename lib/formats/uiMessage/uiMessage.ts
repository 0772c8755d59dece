import { escapeLineSeparators } from '../../sse/frames.js';
import type { Format } from '../format.js';
import { errorResponse } from './errorResponse.js';
import { readUiRequest } from './readUiRequest.js';
import { UiMessageCollector } from './uiMessageCollector.js';
import { UiMessageEncoder } from './uiMessageEncoder.js';

/** The AI SDK's UI message stream, for `useChat` of v5, v6 and v7: text, reasoning, and tools with input and output. */
export const uiMessage: Format = {
  headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
  read: readUiRequest,
  encoder: (context, emit) => new UiMessageEncoder(context, emit),
  collector: (context) => new UiMessageCollector(context),
  notice({ failure }, emit) {
    // A part without its beginning makes the reader throw.
    emit(escapeLineSeparators(JSON.stringify({ type: 'error', errorText: failure.message })));
    emit('[DONE]');
    return false;
  },
  errorResponse,
};
