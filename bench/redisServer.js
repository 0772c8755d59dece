// @ts-check
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** How long it may take to be ready, in ms. */
const PATIENCE = 10_000;

/**
 * Starts a Redis of its own, on a socket in `directory`, which keeps nothing on disk.
 * @param {string} directory
 * @returns {Promise<{ socket: string, stop(): Promise<void> } | undefined>} `undefined` where Redis is not installed
 */
export async function startRedis(directory) {
  const socket = join(directory, 'redis.sock');
  const flags = ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no'];
  const child = spawn('redis-server', [...flags, '--dir', directory], { stdio: 'ignore' });
  let isGone = false;
  const gone = new Promise((resolve) => {
    const settle = () => {
      isGone = true;
      resolve(undefined);
    };
    child.once('error', settle);
    child.once('exit', settle);
  });
  // A benchmark that dies must not leave a server behind.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    kill();
    await gone;
    process.off('exit', kill);
  };
  for (let waited = 0; waited < PATIENCE && !isGone; waited += 20) {
    if (await accepts(socket)) return { socket, stop };
    await delay(20);
  }
  await stop();
  return undefined;
}

/** @param {string} path */
async function accepts(path) {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
