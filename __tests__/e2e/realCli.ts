import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ClaudeStreamOptions } from 'claude-stream';
import { startScriptedModel } from '../../examples/scriptedModel.js';
import { afterTest } from './afterTest';
import { nobodyHome } from './processes';

const modules = join(__dirname, '../../node_modules');

/** The CLI in the two versions that users run; the older one is installed before the tests. */
export const cli = {
  '2.1.330': join(modules, '.bin/claude'),
  '2.1.197': join(modules, '.cache/claude-stream/claude-code-2.1.197/node_modules/.bin/claude'),
};

export type Version = keyof typeof cli;
export const versions = Object.keys(cli) as Version[];

export interface RealCli {
  /** The CLI's working directory, in which `notes.md` lies. */
  readonly cwd: string;
  /** What the middleware needs to run this CLI against the scripted model. */
  readonly options: ClaudeStreamOptions;
  /** What the CLI has asked the model so far. */
  readonly requests: readonly ModelRequest[];
  /** The files in which the CLI keeps its sessions, by their ids. */
  sessionFiles(): Promise<ReadonlyMap<string, string>>;
}

/** A body that the CLI has posted to the model. */
export interface ModelRequest {
  readonly model: string;
  readonly system?: unknown;
  readonly tools?: readonly { readonly name: string }[];
  readonly messages: readonly { readonly role: string; readonly content: unknown }[];
}

/** A scripted model with an empty home and a working directory for the CLI; the test's end removes them. */
export async function startRealCli(version: Version): Promise<RealCli> {
  const model = await startScriptedModel();
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-e2e-'));
  const [home, cwd] = [join(directory, 'home'), join(directory, 'project')];
  afterTest(async () => {
    await model.close();
    // The CLI may still write its last files while the directory is being removed.
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  // Before that, and after the server was closed, whichever test it was.
  afterTest(() => nobodyHome(home, 3_000));
  await mkdir(home);
  await mkdir(cwd);
  await writeFile(join(cwd, 'notes.md'), 'Buy milk.\n');
  return {
    cwd,
    requests: model.requests,
    async sessionFiles() {
      const projects = join(home, '.claude/projects');
      const files = await readdir(projects, { recursive: true }).catch(() => []);
      return new Map(
        files
          .filter((file) => file.endsWith('.jsonl'))
          .map((file) => [basename(file, '.jsonl'), join(projects, file)]),
      );
    },
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
