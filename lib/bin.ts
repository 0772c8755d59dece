#!/usr/bin/env node
import { validateHeaderValue } from 'node:http';
import { parseArgs } from 'node:util';
import { checkInstallation } from './doctor/checkInstallation.js';
import { checkPath } from './doctor/checkPath.js';
import { isFailed } from './doctor/finding.js';
import { asJson, asTable, type Section } from './doctor/report.js';

const usage = `claude-stream doctor [options] [url …]

Without a URL: whether Claude Code can be run on this machine. It asks the model for one word.
With the URL of streamProbe(), app.get('/probe', streamProbe()): what the hops on the way do to a stream.
With several, from the application outwards: which of the hops it is.

  --command=<path>     the executable of the CLI (claude)
  --no-ask             does not ask the model
  --silence=<seconds>  finds out how long a connection may be silent, up to so many seconds
  --header=<name: value>  sent to the probe; may be repeated
  --json               for programs
  --help

Exit code: 0 when all is well, 1 when something failed, 2 when the command line is wrong.
`;

/** Seconds; a probe is silent for no longer. */
const LONGEST_SILENCE = 900;

const ofThisMachine = ['command', 'no-ask'] as const;
const ofPaths = ['silence', 'header'] as const;

interface Task {
  readonly urls: readonly string[];
  readonly command: string | undefined;
  readonly asks: boolean;
  readonly silence: number | undefined;
  readonly headers: Record<string, string>;
  readonly json: boolean;
}

/** @throws Error in words, for whoever has written the command line */
function readTask(args: string[]): Task | undefined {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      command: { type: 'string' },
      'no-ask': { type: 'boolean' },
      silence: { type: 'string' },
      header: { type: 'string', multiple: true },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return undefined;
  const [name, ...urls] = positionals;
  if (name !== 'doctor')
    throw new Error(name ? `There is no command "${name}".` : 'Which command?');
  for (const url of urls) {
    if (!/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : '')) {
      throw new Error(`"${url}" is no http(s) URL.`);
    }
  }
  const seconds = values.silence === undefined ? undefined : Number(values.silence);
  if (seconds !== undefined && !(seconds >= 1 && seconds <= LONGEST_SILENCE)) {
    throw new Error(`--silence must be a number of seconds from 1 to ${LONGEST_SILENCE}.`);
  }
  const isPath = urls.length > 0;
  for (const name of isPath ? ofThisMachine : ofPaths) {
    if (values[name] === undefined) continue;
    throw new Error(
      `--${name} is for ${isPath ? 'this machine: give no URL' : 'the URL of a probe'}.`,
    );
  }
  return {
    urls,
    command: values.command,
    asks: values['no-ask'] !== true,
    silence: seconds && Math.round(seconds * 1_000),
    headers: Object.fromEntries((values.header ?? []).map(readHeader)),
    json: values.json === true,
  };
}

function readHeader(text: string): [string, string] {
  const [, name = '', value = ''] = /^([\w-]+): *(.+)$/.exec(text) ?? [];
  if (name === '') throw new Error(`--header must be "name: value", not "${text}".`);
  validateHeaderValue(name, value);
  return [name, value];
}

async function examine({ urls, silence, headers, ...options }: Task): Promise<Section[]> {
  if (urls.length === 0) return [{ url: undefined, findings: await checkInstallation(options) }];
  const sections: Section[] = [];
  for (const url of urls) {
    sections.push({ url, findings: await checkPath(url, { silence, headers }) });
  }
  return sections;
}

async function main(args: string[]): Promise<number> {
  let task: Task | undefined;
  try {
    task = readTask(args);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    return 2;
  }
  if (task === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  const sections = await examine(task);
  process.stdout.write(task.json ? asJson(sections) : asTable(sections));
  return sections.some(({ findings }) => findings.some(isFailed)) ? 1 : 0;
}

// Whoever reads the output may have seen enough.
process.stdout.on('error', () => {});
// By an exit, so that nothing that was started stays behind.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
});
