import type { Outcome } from '../../outcome.js';

/** What the message of a run that is over tells beside its parts. Durations are ms. */
export function messageMetadata(outcome: Outcome & { status: 'success' }) {
  const { runId, sessionId, model, stopReason, usage, costUsd, durationMs } = outcome;
  return { runId, sessionId, model, stopReason, usage, costUsd, durationMs };
}
