import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes, statusOf } from '../lib/errors';
import { optionNames, readRouterOptions, routerOptionNames } from '../lib/options';

const read = (path: string) => readFileSync(join(__dirname, '..', path), 'utf8');
const readme = read('README.md');

/** The names in the first column of the tables of one section, with the second column of their row. */
function rowsOf(section: string): [name: string, second: string][] {
  const [, rest = ''] = readme.split(`\n## ${section}\n`);
  const [body = ''] = rest.split('\n## ');
  return body
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => {
      const [, first = '', second = ''] = line.split('|');
      return [...first.matchAll(/`(\w+)`/g)].map(([, name = '']): [string, string] => [
        name,
        second.trim(),
      ]);
    });
}

/** A default as the README writes it: `'status'`, 15 000, 64 KiB. */
function inNumbers(written: string): string {
  const [, amount, unit] = /^([\d ]+)(?: (KiB|MiB))?$/.exec(written) ?? [];
  if (amount === undefined) return written.replace(/[`']/g, '');
  return String(
    Number(amount.replaceAll(' ', '')) * (unit ? 1_024 ** (unit === 'KiB' ? 1 : 2) : 1),
  );
}

describe('README', () => {
  it('has every option, and invents none', () => {
    const documented = rowsOf('Options').map(([name]) => name);
    expect(documented.sort()).toEqual([...optionNames, ...routerOptionNames].sort());
  });

  it('has every error code with its status, and invents none', () => {
    const documented = Object.fromEntries(rowsOf('Errors'));
    expect(documented).toEqual(
      Object.fromEntries(errorCodes.map((code) => [code, String(statusOf(code))])),
    );
  });

  it('has every option of the client and every code of its errors, and invents none', () => {
    const [, rest = ''] = readme.split('\n### A client that comes back by itself\n');
    const [section = ''] = rest.split('\n### ');
    const optionsOf = (path: string) =>
      [...read(path).matchAll(/^ {2,8}readonly (\w+)\??: (?!undefined)/gm)].map(([, name]) => name);
    const [, table = ''] = section.split('\n| option of `streamClaude`');
    const rows = table.split('\n').filter((line) => line.startsWith('| `'));
    const documented = rows.flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`(\w+)/g)].map(([, name]) => name),
    );
    expect(documented.sort()).toEqual([...new Set(optionsOf('lib/client/streamClaude.ts'))].sort());
    const [, sentence = ''] = /`readEvents` has (.+)/.exec(section) ?? [];
    const named = [...sentence.matchAll(/`(\w+)(?:\(\w*\))?`/g)].map(([, name]) => name);
    const [head = ''] = read('lib/client/readEvents.ts').split('\n}\n');
    const options = [...head.matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name]) => name);
    expect(named.sort()).toEqual(options.sort());
    const [, union = ''] =
      /type ClientErrorCode =([^;]+);/.exec(read('lib/client/clientError.ts')) ?? [];
    const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => `\`${code}\``);
    expect(codes.length).toBeGreaterThan(3);
    const [row = ''] = section.split('\n').filter((line) => line.startsWith('| `ClientError`'));
    for (const code of codes) expect(row).toContain(code);
  });

  it('has every default', () => {
    const { deadlines, ...settings } = readRouterOptions();
    const defaults = { ...settings, ...deadlines };
    const shown = {
      ...Object.fromEntries(rowsOf('Options')),
      ...Object.fromEntries(rowsOf('Timeouts')),
    };
    const names = [
      'maxPromptBytes',
      'keepAlive',
      'exitGrace',
      'stallTimeout',
      'highWaterMark',
    ] as const;
    const more = [
      'disconnectGrace',
      'coalesce',
      'maxLogBytes',
      'maxLineLength',
      'exposeErrors',
      'toolDisplay',
    ] as const;
    const router = ['maxBodyBytes', 'taskModel'] as const;
    const admission = ['warm', 'concurrency', 'maxQueue'] as const;
    const waits = ['queue', 'firstMessage', 'idle', 'total', 'background', 'permission'] as const;
    for (const name of [...names, ...more, ...router, ...admission, ...waits]) {
      expect(`${name} ${inNumbers(shown[name] ?? '')}`).toBe(`${name} ${defaults[name]}`);
    }
  });

  it('shows the server that stands in examples/basic.js', () => {
    const [, code] = read('examples/basic.js').split('// @ts-check\n');
    expect(readme).toContain(`\`\`\`js\n${code}\`\`\``);
  });

  it('names the two commands, and CI runs the second word for word', () => {
    expect(readme).toContain('`npm install && npm start`');
    expect(readme).toContain('`npm install && npm test`');
    expect(read('.ci/run')).toContain('\nnpm install && npm test\n');
  });

  it('draws the rooms that are there', () => {
    const [, rest = ''] = readme.split('\n    lib/\n');
    const picture = rest.split('\n\n')[0] ?? '';
    const drawn = [...picture.matchAll(/^ {6}(\w+)(?:\.ts|\/)/gm)].map(([, name]) => name);
    const rooms = readdirSync(join(__dirname, '..', 'lib')).map((name) => name.replace('.ts', ''));
    expect(drawn.sort()).toEqual(rooms.sort());
    for (const folder of [
      'claude',
      'client',
      'conversations',
      'doctor',
      'formats',
      'sse',
      'stores',
    ]) {
      for (const file of readdirSync(join(__dirname, '..', 'lib', folder))) {
        expect(picture).toContain(file.replace('.ts', ''));
      }
    }
  });
});
