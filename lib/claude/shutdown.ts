import { setTimeout as delay } from 'node:timers/promises';
import createDebug from 'debug';
import { descendantsOf, killProcesses, type ProcessIdentity } from './descendants.js';
import type { ClaudeProcess } from './process.js';

const debug = createDebug('claude-stream:process');

/**
 * How long each rung may take, in ms. An interrupted CLI is gone within 210 ms, but 2.1.330 takes 1 530 ms now and then
 * when a tool was running; it must not be killed while it leaves in order.
 */
const INTERRUPT_GRACE = 2_000;
const TERMINATE_GRACE = 2_000;
const KILL_GRACE = 2_000;

/**
 * How long survivors are looked for, and the pause between two looks, in ms: a process can start another while it is
 * being killed, and takes its time to die on a busy machine.
 */
const SURVIVOR_GRACE = 2_000;
const SURVIVOR_PAUSE = 20;

/**
 * The one way to stop a run's process. Settles when nothing of the run is alive; never rejects.
 *
 * The ladder: `interrupt` and closed stdin, which ends the turn and leaves the session resumable; then SIGTERM; then
 * SIGKILL. A Bash tool's processes outlive their CLI at SIGKILL (and at SIGTERM on 2.1.197) and are then children
 * of pid 1, so the descendants are listed before each rung and killed after the last.
 */
export async function shutdown(process: ClaudeProcess): Promise<void> {
  const descendants = new Map<string, ProcessIdentity>();
  const list = async () => {
    // The pid of a process that has exited may be another's by now.
    const root = process.exit === undefined ? process.pid : undefined;
    const found = await descendantsOf(root, process.id);
    for (const one of found) descendants.set(`${one.pid} ${one.startTime}`, one);
    return found;
  };

  await list();
  if (process.exit === undefined && process.stdinOpen) {
    process.send({
      type: 'control_request',
      request_id: 'claude-stream-interrupt',
      request: { subtype: 'interrupt' },
    });
    process.closeStdin();
    await exitWithin(process, INTERRUPT_GRACE);
  }
  for (const [signal, grace] of [
    ['SIGTERM', TERMINATE_GRACE],
    ['SIGKILL', KILL_GRACE],
  ] as const) {
    if (process.exit !== undefined) break;
    await list();
    process.kill(signal);
    await exitWithin(process, grace);
  }
  const deadline = performance.now() + SURVIVOR_GRACE;
  while (performance.now() < deadline) {
    await killProcesses([...descendants.values()]);
    if ((await list()).length === 0) return;
    await delay(SURVIVOR_PAUSE);
  }
  debug('%d: descendants still alive: %o', process.pid, [...descendants.values()]);
}

/** Settles at the exit of the process, or after `ms`. */
export async function exitWithin(process: ClaudeProcess, ms: number): Promise<void> {
  const timer = new AbortController();
  await Promise.race([
    process.exited.finally(() => timer.abort()),
    delay(ms, undefined, { signal: timer.signal }).catch(() => undefined),
  ]);
}
