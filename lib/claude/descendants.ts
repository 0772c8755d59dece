import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import createDebug from 'debug';
import { RUN_ID_VARIABLE } from './command.js';

const debug = createDebug('claude-stream:process');

/** A process and when it started; the two together outlast the reuse of a pid. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: string;
}

interface ProcessRow extends ProcessIdentity {
  readonly parent: number;
  /** The run that the process belongs to, as its environment says; unknown where there is no /proc. */
  readonly runId: string | undefined;
}

/** Files of /proc that are read at once. A busy machine has thousands, and a server needs its descriptors. */
const READERS = 16;

/**
 * A process has no environment for a moment while it loads its program, and if its parent died in that moment it is
 * nobody's child either. How often, and after how many ms, one that is younger than a second is looked at again; one
 * that was started without an environment costs that much.
 */
const LOADING_LOOKS = 5;
const LOADING_PAUSE = 5;
const LOADING_SECONDS = 1;

/** Per second; the same on every architecture that Node supports. */
const CLOCK_TICKS = 100;

/** How often, and after how many ms, a file is tried again when the server has no descriptor left. */
const RETRIES = 50;
const RETRY_PAUSE = 20;

/**
 * Every process of a run below `root`, `root` not included; without a `root`, those whose environment names the run.
 *
 * A tool of the CLI runs in a session and process group of its own, so only the tree tells what belongs to a run;
 * and the tree forgets a process whose parent has died. On Linux such a process is still found by its environment,
 * which all processes of a run inherit. Elsewhere `ps` gives the tree alone.
 */
export async function descendantsOf(
  root: number | undefined,
  runId: string,
): Promise<ProcessIdentity[]> {
  return familyOf(await processTable(), root, runId);
}

function familyOf(
  rows: readonly ProcessRow[],
  root: number | undefined,
  runId: string,
): ProcessIdentity[] {
  const children = new Map<number, ProcessRow[]>();
  for (const row of rows) {
    const siblings = children.get(row.parent);
    if (siblings) siblings.push(row);
    else children.set(row.parent, [row]);
  }
  const family = new Set(rows.filter((row) => row.runId === runId).map(({ pid }) => pid));
  if (root !== undefined) family.add(root);
  for (const pid of family) {
    for (const child of children.get(pid) ?? []) family.add(child.pid);
  }
  return rows.filter(({ pid }) => pid !== root && family.has(pid));
}

/** Kills those of `processes` that are still the processes they were. */
export async function killProcesses(processes: readonly ProcessIdentity[]): Promise<void> {
  if (processes.length === 0) return;
  const startTimes = new Map((await processTable()).map(({ pid, startTime }) => [pid, startTime]));
  for (const { pid, startTime } of processes) {
    if (startTimes.get(pid) === startTime) kill(pid);
  }
}

/** The same at once, for several runs, while the server exits. Empty where there is no /proc. */
export function descendantsNow(
  runs: readonly { readonly root: number | undefined; readonly runId: string }[],
): ProcessIdentity[] {
  if (process.platform !== 'linux' || runs.length === 0) return [];
  const rows = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const file = (part: string) => readNow(`/proc/${name}/${part}`);
      return procRow(name, file('stat'), file('environ')) ?? [];
    });
  return runs.flatMap(({ root, runId }) => familyOf(rows, root, runId));
}

/** Kills processes that were listed a moment ago. */
export function killNow(processes: readonly ProcessIdentity[]): void {
  for (const { pid } of processes) kill(pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // Gone meanwhile, or another user's (sudo); neither may save the others.
    debug('%d could not be killed: %o', pid, error);
  }
}

function readNow(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

let running: Promise<ProcessRow[]> | undefined;
let next: Promise<ProcessRow[]> | undefined;

/**
 * The process table as it is now or will be in a moment. Sixty clients that leave at once share a reading, but never
 * one that had begun before they asked: it might not have what they look for.
 */
function processTable(): Promise<ProcessRow[]> {
  if (running === undefined) {
    running = readProcessTable().finally(() => {
      running = undefined;
    });
    return running;
  }
  next ??= running.then(() => {
    next = undefined;
    return processTable();
  });
  return next;
}

/** Empty where there is no process table: then the ladder has only the CLI itself to go by. */
async function readProcessTable(): Promise<ProcessRow[]> {
  try {
    return process.platform === 'linux' ? await procRows() : await psRows();
  } catch (error) {
    debug('no process table: %o', error);
    return [];
  }
}

async function procRows(): Promise<ProcessRow[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const rows: ProcessRow[] = [];
  const read = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      const row = await loadedRow(name);
      if (row) rows.push(row);
    }
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return rows;
}

async function loadedRow(name: string): Promise<ProcessRow | undefined> {
  for (let look = 1; ; look++) {
    const stat = await readOrNothing(`/proc/${name}/stat`);
    const environment = await readOrNothing(`/proc/${name}/environ`);
    const row = procRow(name, stat, environment);
    if (row === undefined || environment !== '' || look === LOADING_LOOKS) return row;
    if (uptime() - Number(row.startTime) / CLOCK_TICKS > LOADING_SECONDS) return row;
    await delay(LOADING_PAUSE);
  }
}

function procRow(name: string, stat: string, environment: string): ProcessRow | undefined {
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, parent] = fields;
  const startTime = fields[19];
  // A zombie is dead; it only waits for its parent to ask how it died.
  if (startTime === undefined || state === 'Z') return undefined;
  const variable = environment.split('\0').find((entry) => entry.startsWith(`${RUN_ID_VARIABLE}=`));
  return {
    pid: Number(name),
    parent: Number(parent),
    startTime,
    runId: variable?.slice(RUN_ID_VARIABLE.length + 1),
  };
}

/** Empty when the process has ended meanwhile or belongs to another user. */
async function readOrNothing(path: string): Promise<string> {
  for (let attempt = 0; attempt < RETRIES; attempt++) {
    try {
      return await readFile(path, 'latin1');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EMFILE' && code !== 'ENFILE') return '';
      await delay(RETRY_PAUSE);
    }
  }
  debug('%s could not be read: no file descriptor left', path);
  return '';
}

async function psRows(): Promise<ProcessRow[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,stat=,lstart=']);
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, state, startTime] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.+)$/.exec(line) ?? [];
    if (startTime === undefined || state?.startsWith('Z')) return [];
    return [{ pid: Number(pid), parent: Number(parent), startTime, runId: undefined }];
  });
}
