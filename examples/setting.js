// @ts-check
/**
 * How the examples run Claude Code: with the account of whoever is logged in, or else against a scripted model, so that
 * everything can be tried.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startScriptedModel } from './scriptedModel.js';

const require = createRequire(import.meta.url);

/**
 * How the CLI is run, and what is to be stopped and removed afterwards.
 * @typedef {object} Setting
 * @property {string} description
 * @property {string[]} prompts
 * @property {Omit<import('claude-stream').ClaudeStreamOptions, 'format'>} options
 * @property {() => Promise<void>} close
 */

/**
 * Exit code 0 of `claude auth status` means logged in; its output is nobody's business.
 * @returns {Promise<boolean>}
 */
async function isLoggedIn() {
  const child = spawn('claude', ['auth', 'status'], { stdio: 'ignore', timeout: 10_000 });
  try {
    const [code] = await once(child, 'exit');
    return code === 0;
  } catch {
    return false;
  }
}

/** @returns {Setting} */
function useAccount() {
  return {
    description: 'Using the `claude` on your PATH, which is logged in: prompts cost real tokens.',
    prompts: ['Say hello.', 'What is in this directory?', 'Count slowly from one to twenty.'],
    options: {},
    close: async () => {},
  };
}

/** @returns {Promise<Setting>} */
async function useScriptedModel() {
  const model = await startScriptedModel();
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-'));
  const [home, cwd, bin] = [
    join(directory, 'home'),
    join(directory, 'project'),
    join(directory, 'bin'),
  ];
  for (const folder of [home, cwd, bin]) await mkdir(folder);
  await writeFile(join(cwd, 'notes.md'), 'Buy milk.\nWater the plants.\n');
  // By the name that one finds on a PATH.
  const command = join(bin, 'claude');
  const manifestPath = require.resolve('@anthropic-ai/claude-code/package.json');
  await symlink(join(dirname(manifestPath), require(manifestPath).bin.claude), command);
  return {
    description: [
      'There is no logged-in `claude` on your PATH (`claude auth status` says so), therefore the',
      'answers come from a scripted model on this machine. The CLI that runs is the real one.',
    ].join('\n'),
    prompts: [
      'hello',
      'tool',
      'tick 20 500',
      'think',
      'bash: date',
      'slow 20',
      'long 100000',
      'agent',
      'agent reading',
      'overloaded',
      'midfail once',
      'fail',
      'refuse',
      'maxtokens',
    ],
    options: {
      command,
      cwd,
      allowedTools: ['Read', 'Bash', 'Agent', 'Task'],
      env: {
        ANTHROPIC_BASE_URL: model.url,
        ANTHROPIC_API_KEY: 'scripted',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
        HOME: home,
      },
    },
    async close() {
      await model.close();
      // The CLI may still write its last files while the directory is being removed.
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** @returns {Promise<Setting>} */
export async function chooseSetting() {
  return (await isLoggedIn()) ? useAccount() : await useScriptedModel();
}
