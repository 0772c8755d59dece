import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClaudeStreamOptions } from 'claude-stream';
import { startScriptedModel } from '../../examples/scriptedModel.js';
import { afterTest } from './afterTest';

const modules = join(__dirname, '../../node_modules');

/** The CLI in the two versions that users run; the older one is installed before the tests. */
export const cli = {
  '2.1.330': join(modules, '.bin/claude'),
  '2.1.197': join(modules, '.cache/claude-stream/claude-code-2.1.197/node_modules/.bin/claude'),
};

export type Version = keyof typeof cli;
export const versions = Object.keys(cli) as Version[];

export interface RealCli {
  /** What the middleware needs to run this CLI against the scripted model. */
  readonly options: ClaudeStreamOptions;
  /** What the CLI has asked the model so far. */
  readonly requests: readonly ModelRequest[];
}

export interface ModelRequest {
  readonly messages: readonly { readonly role: string; readonly content: unknown }[];
}

/** A scripted model with an empty home and a working directory for the CLI; the test's end removes them. */
export async function startRealCli(version: Version): Promise<RealCli> {
  const model = await startScriptedModel();
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-e2e-'));
  afterTest(async () => {
    await model.close();
    // The CLI may still write its last files while the directory is being removed.
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  const [home, cwd] = [join(directory, 'home'), join(directory, 'project')];
  await mkdir(home);
  await mkdir(cwd);
  await writeFile(join(cwd, 'notes.md'), 'Buy milk.\n');
  return {
    requests: model.requests,
    options: {
      command: cli[version],
      cwd,
      allowedTools: ['Read', 'Bash', 'Agent', 'Task'],
      env: {
        HOME: home,
        ANTHROPIC_BASE_URL: model.url,
        ANTHROPIC_API_KEY: 'scripted',
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
        DISABLE_AUTOUPDATER: '1',
        NO_PROXY: '127.0.0.1',
        // Of whoever runs the tests: never to be used here.
        ANTHROPIC_AUTH_TOKEN: undefined,
        CLAUDE_CODE_OAUTH_TOKEN: undefined,
        CLAUDE_CONFIG_DIR: undefined,
      },
    },
  };
}
