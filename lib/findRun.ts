import type { Request } from 'express';
import { ClaudeStreamError } from './errors.js';
import { described } from './hooks.js';
import type { LiveRun } from './liveRun.js';
import type { Service } from './service.js';
import { type KeptRun, type RunStore, StoreError } from './stores/store.js';
import { within } from './within.js';

/** How long the store may take to say whether there is a run, in ms. */
const STORE_TIMEOUT = 10_000;

/** A run that somebody asks for: of this instance, or of any. */
export interface FoundRun {
  readonly runId: string;
  readonly local: LiveRun | undefined;
  /** What the store has of it; `undefined` for one of this instance. */
  readonly kept: KeptRun | undefined;
}

/**
 * The run of a request, once the application lets the client see it.
 *
 * @throws ClaudeStreamError `run_not_found`, `run_expired`, `not_authorized`, `store_unavailable`
 * @throws what the application's own `authorize` function throws
 */
export async function findRun(
  { settings, runs }: Service,
  request: Request,
  runId: string,
): Promise<FoundRun> {
  const local = runs.find(runId);
  const kept = local ? undefined : await keptRun(settings.runStore, runId);
  const record = local?.record ?? kept?.record;
  if (record === undefined) {
    throw new ClaudeStreamError('run_not_found', 'There is no such run, or it was long ago.');
  }
  const { authorize } = settings;
  if (authorize && (await authorize(request, record)) !== true) {
    throw new ClaudeStreamError('not_authorized', 'You may not see this run.');
  }
  if (kept?.state === 'expired') {
    throw new ClaudeStreamError(
      'run_expired',
      'The run is over, and its events are not kept any more.',
    );
  }
  return { runId, local, kept };
}

/** Whether it has ended. */
export function isOver({ local, kept }: FoundRun): boolean {
  return local ? local.run.ended : kept?.state === 'ended';
}

async function keptRun(runs: RunStore | undefined, runId: string): Promise<KeptRun | undefined> {
  if (runs === undefined) return undefined;
  try {
    const found = runs.find(runId).then((kept) => ({ kept }));
    const answer = await within(STORE_TIMEOUT, found);
    if (answer === undefined) throw new StoreError(`It did not answer within ${STORE_TIMEOUT} ms.`);
    return answer.kept;
  } catch (cause) {
    throw new ClaudeStreamError('store_unavailable', `The store failed: ${described(cause)}`, {
      cause,
    });
  }
}
