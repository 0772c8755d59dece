import type { Outcome, Usage } from '../../outcome.js';
import type { EncoderContext } from '../format.js';

/** The fields of a message but its content. The model's name is the client's own, if it chose one. */
export function messageFields({ runId, request }: EncoderContext, model: string | undefined) {
  return {
    id: `msg_${runId}`,
    type: 'message',
    role: 'assistant',
    model: request.modelName ?? model ?? 'claude',
  };
}

/** All turns together, and never `tool_use`: Claude has run its tools itself, and the client has nothing to run. */
export function stopReasonOf({ stopReason }: Outcome & { status: 'success' }) {
  return stopReason === 'max_tokens' || stopReason === 'stop_sequence' ? stopReason : 'end_turn';
}

export function messageUsage(usage: Usage | undefined) {
  return {
    input_tokens: usage?.inputTokens ?? 0,
    cache_creation_input_tokens: usage?.cacheCreationTokens ?? 0,
    cache_read_input_tokens: usage?.cacheReadTokens ?? 0,
    output_tokens: usage?.outputTokens ?? 0,
  };
}
