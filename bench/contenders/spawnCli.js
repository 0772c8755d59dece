// @ts-check
import { spawn } from 'node:child_process';

const MESSAGE = { type: 'user', message: { role: 'user', content: 'hi' } };

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
// The real CLI may be in the middle of a turn, and does not end with its stdin then.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/**
 * Starts the CLI as the hand-written contenders do, with the prompt on its stdin.
 * @param {import('../server.js').Setting} setting @param {import('express').Response} response
 */
export function spawnCli({ command, env }, response) {
  const flags = ['-p', '--input-format=stream-json', '--output-format=stream-json', '--verbose'];
  const child = spawn(command, [...flags, '--include-partial-messages'], {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  running.add(child);
  child.on('close', () => running.delete(child));
  child.on('error', () => response.destroy());
  child.stdin.on('error', () => undefined);
  response.on('close', () => child.kill());
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const line = `${JSON.stringify(MESSAGE)}\n`;
  // A fake CLI that is to stay does so until its stdin is closed.
  if (env.BENCH_STAYS) child.stdin.write(line);
  else child.stdin.end(line);
  return child.stdout;
}
