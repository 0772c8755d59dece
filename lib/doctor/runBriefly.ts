import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { environmentFor } from '../claude/command.js';
import { within } from '../within.js';

/** How long it may take, in ms. */
const TIMEOUT = 20_000;

/** Characters of its output that are kept. */
const LONGEST_OUTPUT = 65_536;

/**
 * Runs a command to its end, with the environment that a server would give it; nothing of it stays behind.
 *
 * @throws Error when it cannot be started, or has not ended in time
 */
export async function runBriefly(
  command: string,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly stdout: string }> {
  const child = spawn(command, args, {
    // A group of its own: it may be a script, and what a script has started would outlive it.
    detached: true,
    env: environmentFor(process.env, {}),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let stdout = '';
  let isLate = false;
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Nothing of it is left.
    }
  };
  const timer = setTimeout(() => {
    isLate = true;
    kill();
  }, TIMEOUT);
  process.once('exit', kill);
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (stdout.length < LONGEST_OUTPUT) stdout += text;
  });
  try {
    await once(child, 'exit');
    kill();
    // Whatever has left the group and holds its end of the pipe is not waited for.
    if (!child.stdout.closed) await within(1_000, once(child.stdout, 'close'));
    if (isLate) throw new Error(`It did not end within ${TIMEOUT / 1_000} s.`);
    return { code: child.exitCode, stdout };
  } finally {
    child.stdout.destroy();
    clearTimeout(timer);
    process.off('exit', kill);
  }
}
