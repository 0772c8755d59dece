// @ts-check
/** The other packages that serve Claude Code over HTTP. No developer needs them, so the benchmark installs them itself. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const packages = ['@anthropic-ai/claude-agent-sdk@0.3.331', 'claude-max-api-proxy@1.0.0'];

const cache = fileURLToPath(new URL('../node_modules/.cache/claude-stream/', import.meta.url));
const folder = join(cache, 'bench-peers');
/** Named after the versions and written last: an install that was cut off is done again. */
const note = join(folder, `${packages.join(' ').replace(/[^\w.]+/g, '-')}.installed`);

/** How long an install may take, in ms. */
const PATIENCE = 120_000;

/** The module of an installed peer. @param {string} path within node_modules */
export function importPeer(path) {
  return import(join(folder, 'node_modules', path));
}

export function peersInstalled() {
  return existsSync(note);
}

/** @param {AbortSignal} signal @returns {Promise<string | undefined>} why they could not be installed, if they could not */
export async function installPeers(signal) {
  if (peersInstalled()) return undefined;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  // The CLI that the SDK brings along (235 MB) is an optional dependency, and not what is measured.
  const flags = '--no-save --no-audit --no-fund --loglevel=error --omit=optional --ignore-scripts';
  try {
    const install = ['install', '--prefix', folder, ...flags.split(' '), ...packages];
    await run('npm', install, { cwd: folder, timeout: PATIENCE, signal });
  } catch (error) {
    return String(error).split('\n')[0];
  }
  await writeFile(note, '');
  return undefined;
}
