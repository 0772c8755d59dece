// @ts-check
/**
 * Has any script run Claude Code as the other examples do, without a change to it: where no `claude` is logged in, the one
 * of this checkout is first on the PATH, and a scripted model answers it.
 *
 *     node --import ./examples/withScriptedModel.js examples/basic.js
 */
import { delimiter, dirname } from 'node:path';
import { chooseSetting } from './setting.js';

const setting = await chooseSetting();
const { command, cwd, env } = setting.options;
if (command !== undefined && cwd !== undefined) {
  const path = `${dirname(command)}${delimiter}${process.env.PATH}`;
  Object.assign(process.env, env, { PATH: path });
  process.chdir(cwd);
}
console.log(setting.description);

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(signal, () => setting.close().finally(() => process.exit(0)));
}
