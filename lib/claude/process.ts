import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import createDebug from 'debug';
import { ClaudeStreamError } from '../errors.js';
import { type Command, RUN_ID_VARIABLE } from './command.js';

const debug = createDebug('claude-stream:process');

/** Characters of stderr that are kept: the reason of a crash stands at the end. */
const STDERR_TAIL = 8 * 1024;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running CLI. Its stdin stays open until `closeStdin`: closing it early loses output. */
export interface ClaudeProcess {
  readonly pid: number;
  /** Stands in its environment (`RUN_ID_VARIABLE`) and in that of all that it starts: so its survivors are found. */
  readonly id: string;
  readonly stdout: Readable;
  /** Settles at the process's exit; its stdout may hold more bytes then. Never rejects. */
  readonly exited: Promise<Exit>;
  /** Set once the process has exited. */
  readonly exit: Exit | undefined;
  readonly stdinOpen: boolean;
  /** The last 8 192 characters of stderr. */
  readonly stderrTail: string;
  /** Writes one message to stdin; without effect once stdin is closed. */
  send(message: object): void;
  /** Writes whole lines to stdin; without effect once stdin is closed. */
  write(lines: string): void;
  closeStdin(): void;
  kill(signal: NodeJS.Signals): void;
  /** Whether the server stays for as long as the process does; it does by default. */
  keepsServer(keeps: boolean): void;
  /** Lets go of the pipes, which a process that inherited them could keep open for ever. */
  release(): void;
}

interface Started extends Pick<ClaudeProcess, 'pid' | 'id' | 'stdout'> {
  readonly stdin: Writable;
  readonly stderr: Readable;
}

/**
 * Starts the CLI and writes to its stdin how it is set up and what it is asked.
 *
 * @throws ClaudeStreamError `command_not_found`, `cwd_not_found` or `spawn_failed`
 */
export async function startProcess(command: Command): Promise<ClaudeProcess> {
  debug('spawn %s %o in %s', command.command, command.args, command.cwd ?? '.');
  let child: ChildProcess;
  try {
    child = spawn(command.command, command.args, {
      cwd: command.cwd,
      env: command.env,
      shell: false,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    if (child.pid === undefined) await once(child, 'spawn');
  } catch (error) {
    throw await spawnError(command, error as NodeJS.ErrnoException);
  }
  const { pid, stdin, stdout, stderr } = child;
  if (pid === undefined || stdin === null || stdout === null || stderr === null) {
    throw new ClaudeStreamError('spawn_failed', `${command.command} started without its pipes.`);
  }
  const id = command.env[RUN_ID_VARIABLE] ?? '';
  return observe(child, { pid, id, stdin, stdout, stderr }, `${command.setup}${command.prompt}`);
}

function observe(
  child: ChildProcess,
  { pid, id, stdin, stdout, stderr }: Started,
  firstLines: string,
): ClaudeProcess {
  let exit: Exit | undefined;
  let stderrTail = '';
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      debug('%d exited: code %o, signal %o', pid, code, signal);
      exit = { code, signal };
      resolve(exit);
    });
  });
  // After the spawn, 'error' means that a signal could not be sent; the ladder notices by itself.
  child.on('error', (error) => debug('%d: %o', pid, error));
  // EPIPE when the process went away first; its exit tells the story.
  stdin.on('error', (error) => debug('%d stdin: %o', pid, error));
  stdout.on('error', (error) => debug('%d stdout: %o', pid, error));
  stderr.on('error', (error) => debug('%d stderr: %o', pid, error));
  stderr.setEncoding('utf8').on('data', (text: string) => {
    debug('%d stderr: %s', pid, text);
    stderrTail = (stderrTail + text).slice(-STDERR_TAIL);
  });
  stdin.write(firstLines);

  return {
    pid,
    id,
    stdout,
    exited,
    get exit() {
      return exit;
    },
    get stdinOpen() {
      return stdin.writable;
    },
    get stderrTail() {
      return stderrTail;
    },
    send(message) {
      this.write(`${JSON.stringify(message)}\n`);
    },
    write(lines) {
      if (stdin.writable) stdin.write(lines);
    },
    closeStdin() {
      if (stdin.writable) stdin.end();
    },
    kill(signal) {
      debug('%d: %s', pid, signal);
      child.kill(signal);
    },
    keepsServer(keeps) {
      // Typed as mere streams; those of a child process are sockets.
      for (const handle of [child, ...([stdin, stdout, stderr] as Socket[])]) {
        if (keeps) handle.ref();
        else handle.unref();
      }
    },
    release() {
      stdin.destroy();
      stdout.destroy();
      stderr.destroy();
    },
  };
}

/** ENOENT is the command or the directory; only a look at the directory tells which. */
async function spawnError(
  { command, cwd }: Command,
  cause: NodeJS.ErrnoException,
): Promise<ClaudeStreamError> {
  if (cwd !== undefined && !(await isDirectory(cwd))) {
    return new ClaudeStreamError('cwd_not_found', `The working directory ${cwd} does not exist.`, {
      cause,
    });
  }
  if (cause.code === 'ENOENT') {
    return new ClaudeStreamError(
      'command_not_found',
      `The command ${command} was not found on the server's PATH. Install Claude Code with ` +
        '"npm install -g @anthropic-ai/claude-code", or name its path in the option "command".',
      { cause },
    );
  }
  if (cause.code === 'E2BIG') {
    return new ClaudeStreamError(
      'spawn_failed',
      'The arguments are too long for the operating system (on Linux 128 KiB each): shorten ' +
        'the options "settings", "mcpConfig" or "args", or write what is long into a file.',
      { cause },
    );
  }
  return new ClaudeStreamError(
    'spawn_failed',
    `The command ${command} could not be started: ${cause.message}.`,
    { cause },
  );
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
