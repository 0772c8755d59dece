import { descendantsNow, killNow, type ProcessIdentity } from './descendants.js';
import type { ClaudeProcess } from './process.js';

/** The processes of this server. */
const alive = new Set<ClaudeProcess>();

/**
 * Has a process killed, with everything that it has started, should the server exit first: nobody would be left to do
 * it. There is one listener for all of them, and none while there are none.
 */
export function killAtExit(child: ClaudeProcess): void {
  if (alive.size === 0) process.on('exit', killAll);
  alive.add(child);
  void child.exited.then(() => {
    alive.delete(child);
    if (alive.size === 0) process.off('exit', killAll);
  });
}

/** At an exit nothing that takes a turn of the event loop happens any more. */
function killAll(): void {
  const roots = [...alive].filter((child) => child.exit === undefined);
  const runs = roots.map(({ pid, id }) => ({ root: pid, runId: id }));
  const descendants: ProcessIdentity[] = descendantsNow(runs);
  for (const child of roots) child.kill('SIGKILL');
  killNow(descendants);
  // What was started meanwhile still names its run.
  killNow(descendantsNow(runs.map(({ runId }) => ({ root: undefined, runId }))));
}
