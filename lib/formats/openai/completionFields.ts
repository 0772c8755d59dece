import type { Usage } from '../../outcome.js';
import type { EncoderContext } from '../format.js';

/** The fields that all bodies of one response share. The model's name is the client's own, if it chose one. */
export function completionFields(
  { runId, startedAt, request }: EncoderContext,
  object: 'chat.completion' | 'chat.completion.chunk',
  model: string | undefined,
) {
  return {
    id: `chatcmpl-${runId}`,
    object,
    created: Math.floor(startedAt / 1_000),
    model: request.modelName ?? model ?? 'claude',
  };
}

/** OpenAI's finish reason of an answer that is complete. */
export function finishReason(stopReason: string | undefined): 'stop' | 'length' {
  return stopReason === 'max_tokens' ? 'length' : 'stop';
}

/** Cached tokens are part of OpenAI's prompt tokens. */
export function completionUsage(usage: Usage | undefined) {
  const cached = usage?.cacheReadTokens ?? 0;
  const prompt = (usage?.inputTokens ?? 0) + (usage?.cacheCreationTokens ?? 0) + cached;
  const completion = usage?.outputTokens ?? 0;
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}
