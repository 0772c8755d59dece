import { exec, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { streamProbe } from 'claude-stream';
import compression from 'compression';
import express, { type RequestHandler } from 'express';
import { hopOf } from '../../lib/doctor/hop';
import { afterTest } from './afterTest';
import { startNginx, startUntrustedCaddy } from './proxies';
import { cli, startRealCli } from './realCli';

const bin = join(__dirname, '../../dist/esm/bin.js');

interface Report {
  readonly ok: boolean;
  readonly verdict: string;
  readonly sections: readonly { readonly findings: readonly Finding[] }[];
}

interface Finding {
  readonly name: string;
  readonly status: string;
  readonly what: string;
  readonly remedy?: string;
}

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the doctor as a shell would. */
function doctor(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env.PATH, HOME: '/nowhere', ...env } };
    const child = execFile(
      process.execPath,
      [bin, 'doctor', ...args],
      options,
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

async function examine(args: string[], env: Record<string, string> = {}) {
  const { code, stdout } = await doctor([...args, '--json'], env);
  const report: Report = JSON.parse(stdout);
  expect(report.ok).toBe(code === 0);
  const findings = report.sections.flatMap((section) => section.findings);
  const finding = (name: string) => findings.find((one) => one.name === name);
  const failed = findings.filter(({ status }) => status === 'failed').map(({ name }) => name);
  return { code, report, finding, failed };
}

/** An application with a probe; the test's end stops it. */
async function startProbe(...before: RequestHandler[]): Promise<number> {
  const app = express();
  for (const middleware of before) app.use(middleware);
  app.get('/probe', streamProbe());
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A middleware that has a header say something else. */
function withHeader(name: string, value: string): RequestHandler {
  return (_request, response, next) => {
    const { writeHead } = response;
    Object.assign(response, {
      writeHead: (status: number, headers: Record<string, string>) =>
        writeHead.call(response, status, { ...headers, [name]: value }),
    });
    next();
  };
}

/** The processes that have a word in their command line. */
async function processesWith(word: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(word));
}

const portOf = (origin: string) => Number(new URL(origin).port);

describe('the way to a probe', () => {
  test('without a hop streams', async () => {
    const port = await startProbe();
    const { code, report, finding } = await examine([`http://127.0.0.1:${port}/probe`]);
    expect(code).toBe(0);
    expect(report.verdict).toBe('All is well.');
    expect(finding('streams')).toMatchObject({ status: 'ok' });
  });

  test('through nginx as it is installed streams', async () => {
    const origin = await startNginx(await startProbe());
    const { code, failed } = await examine([`${origin}/probe`]);
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
  });

  test('through an nginx that buffers does not, and is told how to mend it', async () => {
    const buffering = 'proxy_ignore_headers X-Accel-Buffering;';
    const port = await startProbe();
    const origin = await startNginx(port, buffering);
    const { code, failed, finding } = await examine([`${origin}/probe`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['streams'] });
    expect(finding('streams')?.what).toMatch(
      /nginx, or a hop behind it, collects about \d\.\d KiB before it passes them on, and the headers with them/,
    );
    expect(finding('streams')?.remedy).toContain('proxy_buffering off;');
    // As the doctor says.
    const mended = await startNginx(port, `${buffering} proxy_buffering off;`);
    expect((await examine([`${mended}/probe`])).code).toBe(0);
  });

  test('through two nginx, of which the inner one keeps the header, and which of them it is', async () => {
    const port = await startProbe();
    const inner = await startNginx(port);
    const outer = await startNginx(portOf(inner));
    const { code, report, failed, finding } = await examine([
      `http://127.0.0.1:${port}/probe`,
      `${inner}/probe`,
      `${outer}/probe`,
    ]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['streams'] });
    expect(report.verdict).toBe(
      `Up to ${inner}/probe all is well: look at the hop between it and ${outer}/probe (streams).`,
    );
    expect(report.sections[2]?.findings.find(({ name }) => name === 'streams')?.remedy).toContain(
      'proxy_pass_header X-Accel-Buffering;',
    );
    expect(finding('reachable')?.status).toBe('ok');
    const mendedInner = await startNginx(port, 'proxy_pass_header X-Accel-Buffering;');
    const mended = await startNginx(portOf(mendedInner));
    expect((await examine([`${mended}/probe`])).code).toBe(0);
  });

  test('through an nginx that compresses is told so', async () => {
    const gzip = 'gzip on; gzip_http_version 1.0; gzip_proxied any; gzip_types text/event-stream;';
    const origin = await startNginx(await startProbe(), gzip);
    const { finding } = await examine([`${origin}/probe`]);
    expect(finding('not compressed')).toMatchObject({
      status: 'warning',
      what: expect.stringContaining('gzip'),
      remedy: expect.stringContaining('gzip off;'),
    });
  });

  test('through compression() streams, which heeds no-transform', async () => {
    const port = await startProbe(compression());
    const { code, failed, finding } = await examine([`http://127.0.0.1:${port}/probe`]);
    expect({ code, failed }).toEqual({ code: 0, failed: [] });
    expect(finding('not compressed')?.status).toBe('ok');
  });

  test('through compression() behind a middleware that takes no-transform away is held back', async () => {
    const careless = withHeader('Cache-Control', 'no-cache');
    const port = await startProbe(compression(), careless);
    const { code, failed, finding } = await examine([`http://127.0.0.1:${port}/probe`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['streams'] });
    expect(finding('not compressed')?.status).toBe('warning');
    expect(finding('streams')?.remedy).toContain('Find the hop');
  });

  test('that cuts silent connections after 5 s is found out', async () => {
    const origin = await startNginx(await startProbe(), 'proxy_read_timeout 5s;');
    const { code, failed, finding } = await examine([`${origin}/probe`, '--silence=20']);
    expect({ code, failed }).toEqual({ code: 1, failed: ['silence'] });
    expect(finding('silence')?.what).toMatch(
      /cuts a connection after (?:4\.9|5\.\d) s without a byte/,
    );
    expect(finding('silence')?.remedy).toContain('proxy_read_timeout 1h;');
    expect(finding('silence')?.remedy).toContain('keepAlive: 2000');
  });

  test('that drops silent connections without a word is found out by bisection', async () => {
    const port = await startProbe();
    const url = await startForgetful(port, 1_500);
    const { code, failed, finding } = await examine([url, '--silence=4']);
    expect({ code, failed }).toEqual({ code: 1, failed: ['silence'] });
    const [, limit] = /after ([\d.]+) s/.exec(finding('silence')?.what ?? '') ?? [];
    expect(Number(limit)).toBeGreaterThan(1.4);
    expect(Number(limit)).toBeLessThan(2.6);
  }, 120_000);

  test('that survives its silence is told so', async () => {
    const port = await startProbe();
    const url = `http://127.0.0.1:${port}/probe`;
    const { code, finding } = await examine([url, '--silence=2']);
    expect(code).toBe(0);
    expect(finding('silence')?.what).toBe('The connection survives 2.0 s without a byte.');
  });

  test.each([
    ['http://127.0.0.1:1/probe', /cannot be reached: .*ECONNREFUSED/],
    ['/nothing', /answers 404/],
    ['/page', /not with a probe: its content type is text\/html/],
    ['/other', /not with a probe: its content type is text\/event-stream/],
  ])('that leads nowhere is told so: %s', async (path, what) => {
    const page: RequestHandler = (request, response, next) => {
      if (request.path === '/page') response.type('html').send('<p>Hello');
      else if (request.path === '/other') {
        response
          .type('text/event-stream')
          .end('event: probe\ndata: {"n\n\nevent: probe\ndata: 1\n\n');
      } else next();
    };
    const port = await startProbe(page);
    const url = path.startsWith('http') ? path : `http://127.0.0.1:${port}${path}`;
    const { code, finding } = await examine([url]);
    expect(code).toBe(1);
    expect(finding('reachable')?.what).toMatch(what);
  });
});

describe('a silence', () => {
  test('is not to blame for a hop that ends every stream', async () => {
    const port = await startProbe();
    const limited = await startTcpHop(port, (socket) => {
      setTimeout(() => socket.end(), 4_000).unref();
    });
    const { code, failed, finding } = await examine([`${limited}/probe`, '--silence=8']);
    expect({ code, failed }).toEqual({ code: 1, failed: ['silence'] });
    expect(finding('silence')?.what).toMatch(
      /ends every stream after (?:3\.9|4\.\d) s, whatever is sent/,
    );
  }, 60_000);

  test.each([
    [503, 0],
    [429, 1_200],
  ])('is not what a %d after %d ms is', async (status, wait) => {
    const busy: RequestHandler = (request, response, next) => {
      if (request.query.silence === undefined) next();
      else setTimeout(() => response.status(status).end(), wait);
    };
    const port = await startProbe(busy);
    const { code, failed, finding } = await examine([
      `http://127.0.0.1:${port}/probe`,
      '--silence=3',
    ]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['silence'] });
    expect(finding('silence')).toMatchObject({
      what: `How long a connection may be silent could not be measured: it answers ${status}.`,
    });
    expect(finding('streams')?.status).toBe('ok');
  });

  test('that one of two instances refuses is measured by the other', async () => {
    let asked = 0;
    const half: RequestHandler = (_request, response, next) => {
      asked += 1;
      if (asked === 2) response.status(502).end();
      else next();
    };
    const port = await startProbe(half);
    const { finding } = await examine([`http://127.0.0.1:${port}/probe`, '--silence=1']);
    expect(finding('silence')?.what).toBe('The connection survives 1.0 s without a byte.');
  });

  test('is told of a hop that holds everything back, too, and what else it does stays told', async () => {
    const port = await startProbe();
    // It collects the whole answer, and resets the connection when nothing has come for so long.
    const collecting = await startTcpHop(port, (socket, through) => {
      const held: Buffer[] = [];
      const timer = setTimeout(() => {
        through.destroy();
        socket.resetAndDestroy();
      }, 1_500);
      through.removeAllListeners('data').on('data', (bytes) => {
        timer.refresh();
        held.push(bytes);
      });
      through.removeAllListeners('end').once('end', () => {
        clearTimeout(timer);
        socket.end(Buffer.concat(held));
      });
      socket.once('close', () => clearTimeout(timer));
    });
    const { code, failed, finding } = await examine([`${collecting}/probe`, '--silence=4']);
    expect({ code, failed }).toEqual({ code: 1, failed: ['streams', 'silence'] });
    const [, limit] =
      /cuts a connection after ([\d.]+) s/.exec(finding('silence')?.what ?? '') ?? [];
    expect(Number(limit)).toBeGreaterThanOrEqual(1.4);
    expect(Number(limit)).toBeLessThan(3);
  }, 60_000);

  test('is not what one connection is that was lost by accident', async () => {
    let connections = 0;
    const port = await startProbe();
    const origin = await startTcpHop(port, (socket) => {
      connections += 1;
      if (connections === 2) setTimeout(() => socket.resetAndDestroy(), 700).unref();
    });
    const { finding } = await examine([`${origin}/probe`, '--silence=2']);
    expect(finding('silence')?.what).toContain('it was cut off once, and once not');
  });

  test('is survived, though the hop does not pass on the end', async () => {
    const port = await startProbe();
    const open = await startEndless(port);
    const { failed, finding } = await examine([`${open}/probe?events=2&pause=0`, '--silence=1']);
    expect(failed).toEqual(['complete']);
    expect(finding('silence')?.what).toBe('The connection survives 1.0 s without a byte.');
  }, 60_000);
});

test('every line that is printed for nginx and Caddy is one that they take', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'claude-stream-doctor-'));
  afterTest(() => rm(folder, { recursive: true, force: true }));
  const run = promisify(execFile);
  const nginx = hopOf({ server: 'nginx' });
  const nginxConf = join(folder, 'nginx.conf');
  const location = [nginx.buffering, 'proxy_cache off;', nginx.idle, 'gzip off;'].join('\n');
  await writeFile(
    nginxConf,
    `pid ${folder}/pid; error_log ${folder}/log; events {} http { access_log off; server { listen 127.0.0.1:1; location / {
      proxy_pass http://127.0.0.1:1;
      ${location}
    } } }`,
  );
  await run('/usr/sbin/nginx', ['-t', '-c', nginxConf, '-p', folder]);
  expect(nginx.compression).toContain('gzip off;');
  const caddy = hopOf({ server: 'Caddy' });
  const caddyfile = join(folder, 'Caddyfile');
  await writeFile(
    caddyfile,
    `:1 {\n${caddy.compression}\nreverse_proxy 127.0.0.1:1 {\n${caddy.idle}\n}\n}\n`,
  );
  await run('/usr/bin/caddy', ['adapt', '--config', caddyfile]);
});

describe('a hop that looks well', () => {
  test('and leaves the connection open is found out', async () => {
    const port = await startProbe();
    const open = await startEndless(port);
    const { code, failed, finding } = await examine([`${open}/probe?events=2&pause=0`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['complete'] });
    expect(finding('complete')?.what).toMatch(/^All 2 events came, and 26\.\d s after/);
  }, 60_000);

  test('and calls the stream a text is found out', async () => {
    const plain = withHeader('Content-Type', 'text/plain');
    const port = await startProbe(plain);
    const { code, failed } = await examine([`http://127.0.0.1:${port}/probe`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['headers'] });
  });

  test('and ends the stream too early is found out', async () => {
    const port = await startProbe();
    const early = await startHop(port, (_bytes, { pass, end }) => {
      pass();
      setTimeout(end, 1_000).unref();
    });
    // nginx makes a clean end of what was cut off behind it.
    const origin = await startNginx(portOf(early));
    const { code, failed, finding } = await examine([`${origin}/probe`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['complete'] });
    expect(finding('complete')?.what).toMatch(/with \d+ of 24 events/);
  });

  test('and cuts silent connections in order is found out', async () => {
    const port = await startProbe();
    let timer: NodeJS.Timeout;
    const impatient = await startHop(port, (_bytes, { pass, end }) => {
      pass();
      clearTimeout(timer);
      timer = setTimeout(end, 900).unref();
    });
    const origin = await startNginx(portOf(impatient));
    const { code, failed, finding } = await examine([`${origin}/probe`, '--silence=3']);
    expect({ code, failed }).toEqual({ code: 1, failed: ['silence'] });
    expect(finding('silence')?.what).toMatch(/after (?:0\.9|1\.0) s without a byte/);
  });

  test('and is always one event behind is found out', async () => {
    const port = await startProbe();
    let held = Buffer.alloc(0);
    const behind = await startHop(port, (bytes, { write }) => {
      const last = bytes.lastIndexOf('event: probe');
      const whole = Buffer.concat([held, bytes]);
      const cut = last <= 0 ? held.length : held.length + last;
      write(whole.subarray(0, cut));
      held = whole.subarray(cut);
    });
    const { code, failed, finding } = await examine([`${behind}/probe`]);
    expect({ code, failed }).toEqual({ code: 1, failed: ['streams'] });
    expect(finding('streams')?.what).toContain('before a pause came only after it');
  });
});

interface Passing {
  pass(): void;
  write(bytes: Buffer): void;
  end(): void;
}

/** A hop that passes everything on, and may do otherwise with each connection. */
async function startTcpHop(
  targetPort: number,
  onConnection: (socket: Socket, through: Socket) => void,
): Promise<string> {
  // The other end may stay open when one has ended.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const through = connect(targetPort, '127.0.0.1');
    socket.pipe(through);
    through.on('data', (bytes) => socket.write(bytes));
    through.on('end', () => socket.end());
    for (const one of [socket, through]) one.on('error', () => {});
    socket.on('close', () => through.destroy());
    onConnection(socket, through);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A hop that passes on everything but the end. */
function startEndless(targetPort: number): Promise<string> {
  return startTcpHop(targetPort, (socket, through) => {
    through.removeAllListeners('end');
    through.removeAllListeners('data').on('data', (bytes) => {
      // All but the chunk that says that there are no more.
      socket.write(bytes.toString('latin1').replace(/0\r\n\r\n$/, ''), 'latin1');
    });
  });
}

/** A hop that does with what it gets from the application what it is told. */
async function startHop(
  targetPort: number,
  onBytes: (bytes: Buffer, passing: Passing) => void,
): Promise<string> {
  const server = createServer((socket) => {
    const through = connect(targetPort, '127.0.0.1');
    socket.pipe(through);
    through.on('data', (bytes) =>
      onBytes(bytes, {
        pass: () => socket.write(bytes),
        write: (some) => socket.write(some),
        end: () => {
          socket.end();
          through.destroy();
        },
      }),
    );
    through.on('end', () => {
      onBytes(Buffer.alloc(0), {
        pass: () => {},
        write: (rest) => socket.write(rest),
        end: () => {},
      });
      socket.end();
    });
    for (const one of [socket, through]) one.on('error', () => {});
    socket.on('close', () => through.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A proxy that forgets a connection on which nothing was sent for so many ms: neither end hears of it. */
async function startForgetful(targetPort: number, ms: number): Promise<string> {
  const server = createServer((socket) => {
    const through = connect(targetPort, '127.0.0.1');
    let isForgotten = false;
    const timer = setTimeout(() => {
      isForgotten = true;
    }, ms);
    socket.pipe(through);
    through.on('data', (bytes) => {
      if (isForgotten) return;
      timer.refresh();
      socket.write(bytes);
    });
    through.on('end', () => !isForgotten && socket.end());
    for (const one of [socket, through]) one.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      through.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/probe`;
}

/** An executable that does what a line of shell says; the test's end removes it. */
async function startScript(line: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'claude-stream-doctor-'));
  afterTest(() => rm(folder, { recursive: true, force: true }));
  const command = join(folder, 'claude');
  await writeFile(command, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  return command;
}

describe('this machine', () => {
  test('with the CLI and a model is ready', async () => {
    const { options } = await startRealCli('2.1.330');
    const env = options.env as Record<string, string>;
    const { report, finding } = await examine([`--command=${cli['2.1.330']}`], env);
    expect(report.sections[0]?.findings.map(({ name }) => name)).toEqual([
      'Node',
      'Claude Code',
      'version',
      'login',
      'answer',
    ]);
    expect(finding('version')).toMatchObject({ status: 'ok', what: '2.1.330' });
    expect(finding('answer')).toMatchObject({
      status: 'ok',
      what: expect.stringMatching(/^First line after \d+ ms, first token after \d+ ms\.$/),
    });
  });

  test('without the CLI is told how to get it, and the rest is left', async () => {
    const { code, stdout } = await doctor([], { PATH: '/nowhere' });
    expect(code).toBe(1);
    expect(stdout).toContain('✗ Claude Code  There is no "claude" on the PATH of this process.');
    expect(stdout).toContain('→ npm install -g @anthropic-ai/claude-code');
    expect(stdout).toContain('· version      It needs what failed before.');
    expect(stdout).toContain('Not ready: Claude Code.');
  });

  test('finds the CLI by a path that begins here', async () => {
    const { finding } = await examine(['--command=node_modules/.bin/claude', '--no-ask']);
    expect(finding('Claude Code')).toMatchObject({ status: 'ok' });
    expect(finding('version')?.what).toBe('2.1.330');
    const folder = await examine(['--command=/tmp', '--no-ask']);
    expect(folder.failed).toEqual(['Claude Code']);
  });

  test('with a CLI that does not end, nor when it is asked to, is told so, and nothing stays', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'claude-stream-doctor-'));
    afterTest(() => rm(folder, { recursive: true, force: true }));
    const command = join(folder, 'claude');
    const marker = `3${Date.now()}`;
    await writeFile(command, `#!/bin/sh\ntrap "" TERM\nsleep ${marker} & wait\n`, { mode: 0o755 });
    const { failed, finding } = await examine([`--command=${command}`, '--no-ask']);
    expect(failed).toEqual(['version']);
    expect(finding('version')?.what).toContain('did not end within 20 s');
    expect(await processesWith(marker)).toEqual([]);
  });

  test('is left as it was when the doctor is stopped', async () => {
    const { options } = await startRealCli('2.1.330');
    const mute = createServer();
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    afterTest(async () => {
      mute.close();
    });
    const env = {
      PATH: String(process.env.PATH),
      ...(options.env as Record<string, string>),
      ANTHROPIC_BASE_URL: `http://127.0.0.1:${(mute.address() as AddressInfo).port}`,
    };
    const args = [bin, 'doctor', `--command=${cli['2.1.330']}`];
    const child = spawn(process.execPath, args, { env, stdio: 'ignore' });
    // The CLI has asked the model, which never answers.
    const [socket] = (await once(mute, 'connection')) as [Socket];
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([143, null]);
    if (!socket.closed) await once(socket.resume(), 'close');
  });

  test.each([
    'echo',
    'echo 2.39.5',
    'echo "git version 2.39.5"',
    'exit 3',
    'kill -9 $$',
    'printf "%9999d" 1',
  ])(
    'with something else in its place is told so, and what to do: %s',
    async (script) => {
      const command = await startScript(script);
      const { failed, finding } = await examine([`--command=${command}`, '--no-ask']);
      expect(failed).toEqual(['version']);
      expect(finding('version')?.what).toContain('Is it Claude Code?');
      expect(finding('version')?.what.length).toBeLessThan(300);
      expect(finding('version')?.remedy).toContain('npm install -g');
    },
    60_000,
  );

  test('with a CLI that announces a newer one is told which it is', async () => {
    const command = await startScript('echo "Update available: 9.9.9"; echo "1.0.3 (Claude Code)"');
    const { finding } = await examine([`--command=${command}`, '--no-ask']);
    expect(finding('version')).toMatchObject({
      status: 'warning',
      what: expect.stringContaining('1.0.3 is older'),
    });
  });

  test('with a CLI that only npx can see is told so', async () => {
    const path = join(__dirname, '../../node_modules/.bin');
    const env = { PATH: `${path}:/usr/bin:/bin`, npm_execpath: '/x/npm-cli.js' };
    const { finding } = await examine(['--no-ask'], env);
    expect(finding('Claude Code')).toMatchObject({
      status: 'warning',
      remedy: `claudeStream({ command: "${path}/claude" })`,
    });
    const other = await startScript('echo "1.0.0 (Claude Code)"');
    const both = { ...env, PATH: `${path}:${join(other, '..')}` };
    expect((await examine(['--no-ask'], both)).finding('Claude Code')?.what).toContain(
      `finds ${other} instead`,
    );
    const { npm_execpath: _npm, ...own } = env;
    expect((await examine(['--no-ask'], own)).finding('Claude Code')?.status).toBe('ok');
  });
});

describe('the command line', () => {
  test.each([
    [['--silence=0']],
    [['--silence=x']],
    [['--silence=5']],
    [['--no-ask', 'http://127.0.0.1:1']],
    [['ftp://x']],
    [['--header=x']],
    [['--header=authorization: ü→', 'http://127.0.0.1:1']],
    [['--what']],
  ])('%j is wrong', async (args) => {
    const { code, stdout, stderr } = await doctor(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('claude-stream doctor [options]');
  });

  test('gives the probe the headers that it asks for', async () => {
    const guard: RequestHandler = (request, response, next) => {
      if (request.get('authorization') === 'Bearer key' && request.get('x-a') === 'b') next();
      else response.status(401).end();
    };
    const url = `http://127.0.0.1:${await startProbe(guard)}/probe`;
    const refused = await examine([url]);
    expect(refused.finding('reachable')?.what).toContain('answers 401');
    expect(refused.finding('reachable')?.remedy).toContain('--header=');
    const headers = ['--header=authorization: Bearer key', '--header=x-a:b'];
    const { code } = await examine([url, ...headers, '--silence=1']);
    expect(code).toBe(0);
  });

  test('tells who speaks no TLS', async () => {
    const port = await startProbe();
    const { finding } = await examine([`https://127.0.0.1:${port}/probe`]);
    expect(finding('reachable')?.remedy).toContain('http://');
  });

  test('tells what to do about a certificate that nobody trusts', async () => {
    const origin = await startUntrustedCaddy(await startProbe());
    const { finding } = await examine([`${origin}/probe`]);
    expect(finding('reachable')?.what).toContain('certificate');
    expect(finding('reachable')?.remedy).toContain('NODE_EXTRA_CA_CERTS=');
  });

  test('does not mind that nobody reads what it says', async () => {
    const command = `"${process.execPath}" "${bin}" doctor --no-ask | true`;
    const { stderr } = await promisify(exec)(command, { env: { PATH: '/usr/bin:/bin' } });
    expect(stderr).toBe('');
  });

  test('says what there is', async () => {
    const { code, stdout } = await doctor(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--silence=<seconds>');
  });
});
