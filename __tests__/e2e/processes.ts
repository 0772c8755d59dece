import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const pollInterval = 20;

/** A living process, as /proc shows it. */
export interface Process {
  readonly pid: number;
  /** Its arguments, joined with blanks. */
  readonly command: string;
}

/** Every living process that carries the run's id in its environment, or `marker` in its arguments. */
export function processesOf(runId: string, marker?: string): Process[] {
  return processesWith(`CLAUDE_STREAM_RUN_ID=${runId}`, marker);
}

/** Every living process that has this variable, written `NAME=value`, in its environment, or `marker` in its arguments. */
export function processesWith(variable: string, marker?: string): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const command = readOrNothing(`/proc/${name}/cmdline`).split('\0').join(' ').trim();
      const environment = readOrNothing(`/proc/${name}/environ`).split('\0');
      const belongs =
        environment.includes(variable) || (marker !== undefined && command.includes(marker));
      return belongs && isAlive(name) ? [{ pid: Number(name), command }] : [];
    });
}

/** Settles with the first process of the run whose arguments contain `words`. */
export async function processWith(runId: string, words: string, ms = 20_000): Promise<Process> {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = processesOf(runId).find(({ command }) => command.includes(words));
    if (found) return found;
    if (performance.now() > deadline) {
      throw new Error(`No process with "${words}" in ${ms} ms; the run's: ${shown(runId)}`);
    }
    await delay(pollInterval);
  }
}

/** Settles when no process of the run is alive, with the ms that it took; fails after `ms`. */
export async function nothingLeft(runId: string, ms: number, marker?: string): Promise<number> {
  const started = performance.now();
  for (;;) {
    const left = processesOf(runId, marker);
    const elapsed = performance.now() - started;
    if (left.length === 0) return elapsed;
    if (elapsed > ms) throw new Error(`Still alive after ${ms} ms: ${shown(runId, marker)}`);
    await delay(pollInterval);
  }
}

/** Settles when no process has this home, be it of a run or asked for the models; fails after `ms`. */
export async function nobodyHome(home: string, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    const left = processesWith(`HOME=${home}`);
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      for (const { pid } of left) kill(pid);
      throw new Error(`Still alive after the test: ${JSON.stringify(left, null, 1)}`);
    }
    await delay(pollInterval);
  }
}

/** Kills what a run has left behind. */
export function killAll(runId: string): void {
  for (const { pid } of processesOf(runId)) kill(pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readOrNothing(`/proc/${pid}/status`)) ?? [];
  if (kilobytes === undefined) throw new Error(`There is no process ${pid}.`);
  return Number(kilobytes) * 1_024;
}

function shown(runId: string, marker?: string): string {
  return JSON.stringify(processesOf(runId, marker), null, 1);
}

/** A zombie is dead; it only waits for its parent to ask how it died. */
function isAlive(pid: string): boolean {
  const [, state] = /^State:\s+(\S)/m.exec(readOrNothing(`/proc/${pid}/status`)) ?? [];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Empty when the process has ended meanwhile. */
function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
