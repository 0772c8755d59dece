import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterTest } from './afterTest';

const nginx = '/usr/sbin/nginx';

/**
 * Starts nginx on the loopback in front of a server and settles with its origin; the test's end stops it.
 *
 * The proxying is nginx's default: HTTP/1.0 to the server, and a buffer for what comes back.
 *
 * @param directives more of them, each with its semicolon
 */
export async function startNginx(upstreamPort: number, directives = ''): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-nginx-'));
  const port = await freePort();
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = `
    # One process, which its pid stops.
    master_process off;
    pid ${directory}/nginx.pid;
    error_log ${directory}/error.log;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n')}
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://127.0.0.1:${upstreamPort};
          ${directives}
        }
      }
    }`;
  const file = join(directory, 'nginx.conf');
  await writeFile(file, configuration);
  const started = spawn(
    nginx,
    ['-p', directory, '-e', join(directory, 'error.log'), '-c', file, '-g', 'daemon off;'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let complaint = '';
  started.stderr.on('data', (data) => {
    complaint += data;
  });
  const exited = once(started, 'exit');
  afterTest(async () => {
    started.kill('SIGTERM');
    await exited;
    await rm(directory, { recursive: true, force: true });
  });
  while (!(await listens(port))) {
    if (started.exitCode !== null) throw new Error(`nginx does not start: ${complaint}`);
    await delay(10);
  }
  return `http://127.0.0.1:${port}`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
