import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterTest } from './afterTest';
import { nobodyHome } from './processes';

export const chromium = '/usr/bin/chromium';

export const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-proxy-server',
  // Only to be ended with; without it a headless Chromium ends when the page is loaded.
  '--remote-debugging-port=0',
];

/** Opens a page in a Chromium that has never seen one; the test's end closes it. */
export async function openInChromium(url: string): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'claude-stream-chromium-'));
  const browser = spawn(chromium, [...flags, `--user-data-dir=${join(home, 'profile')}`, url], {
    stdio: 'ignore',
    env: { PATH: process.env.PATH, HOME: home },
  });
  const closed = once(browser, 'close');
  afterTest(async () => {
    browser.kill('SIGTERM');
    await closed;
    await nobodyHome(home, 5_000);
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  });
  await once(browser, 'spawn');
}
