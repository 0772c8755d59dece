/** Compiles lib/ twice, to ESM and to CommonJS with types, so that both kinds of application load it as their own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');

rmSync('dist', { recursive: true, force: true });
/** @type {[name: string, type: string, flags: string[]][]} */
const outputs = [
  ['esm', 'module', []],
  [
    'cjs',
    'commonjs',
    ['--module', 'commonjs', '--moduleResolution', 'bundler', '--verbatimModuleSyntax', 'false'],
  ],
];
for (const [name, type, flags] of outputs) {
  const outDir = join('dist', name);
  mkdirSync(outDir, { recursive: true });
  writeFileSync(join(outDir, 'package.json'), `{"type":"${type}"}\n`);
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', outDir, ...flags], {
    stdio: 'inherit',
  });
}
