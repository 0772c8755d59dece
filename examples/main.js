// @ts-check
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/**
 * Starts an example if Node was started with its file, and not if a test imports it. It ends in order when the process is
 * asked to.
 * @param {string} moduleUrl `import.meta.url` of the example
 * @param {() => Promise<{ close(): Promise<void> }>} start
 */
export function main(moduleUrl, start) {
  // Resolved, since the file may be started through a link or without its extension.
  const [, started] = process.argv;
  if (!started || require.resolve(started) !== fileURLToPath(moduleUrl)) return;
  start().then(untilSignal).catch(fail);
}

/** @param {{ close(): Promise<void> }} server */
function untilSignal(server) {
  const stop = () => {
    // A second signal meets the default and ends the process, should closing take too long.
    process.off('SIGINT', stop).off('SIGTERM', stop);
    server.close().then(() => process.exit(0), fail);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

/** @param {unknown} error */
function fail(error) {
  console.error(error);
  process.exit(1);
}
