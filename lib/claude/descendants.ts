import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import createDebug from 'debug';

const debug = createDebug('claude-stream:process');

/** A process and when it started; the two together outlast the reuse of a pid. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

interface ProcessRow extends ProcessIdentity {
  readonly parent: number;
}

/**
 * Every process below `root`, `root` not included; without a `root`, those that `variable` tells.
 *
 * A tool of the CLI runs in a session and process group of its own, so only the tree tells what belongs to a run;
 * and the tree forgets a process whose parent has died. On Linux such a process is still found by `variable`, an
 * environment entry (`NAME=value`) that all processes of a run inherit. Elsewhere `ps` gives the tree alone.
 */
export async function descendantsOf(
  root: number | undefined,
  variable: string,
): Promise<ProcessIdentity[]> {
  const rows = await processRows();
  const family = new Set(root === undefined ? [] : [root]);
  const byParent = new Map<number, ProcessRow[]>();
  for (const row of rows) {
    const siblings = byParent.get(row.parent);
    if (siblings) siblings.push(row);
    else byParent.set(row.parent, [row]);
  }
  for (const pid of family) {
    for (const child of byParent.get(pid) ?? []) family.add(child.pid);
  }
  if (process.platform === 'linux') {
    await Promise.all(
      rows.map(async ({ pid }) => {
        if (!family.has(pid) && (await hasVariable(pid, variable))) family.add(pid);
      }),
    );
  }
  return rows.filter(({ pid }) => pid !== root && family.has(pid));
}

/** Kills those of `processes` that are still the processes they were. */
export async function killProcesses(processes: Iterable<ProcessIdentity>): Promise<void> {
  const rows = await processRows();
  const startTimes = new Map(rows.map(({ pid, startTime }) => [pid, startTime]));
  for (const { pid, startTime } of processes) {
    if (startTimes.get(pid) !== startTime) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // Gone meanwhile, or another user's (sudo); neither may save the others.
      debug('%d: %o', pid, error);
    }
  }
}

/** The process table; empty where there is none (Windows): then nothing but the CLI itself can be ended. */
async function processRows(): Promise<ProcessRow[]> {
  try {
    return process.platform === 'linux' ? await procRows() : await psRows();
  } catch (error) {
    debug('no process table: %o', error);
    return [];
  }
}

async function procRows(): Promise<ProcessRow[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const rows = await Promise.all(names.map(procRow));
  return rows.filter((row) => row !== undefined);
}

async function procRow(name: string): Promise<ProcessRow | undefined> {
  const stat = await readOrNothing(`/proc/${name}/stat`);
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent] = fields;
  const startTime = fields[19];
  // A zombie is dead; it only waits for its parent to ask how it died.
  if (startTime === undefined || state === 'Z') return undefined;
  return { pid: Number(name), parent: Number(parent), startTime };
}

async function hasVariable(pid: number, variable: string): Promise<boolean> {
  const environment = await readOrNothing(`/proc/${pid}/environ`);
  return environment.split('\0').includes(variable);
}

/** Empty when the process has ended meanwhile or belongs to another user. */
async function readOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1');
  } catch {
    return '';
  }
}

async function psRows(): Promise<ProcessRow[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,stat=,lstart=']);
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, state, startTime] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+)$/.exec(line) ?? [];
    if (startTime === undefined || state?.startsWith('Z')) return [];
    return [{ pid: Number(pid), parent: Number(parent), startTime }];
  });
}
