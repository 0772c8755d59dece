import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type CommandOptions, commandFor } from '../../lib/claude/command';
import { type Line, readLines } from '../../lib/claude/lines';
import { type ClaudeMessage, isStreamEvent } from '../../lib/claude/messages';
import { type ClaudeProcess, startProcess } from '../../lib/claude/process';

/** A fixture executable, started as a run starts the CLI. */
export interface FixtureProcess extends ClaudeProcess {
  /** Every line so far. */
  readonly lines: readonly Line[];
  /** The first message that fits; rejects when stdout ends without one. */
  message(fits: (message: ClaudeMessage) => boolean): Promise<ClaudeMessage>;
  /** The text of the first delta, which comes when the fixture is ready. */
  firstText(): Promise<string>;
  /** Settles when stdout has ended. */
  readonly ended: Promise<void>;
}

export const fixturePath = (name: string) => join(__dirname, `../fixtures/${name}.js`);

const started: FixtureProcess[] = [];

/** Starts a fixture with `env` for its environment and reads its stdout, unless `read` is false. */
export async function startFixture(
  name: string,
  env: Record<string, string> = {},
  { read = true, ...options }: CommandOptions & { read?: boolean } = {},
): Promise<FixtureProcess> {
  const command = { command: fixturePath(name), env, ...options };
  const process = await startProcess(
    commandFor(command, { content: 'hello' }, randomUUID(), globalThis.process.env),
  );
  const lines: Line[] = [];
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) listener();
  };
  let over = false;
  const ended = new Promise<void>((resolve) => {
    const reader = readLines(
      2 ** 26,
      (line) => {
        lines.push(line);
        tell();
      },
      () => {
        over = true;
        tell();
        resolve();
      },
    );
    if (!read) return;
    process.stdout.on('data', (chunk: Buffer) => reader.write(chunk));
    process.stdout.once('end', () => reader.end());
  });
  const message = (fits: (message: ClaudeMessage) => boolean) =>
    new Promise<ClaudeMessage>((resolve, reject) => {
      const look = () => {
        const found = lines.find((line) => line.kind === 'message' && fits(line.message));
        if (found?.kind === 'message') {
          listeners.delete(look);
          resolve(found.message);
        } else if (over) {
          reject(new Error(`${name} ended without the message. stderr: ${process.stderrTail}`));
        }
      };
      listeners.add(look);
      look();
    });
  const fixture = Object.assign(process, {
    lines,
    ended,
    message,
    firstText: async () => {
      const delta = await message((one) => isStreamEvent(one) && one.event.delta !== undefined);
      return (isStreamEvent(delta) && delta.event.delta?.text) || '';
    },
  });
  started.push(fixture);
  return fixture;
}

/** The text of the first delta, which in some fixtures is a list of pids. */
export async function pidsOf(fixture: FixtureProcess): Promise<[own: number, other: number]> {
  return JSON.parse(await fixture.firstText());
}

/** Kills the fixtures that are still there; for `afterEach`. */
export async function endFixtures(): Promise<void> {
  for (const fixture of started.splice(0)) {
    if (fixture.exit === undefined) fixture.kill('SIGKILL');
    await fixture.exited;
  }
}

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    // It went away between the two, or there is no /proc and the signal alone tells.
    return !existsSync('/proc/self');
  }
}

/** Settles when a process that is no child of the test is gone: a kill takes effect a moment after it was sent. */
export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await delay(5);
}

/** Kills a process that is no child of the test. */
export function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone, which is the aim.
  }
}
