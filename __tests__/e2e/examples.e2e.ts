import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcomeOf, post } from '../chatServer';
import { startRedisServer } from '../redisServer';
import { afterTest } from './afterTest';

const root = join(__dirname, '../..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const [, table = ''] = readme.split('\n## Examples\n');
const lines = [...(table.split('\n## ')[0] ?? '').matchAll(/^\| `(.+?)` \|/gm)].map(
  ([, line = '']) => line,
);

/**
 * Runs a line of the README as somebody would who has Node and nothing else: no `claude` is on the PATH.
 *
 * @returns when it says at which URL it can be asked
 */
async function runLine(line: string, env: Record<string, string>) {
  // npm itself ends with the signal, however its script did.
  const command = line === 'npm start' ? manifest.scripts.start : line;
  const program = spawn('/bin/sh', ['-c', `exec env ${command}`], {
    cwd: root,
    env: { PATH: `${join(process.execPath, '..')}:/usr/bin:/bin`, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(program, 'close');
  afterTest(async () => {
    if (program.exitCode !== null || program.signalCode !== null) return;
    program.kill('SIGKILL');
    await closed;
  });
  return { url: await urlOf(program), program, closed };
}

async function urlOf({ stdout }: ChildProcess): Promise<string> {
  let said = '';
  if (stdout === null) throw new Error('It has no output.');
  for await (const text of stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    said += text;
    const [url] = /http:\/\/127\.0\.0\.1:\d+[\w/]*/.exec(said) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error(`It ended, and had said: ${said}`);
}

it('the README has a line for each example', () => {
  expect(lines).toHaveLength(8);
});

it.each(lines)(
  '%s starts as the README says, and ends with the signal of a deploy',
  async (line) => {
    const env: Record<string, string> = { PORT: '0' };
    if (line.includes('redis')) {
      const redis = await startRedisServer();
      afterTest(() => redis.close());
      env.REDIS_URL = `redis://127.0.0.1:${redis.port}`;
    }
    const { url, program, closed } = await runLine(line, env);
    if (line.includes('basic')) {
      const { text } = await post(url, { prompt: 'tool' });
      expect(outcomeOf(text)).toMatchObject({ status: 'success', turns: 2 });
      expect(text).toContain('Buy milk.');
    } else await fetch(url).then((response) => response.text());
    program.kill('SIGTERM');
    expect(await closed).toEqual([0, null]);
  },
);
