import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes, statusOf } from '../lib/errors';
import { optionNames } from '../lib/options';

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

describe('README', () => {
  it('has every option, and invents none', () => {
    const documented = rowsOf('Options').map(([name]) => name);
    expect(documented.sort()).toEqual([...optionNames].sort());
  });

  it('has every error code with its status, and invents none', () => {
    const documented = Object.fromEntries(rowsOf('Errors'));
    expect(documented).toEqual(
      Object.fromEntries(errorCodes.map((code) => [code, String(statusOf(code))])),
    );
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
    const [, picture = ''] = readme.split('    lib/\n');
    for (const [, file] of picture.split('\n\n')[0]?.matchAll(/^ {6}(\w+\.ts)/gm) ?? []) {
      expect(() => read(`lib/${file}`)).not.toThrow();
    }
  });
});
