import { execFile } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { streamProbe } from 'claude-stream';
import compression from 'compression';
import express, { type RequestHandler } from 'express';
import { afterTest } from './afterTest';
import { startNginx } from './proxies';
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
      /nginx collects about \d\.\d KiB before it passes them on, and the headers with them/,
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
    const careless: RequestHandler = (_request, response, next) => {
      const { writeHead } = response;
      Object.assign(response, {
        writeHead: (status: number, headers: Record<string, string>) =>
          writeHead.call(response, status, { ...headers, 'Cache-Control': 'no-cache' }),
      });
      next();
    };
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

  test('with something else in its place is told so', async () => {
    const { failed, finding } = await examine(['--command=/bin/true', '--no-ask']);
    expect(failed).toEqual(['version']);
    expect(finding('version')?.what).toContain('Is it Claude Code?');
  });
});

describe('the command line', () => {
  test.each([[['--silence=0']], [['--silence=x']], [['ftp://x']], [['--header=x']], [['--what']]])(
    '%j is wrong',
    async (args) => {
      const { code, stdout, stderr } = await doctor(args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toContain('claude-stream doctor [options]');
    },
  );

  test('says what there is', async () => {
    const { code, stdout } = await doctor(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--silence=<seconds>');
  });
});
