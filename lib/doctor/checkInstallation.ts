import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { commandFor } from '../claude/command.js';
import { startProcess } from '../claude/process.js';
import type { ErrorCode } from '../errors.js';
import type { Encoder } from '../formats/format.js';
import type { Outcome } from '../outcome.js';
import { createRunId, Run } from '../run.js';
import { type Finding, isFailed } from './finding.js';
import { runBriefly } from './runBriefly.js';

export interface InstallationOptions {
  /** The executable. Default `'claude'`. */
  readonly command?: string | undefined;
  /** Whether a word is asked for, which costs a fraction of a cent. Default `true`. */
  readonly asks?: boolean | undefined;
}

const OLDEST_NODE = 20;

const ELSEWHERE =
  'npm install -g @anthropic-ai/claude-code\nclaudeStream({ command: "/path/to/claude" })    // if it is somewhere else';

/** Characters of what a command says that are shown. */
const LONGEST_QUOTE = 200;

/** The versions of the CLI with which everything is tested. */
const TESTED = ['2.1.197', '2.1.330'];

/** What is needed on this machine, in the order in which one thing needs the other. */
export async function checkInstallation({
  command = 'claude',
  asks = true,
}: InstallationOptions = {}): Promise<Finding[]> {
  const findings: Finding[] = [];
  const steps = [
    { name: 'Node', check: async () => checkNode() },
    { name: 'Claude Code', check: async () => checkCommand(command) },
    { name: 'version', check: () => checkVersion(command) },
    { name: 'login', check: () => checkLogin(command) },
    ...(asks ? [{ name: 'answer', check: () => checkAnswer(command) }] : []),
  ];
  for (const { name, check } of steps) {
    // A login that cannot be told may still be one, which the answer shows.
    const isHopeless = findings.some((one) => isFailed(one) && one.name !== 'login');
    findings.push(
      isHopeless
        ? { name, status: 'skipped', what: 'It needs what failed before.' }
        : { name, ...(await check()) },
    );
  }
  const answers = findings.some(({ name, status }) => name === 'answer' && status === 'ok');
  return findings.map((finding) =>
    answers && finding.name === 'login' && isFailed(finding)
      ? {
          name: 'login',
          status: 'warning',
          what: 'It says that it is not logged in, but it answers.',
        }
      : finding,
  );
}

type Found = Omit<Finding, 'name'>;

function checkNode(): Found {
  const { node } = process.versions;
  if (Number(node.split('.')[0]) >= OLDEST_NODE) return { status: 'ok', what: node };
  return {
    status: 'failed',
    what: `${node} is too old.`,
    remedy: `Install Node ${OLDEST_NODE} or later.`,
  };
}

function checkCommand(command: string): Found {
  const path = pathOf(command, process.env.PATH ?? '');
  const own = pathOf(command, pathWithoutNpm());
  if (path !== undefined && path !== own) {
    const finds = own === undefined ? 'does not find it' : `finds ${own} instead`;
    return {
      status: 'warning',
      what: `${path}, which npx has put on its own PATH: a server that is started by node ${finds}.`,
      remedy: `claudeStream({ command: ${JSON.stringify(path)} })`,
    };
  }
  if (path !== undefined) return { status: 'ok', what: path };
  return {
    status: 'failed',
    what: command.includes('/')
      ? `${command} is no executable file.`
      : `There is no "${command}" on the PATH of this process.`,
    remedy: ELSEWHERE,
  };
}

/** npm and npx put the commands of the project, and of what they have downloaded, before everything else. */
function pathWithoutNpm(): string {
  const { PATH = '', npm_execpath: npm } = process.env;
  if (npm === undefined) return PATH;
  const folders = PATH.split(delimiter);
  return folders.filter((folder) => !/[\\/]node_modules[\\/]/.test(folder)).join(delimiter);
}

function pathOf(command: string, path: string): string | undefined {
  const folders = command.includes('/') ? [''] : path.split(delimiter);
  return folders
    .map((folder) => (folder === '' ? command : join(folder, command)))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}

async function checkVersion(command: string): Promise<Found> {
  try {
    const { stdout } = await runBriefly(command, ['--version']);
    const [, version] = /^(\d+\.\d+\.\d+) \(Claude Code\)$/m.exec(stdout) ?? [];
    if (version === undefined) {
      return {
        status: 'failed',
        what: `It answers "${stdout.trim().slice(0, LONGEST_QUOTE)}". Is it Claude Code?`,
        remedy: ELSEWHERE,
      };
    }
    if (isOlder(version, String(TESTED[0]))) {
      return {
        status: 'warning',
        what: `${version} is older than what is tested (${TESTED.join(', ')}).`,
        remedy: 'npm install -g @anthropic-ai/claude-code',
      };
    }
    return { status: 'ok', what: version };
  } catch (error) {
    return {
      status: 'failed',
      what: `It cannot tell its version: ${messageOf(error)}`,
      remedy: ELSEWHERE,
    };
  }
}

function isOlder(version: string, other: string): boolean {
  return version.localeCompare(other, 'en', { numeric: true }) < 0;
}

async function checkLogin(command: string): Promise<Found> {
  try {
    // What it says is nobody's business: its exit code is enough.
    const { code } = await runBriefly(command, ['auth', 'status']);
    if (code === 0) return { status: 'ok', what: 'It is logged in.' };
    const what =
      'It is not logged in, as the user that runs this and with the variables that a server gives it.';
    return { status: 'failed', what, remedy: LOG_IN };
  } catch (error) {
    return {
      status: 'failed',
      what: `It cannot tell its login: ${messageOf(error)}`,
      remedy: LOG_IN,
    };
  }
}

/** Has one word said, and tells how long the first line and the first token took. */
async function checkAnswer(command: string): Promise<Found> {
  const id = createRunId();
  const trial = new Run(
    id,
    {
      deadlines: {
        queue: false,
        firstMessage: 60_000,
        idle: 120_000,
        total: 180_000,
        background: false,
        permission: false,
      },
      exitGrace: 2_000,
      maxLineLength: 2 ** 26,
      maxLogBytes: 2 ** 20,
    },
    () => silent,
  );
  const options = { command, tools: [], args: ['--no-session-persistence'] };
  try {
    const turn = { content: 'Reply with the word ok and nothing else.' };
    await trial.start(() => startProcess(commandFor(options, turn, id, process.env)));
  } catch (error) {
    return { status: 'failed', what: messageOf(error), remedy: BY_HAND };
  }
  const outcome = await trial.outcome;
  await trial.closed;
  return answerFound(outcome);
}

function answerFound(outcome: Outcome): Found {
  const { timeToFirstMessageMs: line, timeToFirstTokenMs: token, stderrTail } = outcome;
  if (outcome.status === 'success' && token === undefined) {
    return {
      status: 'warning',
      what: `First line after ${line} ms, and it ended without a word.`,
      remedy: BY_HAND,
    };
  }
  if (outcome.status === 'success') {
    return { status: 'ok', what: `First line after ${line} ms, first token after ${token} ms.` };
  }
  const stderr = stderrTail.trim();
  return {
    status: 'failed',
    what: `${outcome.message} (${outcome.code})${stderr === '' ? '' : `\n${stderr}`}`,
    remedy: remedies[outcome.code] ?? BY_HAND,
  };
}

const LOG_IN =
  'Run `claude` once as the user that runs the server and log in, or give the server ANTHROPIC_API_KEY.';

const BY_HAND = 'Run `claude -p ok` by hand, in the same directory and as the same user.';

const remedies: Partial<Record<ErrorCode, string>> = {
  not_logged_in: LOG_IN,
  billing: 'Look at the billing page of the account.',
  rate_limited:
    'Wait, or use an account with a higher limit; `concurrency` keeps a server below it.',
  overloaded: 'Wait and try again; `fallbackModel` names another model for such times.',
  first_message_timeout:
    'Run `claude -p ok` by hand. It may wait for an MCP server, or for a network that a proxy variable (HTTPS_PROXY) does not reach.',
};

const silent: Encoder = { waiting: () => {}, message: () => {}, end: () => {} };

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
