import { channel } from 'node:diagnostics_channel';
import type { Request } from 'express';
import type { Outcome } from './outcome.js';

/** A request has to wait for its turn. */
export interface QueueFacts {
  readonly runId: string;
  readonly request: Request;
  /** 1 for the next. */
  readonly position: number;
}

/** A process was started. */
export interface RunStartFacts {
  readonly runId: string;
  readonly pid: number;
  readonly request: Request;
}

/** The first word of the answer has come. */
export interface FirstTokenFacts {
  readonly runId: string;
  /** Since the run was started. */
  readonly timeToFirstTokenMs: number;
}

export interface RunEndFacts {
  readonly runId: string;
  readonly outcome: Outcome;
}

/** A client was cut off: it had read nothing for `stallTimeout`. */
export interface StallFacts {
  readonly runId: string;
  readonly request: Request;
  readonly stallTimeout: number | false;
}

/** A client has come back. */
export interface ReplayFacts {
  readonly runId: string;
  readonly request: Request;
  /** The number of the event that it had last; 0 for none. */
  readonly after: number;
  /** Whether the run belongs to this instance, and is not over. */
  readonly isLocal: boolean;
}

/** What `node:diagnostics_channel` is told, for metrics and traces. Without a subscriber it costs a comparison. */
export const channels = {
  queue: published<QueueFacts>('claude-stream:queue'),
  runStart: published<RunStartFacts>('claude-stream:run:start'),
  firstToken: published<FirstTokenFacts>('claude-stream:run:first-token'),
  runEnd: published<RunEndFacts>('claude-stream:run:end'),
  stall: published<StallFacts>('claude-stream:stall'),
  replay: published<ReplayFacts>('claude-stream:replay'),
};

function published<Facts extends object>(name: string): (facts: Facts) => void {
  const subscribed = channel(name);
  return (facts) => {
    if (subscribed.hasSubscribers) subscribed.publish(facts);
  };
}
