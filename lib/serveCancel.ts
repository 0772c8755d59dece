import type { Request, Response } from 'express';
import { ClaudeStreamError } from './errors.js';
import { findRun } from './findRun.js';
import type { Format } from './formats/format.js';
import type { LiveRun } from './liveRun.js';
import type { Settings } from './options.js';
import { summaryOf } from './outcome.js';
import { concludeLost } from './replay.js';
import { sendJson } from './sendJson.js';
import { answerError, runIdOf } from './serveReplay.js';
import type { Service } from './service.js';
import type { RunStore } from './stores/store.js';
import { within } from './within.js';

/** How long a run may take to end, in ms: each of the ladder's three rungs takes up to 2 s. */
const LONGEST_STOP = 10_000;

/**
 * Stops a run, on whichever instance it is, and answers with how it ended. Again, or too late, it answers the same.
 *
 * @throws what the application's own `authorize` function throws
 */
export async function serveCancel(
  service: Service,
  request: Request,
  response: Response,
): Promise<void> {
  const { settings } = service;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  try {
    const { runId, local, kept } = await findRun(service, request, runIdOf(request));
    const body = local
      ? await stopHere(local)
      : await stopElsewhere(settings, runId, kept?.end, gone.signal);
    response.setHeader('Claude-Run-Id', runId);
    const answer = body
      ? { status: 200, body }
      : { status: 202, body: { runId, status: 'stopping' } };
    sendJson(response, answer, settings.stallTimeout);
  } catch (error) {
    answerError(service, request, response, error);
  }
}

async function stopHere({ run }: LiveRun): Promise<object | undefined> {
  run.stop('cancelled');
  return within(LONGEST_STOP, run.outcome.then(summaryOf));
}

async function stopElsewhere(
  { runStore: runs, format }: Settings,
  runId: string,
  end: string | undefined,
  gone: AbortSignal,
): Promise<object | undefined> {
  if (runs === undefined) return undefined;
  const givingUp = new AbortController();
  const giveUp = () => givingUp.abort();
  gone.addEventListener('abort', giveUp);
  try {
    if (end !== undefined) return JSON.parse(end);
    const stopped = runs.cancel(runId).then(() => endOf({ runs, runId, format }, givingUp.signal));
    return await within(LONGEST_STOP, stopped);
  } catch (cause) {
    throw new ClaudeStreamError('store_unavailable', `The store failed: ${cause}`, { cause });
  } finally {
    gone.removeEventListener('abort', giveUp);
    giveUp();
  }
}

async function endOf(
  run: { readonly runs: RunStore; readonly runId: string; readonly format: Format },
  signal: AbortSignal,
): Promise<object | undefined> {
  const { runs, runId } = run;
  let after = (await runs.find(runId))?.last ?? 0;
  while (!signal.aborted) {
    const page = await runs.read(runId, after, signal).catch((error) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    if (page?.kind === 'ended') return JSON.parse(page.end);
    // Nobody is left to stop it: it is over.
    if (page?.kind === 'lost') return concludeLost(run, page.last + 1);
    if (page?.kind !== 'frames') return undefined;
    after = page.first + page.frames.length - 1;
  }
  return undefined;
}
