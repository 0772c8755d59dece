import { homedir } from 'node:os';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { allGone, eventsOf, fixture } from './chatServer';
import { type RouterServer, startRouterServer } from './routerServer';

/** What of the server no client may ever see. */
const secrets = {
  environment: 'env-secret-7c1f0a',
  flag: 'flag-secret-93be21',
  systemPrompt: 'prompt-secret-51aa0e',
};

let server: RouterServer;
let hidden: string[];

beforeAll(async () => {
  server = await startRouterServer(
    'conversation',
    {
      args: [`--betas=${secrets.flag}`],
      allowedTools: [secrets.flag],
      systemPrompt: secrets.systemPrompt,
      cwd: __dirname,
      timeout: { total: 5_000 },
      maxBodyBytes: 20 * 2 ** 20,
    },
    { DATABASE_URL: secrets.environment },
  );
  hidden = [
    ...Object.values(secrets),
    __dirname,
    process.cwd(),
    fixture('conversation'),
    `${homedir()}/`,
    'node_modules',
    'owner@example.org',
    '--input-format',
    'CLAUDE_CODE_',
  ];
});

afterAll(async () => {
  await allGone(server.pids, 3_000);
  await server.close();
});

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Sends bytes as they are; fails when no answer is complete in 8 s. */
async function send(body: string | Uint8Array, headers: Record<string, string>): Promise<Answer> {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers,
    body: Buffer.from(body),
    signal: AbortSignal.timeout(8_000),
  });
  return { status: response.status, text: await response.text() };
}

const sendJson = (body: string) => send(body, { 'content-type': 'application/json' });

/** A client's request may be refused or answered; it is never the server's failure, and tells nothing of the server. */
function expectHarmless({ status, text }: Answer): void {
  for (const secret of hidden) {
    if (text.includes(secret)) throw new Error(`The answer holds "${secret}": ${text}`);
  }
  if (status === 200) {
    if (!text.startsWith(': keep-alive\n\n')) {
      expect(JSON.parse(text)).toHaveProperty('choices');
      return;
    }
    const data = eventsOf(text).map((event) => event.data);
    expect(data.at(-1)).toBe('[DONE]');
    for (const line of data.slice(0, -1)) JSON.parse(line);
    return;
  }
  const { error } = JSON.parse(text);
  expect(error).toEqual({
    message: expect.stringMatching(/./),
    type: expect.stringMatching(/_/),
    param: error.param === null ? null : expect.any(String),
    code: expect.stringMatching(/^[a-z_]+$/),
  });
  expect(error.message.length).toBeLessThan(1_000);
  // The fixture has no answer that meets a schema, which is the only failure that is not the client's.
  const expected = error.code === 'schema_not_met' ? [502] : [400, 404, 413];
  expect(expected).toContain(status);
}

/** Every error so far is one of a request; none looks as if the application had failed. */
function expectNoFailure(): void {
  const own = server.errors.filter(({ code }) => /hook_failed|invalid_option|crashed/.test(code));
  server.errors.length = 0;
  expect(own).toEqual([]);
}

afterEach(async () => {
  expectNoFailure();
  // The server is still there.
  const { status } = await sendJson('{"messages":[{"role":"user","content":"hi"}]}');
  expect(status).toBe(200);
});

// JSON as text, since no object of JavaScript has a key `__proto__` or the same key twice.
const string = fc
  .oneof(
    { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
    fc.constantFrom(
      '',
      ' ',
      '\ud800',
      'a\udc00b',
      '\u0000',
      '\u2028\u2029\u0085',
      '\ufeff',
      '\u202eevil',
      '🏳️‍🌈👨‍👩‍👧‍👦',
      'e\u0301'.repeat(50),
      '--dangerously-skip-permissions',
      '/etc/passwd',
      '@/etc/passwd',
      '/init',
      '$(id)',
      '../../../..',
      '{{CHAT_ID}}',
      'null',
      'data:image/png;base64,',
      'data:image/png;base64,iVBORw0KGgo=',
      `data:image/png;base64,${'A'.repeat(10_000)}`,
      'http://127.0.0.1:1/x.png',
      'file:///etc/passwd',
      '0b5a3c1e-0000-4000-8000-000000000000',
    ),
  )
  .map((text) => JSON.stringify(text));
const strangeKey = fc.constantFrom(
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'then',
  'toJSON',
  'length',
  'type',
  'text',
  'role',
);
const object = (values: fc.Arbitrary<string>, keys: fc.Arbitrary<string>) =>
  fc
    .array(fc.tuple(keys, values), { maxLength: 4 })
    .map((all) => `{${all.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`);
const list = (values: fc.Arbitrary<string>, maxLength = 3) =>
  fc.array(values, { maxLength }).map((all) => `[${all.join(',')}]`);

const { anything } = fc.letrec<{ anything: string }>((tie) => ({
  anything: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(
      'null',
      'true',
      'false',
      '0',
      '-0',
      '1',
      '1e400',
      '-1',
      '1.5',
      '9007199254740993',
    ),
    string,
    list(tie('anything')),
    object(tie('anything'), fc.oneof(strangeKey, fc.string({ maxLength: 5 }))),
  ),
}));

/** An object with the fields, of which each may be right, strange or absent. */
function record(fields: Record<string, fc.Arbitrary<string>>): fc.Arbitrary<string> {
  const values = Object.entries(fields).map(([name, right]) =>
    fc
      .oneof(
        { weight: 24, arbitrary: right },
        { weight: 1, arbitrary: anything },
        { weight: 3, arbitrary: fc.constant(undefined) },
      )
      .map((value) => (value === undefined ? [] : [`${JSON.stringify(name)}:${value}`])),
  );
  const more = fc
    .option(fc.tuple(strangeKey, anything), { nil: undefined, freq: 8 })
    .map((pair) => (pair ? [`${JSON.stringify(pair[0])}:${pair[1]}`] : []));
  return fc.tuple(...values, more).map((all) => `{${all.flat().join(',')}}`);
}

const words = (...all: string[]) => fc.constantFrom(...all.map((word) => JSON.stringify(word)));
const part = record({
  type: words(
    'text',
    'text',
    'text',
    'text',
    'text',
    'image_url',
    'image',
    'refusal',
    'file',
    'king',
  ),
  text: string,
  image_url: fc.oneof(string, record({ url: string })),
  source: record({ type: words('base64', 'url'), data: string }),
});
const message = record({
  role: words(
    'user',
    'user',
    'user',
    'assistant',
    'assistant',
    'system',
    'developer',
    'tool',
    'king',
  ),
  content: fc.oneof(string, string, list(part)),
  name: string,
});
/** Mostly such that end with a message of the user, or hardly a request would get any further. */
const messages = fc
  .tuple(fc.array(message, { maxLength: 3 }), fc.option(string, { nil: undefined, freq: 8 }))
  .map(([all, last]) => [...all, ...(last ? [`{"role":"user","content":${last}}`] : [])])
  .map((all) => `[${all.join(',')}]`);
const schema = record({ type: words('object', 'array'), properties: anything });
const body = record({
  messages,
  model: words('haiku', 'opus', 'default', 'default', '__proto__'),
  stream: fc.constantFrom('true', 'false', 'null'),
  stream_options: record({ include_usage: fc.constantFrom('true', 'false') }),
  response_format: fc.oneof(
    fc.constant('null'),
    fc.constant('null'),
    record({ type: words('text', 'json_object', 'json_schema'), json_schema: record({ schema }) }),
  ),
  reasoning_effort: words('low', 'minimal', 'none', 'max', 'toString'),
  user: string,
  session: fc.constant('null'),
  n: fc.constantFrom('1', 'null'),
  modalities: fc.constant('["text"]'),
  audio: fc.constant('null'),
  logprobs: fc.constant('false'),
  top_logprobs: fc.constantFrom('0', 'null'),
  tools: anything,
});

describe('whatever a client sends, it gets an answer that tells nothing of the server', () => {
  it('a body of the right kind with anything in its fields', async () => {
    await fc.assert(
      fc.asyncProperty(body, async (text) => expectHarmless(await sendJson(text))),
      { numRuns: 250 },
    );
  });

  it('any JSON', async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (text) => expectHarmless(await sendJson(text))),
      { numRuns: 50 },
    );
  });

  it('a body that was cut, or into which other bytes were put', async () => {
    const broken = fc
      .tuple(body, fc.nat(), fc.uint8Array({ maxLength: 4 }), fc.boolean())
      .map(([text, at, bytes, cut]) => {
        const whole = Buffer.from(text);
        const place = at % (whole.length + 1);
        const rest = cut ? Buffer.alloc(0) : whole.subarray(place);
        return Buffer.concat([whole.subarray(0, place), bytes, rest]);
      });
    await fc.assert(
      fc.asyncProperty(broken, async (bytes) =>
        expectHarmless(await send(bytes, { 'content-type': 'application/json' })),
      ),
      { numRuns: 60 },
    );
  });

  it('a body that is not what its headers say', async () => {
    const types = fc.constantFrom(
      'application/json',
      'application/json; charset=utf-16',
      'application/json; charset=utf-16le',
      'application/json; charset=koi8-r',
      'application/json; charset="',
      'application/vnd.api+json',
      'text/json',
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'multipart/form-data',
      '*/*',
      ';',
      '',
    );
    const encodings = fc.constantFrom(
      'identity',
      'gzip',
      'deflate',
      'br',
      'zstd',
      'gzip, gzip',
      'x',
      '',
    );
    const pack = fc.constantFrom(
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => gzipSync(bytes),
      (bytes: Buffer) => deflateSync(bytes),
      (bytes: Buffer) => gzipSync(bytes).subarray(0, -8),
      (bytes: Buffer) => Buffer.from(String(bytes), 'utf16le'),
    );
    await fc.assert(
      fc.asyncProperty(body, types, encodings, pack, async (text, type, encoding, packed) => {
        const headers = { 'content-type': type, 'content-encoding': encoding };
        expectHarmless(await send(packed(Buffer.from(text)), headers));
      }),
      { numRuns: 80 },
    );
  });

  const user = (content: string) => `{"messages":[{"role":"user","content":${content}}]}`;
  const deep = (depth: number, open: string, close: string) =>
    open.repeat(depth) + close.repeat(depth);
  const schemaOf = (properties: string) =>
    `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema",` +
    `"json_schema":{"schema":{"type":"object","properties":${properties}}}}}`;

  it.each<[string, () => string]>([
    ['lists within lists', () => deep(100_000, '[', ']')],
    ['lists within lists for a content', () => user(deep(100_000, '[', ']'))],
    [
      'objects within objects for a content',
      () => user(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
    ],
    [
      'objects within objects beside it',
      () => `{"prompt":"hi","x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_001)}`,
    ],
    [
      'objects within objects for a schema',
      () => schemaOf(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`),
    ],
    ['a string of 8 MB', () => user(JSON.stringify('x'.repeat(8_000_000)))],
    ['a string of 15 MB', () => user(JSON.stringify('x'.repeat(15_000_000)))],
    [
      'a string of 2 million control characters',
      () => user(JSON.stringify('\u0001'.repeat(2_000_000))),
    ],
    ['a string of lone surrogates', () => user(`"${'\\ud800'.repeat(100_000)}"`)],
    ['a million spaces', () => user(JSON.stringify(`${' '.repeat(1_000_000)}x`))],
    ['a million mentions', () => user(JSON.stringify('@'.repeat(1_000_000)))],
    [
      '100 000 messages',
      () =>
        `{"messages":[${'{"role":"user","content":"a"},'.repeat(99_999)}{"role":"user","content":"a"}]}`,
    ],
    [
      '100 000 parts',
      () => user(`[${'{"type":"text","text":"a"},'.repeat(99_999)}{"type":"text","text":"a"}]`),
    ],
    [
      'an answer of 15 000 blocks that never end',
      () =>
        `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":${JSON.stringify(
          '<details type="tool_calls" '.repeat(15_000),
        )}},{"role":"user","content":"q"}]}`,
    ],
    [
      'an answer of 100 000 tool lines',
      () =>
        `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":${JSON.stringify(
          `[Starting Claude Code...]\n${'[Read] x\n'.repeat(100_000)}`,
        )}},{"role":"user","content":"q"}]}`,
    ],
    [
      'a task that never ends',
      () => user(JSON.stringify(`### Task:\n${'</chat_history> '.repeat(100_000)}x`)),
    ],
    [
      'an image of 6 MB',
      () =>
        user(
          `[{"type":"image_url","image_url":"data:image/png;base64,iVBORw0KGgo${'A'.repeat(8_000_000)}"}]`,
        ),
    ],
    ['a model of 1 MB', () => `{"prompt":"hi","model":"${'x'.repeat(1_000_000)}"}`],
    [
      'a user of 1 MB',
      () => `{"messages":[{"role":"user","content":"hi"}],"user":"${'x'.repeat(1_000_000)}"}`,
    ],
    ['a body above the limit', () => user(JSON.stringify('x'.repeat(21 * 2 ** 20)))],
    [
      'a prototype',
      () => '{"__proto__":{"prompt":"hi","cwd":"/"},"constructor":{"prototype":{"prompt":"hi"}}}',
    ],
    ['the same field twice', () => '{"prompt":"hi","prompt":{"toString":1}}'],
  ])('%s', async (_what, text) => {
    const body = text();
    const started = performance.now();
    expectHarmless(await sendJson(body));
    // Nobody else is served while a request is read.
    expect(performance.now() - started).toBeLessThan(4_000);
  });

  it('nothing of it has changed what an object is', () => {
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(({} as { prompt?: unknown }).prompt).toBeUndefined();
  });

  it('nothing of it has become an argument of a process', () => {
    const flags = new Set(
      server.prompted().flatMap(({ args }) => args.map((arg) => arg.split('=')[0])),
    );
    const known = [
      '-p',
      '--input-format',
      '--output-format',
      '--verbose',
      '--include-partial-messages',
    ];
    const chosen = ['--model', '--effort', '--resume', '--resume-session-at', '--fork-session'];
    const own = [
      '--betas',
      '--allowedTools',
      '--tools',
      '--strict-mcp-config',
      '--no-session-persistence',
    ];
    expect(
      [...flags].filter((flag) => ![...known, ...chosen, ...own].includes(flag ?? '')),
    ).toEqual([]);
  });
});

it('no process is left behind', async () => {
  // Of those that got far enough to have one.
  expect(server.pids.length).toBeGreaterThan(15);
  await allGone(server.started(), 3_000);
});
