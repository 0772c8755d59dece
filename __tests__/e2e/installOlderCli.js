// @ts-check
/**
 * Before the end-to-end tests: builds dist/, which the server in a process of its own loads, and installs the older
 * of the two CLIs that the tests run. The newer one is a dev dependency.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const olderVersion = '2.1.197';

/** @param {{ rootDir: string }} jest */
export default async function installOlderCli({ rootDir }) {
  const cache = join(rootDir, 'node_modules', '.cache', 'claude-stream');
  const prefix = join(cache, `claude-code-${olderVersion}`);
  await mkdir(prefix, { recursive: true });
  await rm(join(cache, 'figures.jsonl'), { force: true });
  await run(process.execPath, ['build.js'], { cwd: rootDir });
  if (await works(join(prefix, 'node_modules', '.bin', 'claude'))) return;
  const wanted = `@anthropic-ai/claude-code@${olderVersion}`;
  const flags = ['--no-save', '--no-audit', '--no-fund'];
  await run('npm', ['install', '--prefix', prefix, ...flags, wanted], { cwd: rootDir });
}

/** @param {string} command */
async function works(command) {
  try {
    const { stdout } = await run(command, ['--version'], { timeout: 30_000 });
    return stdout.startsWith(olderVersion);
  } catch {
    return false;
  }
}
