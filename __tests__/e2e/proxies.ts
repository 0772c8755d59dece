import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterTest } from './afterTest';

const nginx = '/usr/sbin/nginx';
const caddy = '/usr/bin/caddy';

const snippets = join(__dirname, '../../examples/open-webui');

/**
 * Starts nginx on the loopback in front of a server and settles with its origin; the test's end stops it.
 *
 * The proxying is nginx's default: HTTP/1.0 to the server, and a buffer for what comes back.
 *
 * @param directives more of them, each with its semicolon
 */
export async function startNginx(upstreamPort: number, directives = ''): Promise<string> {
  const port = await freePort();
  return runNginx(
    port,
    `server {
      listen 127.0.0.1:${port};
      location / {
        proxy_pass http://127.0.0.1:${upstreamPort};
        ${directives}
      }
    }`,
  );
}

/** nginx with the server block that the examples recommend; only the ports are others. */
export async function startRecommendedNginx(upstreamPort: number): Promise<string> {
  const port = await freePort();
  const snippet = await readFile(join(snippets, 'nginx.conf'), 'utf8');
  return runNginx(
    port,
    replaced(snippet, {
      'listen 80;': `listen 127.0.0.1:${port};`,
      '127.0.0.1:3000': `127.0.0.1:${upstreamPort}`,
    }),
  );
}

async function runNginx(port: number, serverBlock: string): Promise<string> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return run(
    nginx,
    port,
    (directory) => `
      # One process, which its pid stops.
      master_process off;
      pid ${directory}/nginx.pid;
      error_log ${directory}/error.log;
      events {}
      http {
        access_log off;
        ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n')}
        ${serverBlock}
      }`,
    (directory, file) => [
      ...['-p', directory, '-e', join(directory, 'error.log')],
      ...['-c', file, '-g', 'daemon off;'],
    ],
  );
}

/** Caddy with the Caddyfile that the examples recommend; only the ports are others, and there is no certificate. */
export async function startRecommendedCaddy(upstreamPort: number): Promise<string> {
  const port = await freePort();
  const snippet = await readFile(join(snippets, 'Caddyfile'), 'utf8');
  const site = replaced(snippet, {
    'claude.example.com {': `http://127.0.0.1:${port} {\n\tbind 127.0.0.1`,
    '127.0.0.1:3000': `127.0.0.1:${upstreamPort}`,
  });
  return run(
    caddy,
    port,
    () => `{\n\tadmin off\n}\n${site}`,
    (_directory, file) => ['run', '--adapter', 'caddyfile', '--config', file],
  );
}

/** Caddy with a certificate that it has signed itself, which nobody trusts, also not this machine. */
export async function startUntrustedCaddy(upstreamPort: number): Promise<string> {
  const port = await freePort();
  const global = '{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}';
  const site = `https://localhost:${port} {\n\tbind 127.0.0.1\n\ttls internal\n\treverse_proxy 127.0.0.1:${upstreamPort}\n}`;
  await run(
    caddy,
    port,
    () => `${global}\n${site}\n`,
    (_directory, file) => ['run', '--adapter', 'caddyfile', '--config', file],
  );
  return `https://localhost:${port}`;
}

/** Each of the texts stands in a snippet exactly once, or the test would run something else. */
function replaced(snippet: string, texts: Record<string, string>): string {
  return Object.entries(texts).reduce((result, [text, other]) => {
    expect(result.split(text)).toHaveLength(2);
    return result.replace(text, other);
  }, snippet);
}

/** Runs a proxy in a directory of its own until the test's end. */
async function run(
  command: string,
  port: number,
  configuration: (directory: string) => string,
  args: (directory: string, file: string) => string[],
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'claude-stream-proxy-'));
  const file = join(directory, 'configuration');
  await writeFile(file, configuration(directory));
  const started = spawn(command, args(directory, file), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, HOME: directory, XDG_DATA_HOME: directory },
  });
  let complaint = '';
  started.stderr.on('data', (data) => {
    complaint += data;
  });
  const exited = once(started, 'close').catch((error) => {
    complaint += `${error}; is it installed?`;
  });
  afterTest(async () => {
    started.kill('SIGTERM');
    await exited;
    await rm(directory, { recursive: true, force: true });
  });
  while (!(await listens(port))) {
    if (started.exitCode !== null || started.pid === undefined)
      throw new Error(`${command} does not start: ${complaint}`);
    await delay(10);
  }
  return `http://127.0.0.1:${port}`;
}

export async function freePort(): Promise<number> {
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
