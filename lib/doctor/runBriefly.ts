import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { environmentFor, RUN_ID_VARIABLE } from '../claude/command.js';
import { descendantsNow, killNow } from '../claude/descendants.js';
import { createRunId } from '../run.js';
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
  const id = createRunId();
  const child = spawn(command, args, {
    env: environmentFor(process.env, { [RUN_ID_VARIABLE]: id }),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let stdout = '';
  let isLate = false;
  // It may be a script, and what a script has started would outlive it.
  const kill = () => {
    const isAlive = child.exitCode === null && child.signalCode === null;
    const descendants = descendantsNow([{ root: isAlive ? child.pid : undefined, runId: id }]);
    child.kill('SIGKILL');
    killNow(descendants);
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
    // What cannot be killed and holds its end of the pipe is not waited for.
    if (!child.stdout.closed) await within(1_000, once(child.stdout, 'close'));
    if (isLate) throw new Error(`It did not end within ${TIMEOUT / 1_000} s.`);
    return { code: child.exitCode, stdout };
  } finally {
    child.stdout.destroy();
    clearTimeout(timer);
    process.off('exit', kill);
  }
}
