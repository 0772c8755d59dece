import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterTest } from './afterTest';
import { ask } from './client.js';
import { startRealCli, versions } from './realCli';
import { serve } from './serve';

const secret = 'the-secret-of-the-server';

/** A file outside of the working directory. */
async function secretFile(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-secret-'));
  afterTest(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'secret.txt');
  await writeFile(path, secret);
  return path;
}

describe.each(versions)('a file that a client of %s mentions', (version) => {
  const bodies: [string, (path: string) => object][] = [
    ['prompt', (path) => ({ prompt: `see @${path} please` })],
    ['quoted', (path) => ({ prompt: `@"${path}"` })],
    [
      'parts',
      (path) => ({
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'see' },
              { type: 'text', text: `@${path}` },
            ],
          },
        ],
      }),
    ],
    [
      'history',
      (path) => ({
        messages: [
          { role: 'user', content: `@${path}` },
          { role: 'assistant', content: `@${path}` },
          { role: 'user', content: 'hello' },
        ],
      }),
    ],
  ];

  test.each(bodies)('does not reach the model: %s', async (_where, bodyWith) => {
    const { options, requests } = await startRealCli(version);
    const server = await serve({ ...options, tools: [] });
    const path = await secretFile();
    await ask(server.url, bodyWith(path));
    expect(requests.length).toBeGreaterThan(0);
    expect(JSON.stringify(requests)).toContain('secret.txt');
    expect(JSON.stringify(requests)).not.toContain(secret);
  });

  test('reaches it when the application allows it', async () => {
    const { options, requests } = await startRealCli(version);
    const server = await serve({ ...options, tools: [], fileMentions: true });
    await ask(server.url, { prompt: `see @${await secretFile()} please` });
    expect(JSON.stringify(requests)).toContain(secret);
  });
});
