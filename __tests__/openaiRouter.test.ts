import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import express, { type ErrorRequestHandler } from 'express';
import request from 'supertest';
import { type OpenAIRouterOptions, openaiRouter, type RequestOverrides } from '../lib';
import { eventsOf, open, post } from './chatServer';
import {
  express5,
  type Framework,
  loadWithExpress4,
  type RouterServer,
  startRouterServer,
} from './routerServer';

let server: RouterServer | undefined;

afterEach(async () => {
  const { close } = server ?? {};
  server = undefined;
  await close?.();
});

const hi = { messages: [{ role: 'user', content: 'hi' }] };

/** The `error` of an answer that is OpenAI's error object and nothing else. */
function errorOf(text: string): { code: string; message: string; type: string; param: unknown } {
  const body = JSON.parse(text);
  expect(body).toEqual({
    error: {
      message: expect.any(String),
      type: expect.any(String),
      param: body.error?.param ?? null,
      code: expect.any(String),
    },
  });
  return body.error;
}

async function get(url: string, init: RequestInit = {}) {
  const response = await fetch(url, init);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** What `express.json()` says of a body that breaks off. */
function parserMessageOf(json: string): string {
  try {
    JSON.parse(json);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('It can be parsed.');
}

/** Posts bytes as they are. */
const send = (url: string, body: string | Buffer, headers: Record<string, string>) =>
  get(url, { method: 'POST', body: Buffer.from(body), headers });

const frameworks: [string, Framework][] = [
  ['Express 5', express5],
  ['Express 4', loadWithExpress4()],
];

describe.each(frameworks)('on %s', (_name, framework) => {
  const start = (
    name: string,
    options: Parameters<typeof startRouterServer>[1] = {},
    env: Record<string, string> = {},
    before: Parameters<typeof startRouterServer>[3] = () => {},
  ) => startRouterServer(name, options, env, before, framework);

  describe('GET /models', () => {
    it('lists what the CLI offers', async () => {
      server = await start('conversation');
      const { status, text } = await get(`${server.url}/v1/models`);
      expect(status).toBe(200);
      expect(JSON.parse(text)).toEqual({
        object: 'list',
        data: [
          {
            id: 'default',
            object: 'model',
            created: 0,
            owned_by: 'anthropic',
            name: 'Claude Default (recommended)',
            description: 'The fixture itself',
          },
          {
            id: 'opus[1m]',
            object: 'model',
            created: 0,
            owned_by: 'anthropic',
            name: 'Claude Opus (1M context)',
          },
          {
            id: 'haiku',
            object: 'model',
            created: 0,
            owned_by: 'anthropic',
            name: 'Claude Haiku',
          },
        ],
      });
    });

    it('lists the names of the application instead', async () => {
      server = await start('conversation', { models: { 'gpt-4o': 'sonnet' } });
      const { text } = await get(`${server.url}/v1/models`);
      expect(JSON.parse(text).data.map(({ id }: { id: string }) => id)).toEqual(['gpt-4o']);
    });

    it('tells of one model, by any of its names', async () => {
      server = await start('conversation');
      for (const id of ['haiku', 'opus%5B1m%5D', 'opus', 'claude-opus-fixture', 'default']) {
        const { status, text } = await get(`${server.url}/v1/models/${id}`);
        expect([id, status]).toEqual([id, 200]);
        expect(JSON.parse(text)).toMatchObject({ id: decodeURIComponent(id), object: 'model' });
      }
    });

    it.each(['gpt-4o', 'a/b', '__proto__', '..%2f..%2fetc', '%00', '🌍', 'x'.repeat(5_000)])(
      'tells that there is no model %s',
      async (id) => {
        server = await start('conversation');
        const { status, text } = await get(`${server.url}/v1/models/${id}`);
        expect(status).toBe(404);
        expect(errorOf(text)).toMatchObject({ code: 'model_not_found', param: 'model' });
      },
    );

    it('takes a name that cannot be decoded for the client’s fault', async () => {
      server = await start('conversation');
      const { status, text } = await get(`${server.url}/v1/models/%ff`);
      expect([400, 404]).toContain(status);
      errorOf(text);
      expect(server.errors.map(({ code }) => code)).not.toContain('hook_failed');
    });

    it('answers HEAD without a body', async () => {
      server = await start('conversation');
      for (const path of ['models', 'models/haiku']) {
        const { status, text } = await get(`${server.url}/v1/${path}`, { method: 'HEAD' });
        expect([status, text]).toEqual([200, '']);
      }
    });
  });

  describe('POST /chat/completions', () => {
    it('streams', async () => {
      server = await start('conversation');
      const { status, headers, text } = await post(`${server.url}/v1/chat/completions`, {
        ...hi,
        stream: true,
      });
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
      const data = eventsOf(text).map((event) => event.data);
      expect(data.at(-1)).toBe('[DONE]');
      const content = data
        .slice(0, -1)
        .map((line) => JSON.parse(line).choices[0]?.delta?.content ?? '')
        .join('');
      expect(content).toBe('fine');
    });

    it('answers in one body', async () => {
      server = await start('conversation');
      const { status, text } = await post(`${server.url}/v1/chat/completions`, hi);
      expect(status).toBe(200);
      expect(JSON.parse(text)).toMatchObject({
        object: 'chat.completion',
        choices: [{ message: { role: 'assistant', content: 'fine' }, finish_reason: 'stop' }],
      });
    });

    it('runs the model that is asked for, whatever it is called', async () => {
      server = await start('conversation');
      const { url } = server;
      const flagsFor = async (model: unknown) => {
        const { status, text } = await post(`${url}/v1/chat/completions`, { ...hi, model });
        expect(status).toBe(200);
        if (model != null) expect(JSON.parse(text).model).toBe(model);
        return server?.lastFlags();
      };
      expect(await flagsFor('haiku')).toEqual(['--model=haiku']);
      expect(await flagsFor('opus')).toEqual(['--model=opus']);
      expect(await flagsFor('default')).toEqual([]);
      expect(await flagsFor(undefined)).toEqual([]);
      expect(await flagsFor(null)).toEqual([]);
    });

    it('does not call the answer by the name that the client uses when the application has chosen', async () => {
      server = await start('conversation', { request: () => ({ model: 'sonnet' }) });
      for (const model of ['haiku', 'x'.repeat(200_000), undefined]) {
        const { text } = await post(`${server.url}/v1/chat/completions`, { ...hi, model });
        expect(JSON.parse(text).model).toBe('claude-fixture');
        expect(server.lastFlags()).toEqual(['--model=sonnet']);
      }
    });

    it('refuses a model that is not offered, before anything is started', async () => {
      server = await start('conversation', { models: ['opus'] });
      const { status, text } = await post(`${server.url}/v1/chat/completions`, {
        ...hi,
        model: 'gpt-4o',
      });
      expect(status).toBe(404);
      expect(errorOf(text)).toMatchObject({ code: 'model_not_found', param: 'model' });
      expect(server.pids).toEqual([]);
    });

    it('has a conversation that is larger than express.json() lets through', async () => {
      server = await start('conversation');
      const messages = [{ role: 'user', content: 'x'.repeat(2_000_000) }];
      const { status } = await post(`${server.url}/v1/chat/completions`, { messages });
      expect(status).toBe(200);
    });

    it('has a body that the application has already parsed', async () => {
      server = await start('conversation', {}, {}, (app) => app.use(framework.express.json()));
      const { status, text } = await post(`${server.url}/v1/chat/completions`, hi);
      expect([status, JSON.parse(text).choices[0].message.content]).toEqual([200, 'fine']);
    });

    it('takes a compressed body', async () => {
      server = await start('conversation');
      const { status } = await send(
        `${server.url}/v1/chat/completions`,
        gzipSync(JSON.stringify(hi)),
        { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      );
      expect(status).toBe(200);
    });
  });

  describe('a body that cannot be read', () => {
    const json = { 'content-type': 'application/json' };
    const body = JSON.stringify(hi);
    it.each<[string, string | Buffer, Record<string, string>, number, string]>([
      ['is no JSON', '{"messages":', json, 400, 'invalid_body'],
      ['is empty', '', json, 400, 'invalid_prompt'],
      ['is a bare value', '42', json, 400, 'invalid_body'],
      ['is a list', '[]', json, 400, 'body_not_parsed'],
      ['is too large', JSON.stringify({ a: 'x'.repeat(2_000) }), json, 413, 'body_too_large'],
      [
        'is too large once it is unpacked',
        gzipSync(JSON.stringify({ a: 'x'.repeat(1_000_000) })),
        { ...json, 'content-encoding': 'gzip' },
        413,
        'body_too_large',
      ],
      [
        'is not what it says to be packed with',
        body,
        { ...json, 'content-encoding': 'gzip' },
        400,
        'invalid_body',
      ],
      [
        'is packed with what nobody knows',
        body,
        { ...json, 'content-encoding': 'zip' },
        400,
        'invalid_body',
      ],
      [
        'is of another charset',
        body,
        { 'content-type': 'application/json; charset=koi8-r' },
        400,
        'invalid_body',
      ],
      [
        'is a form',
        'messages=hi',
        { 'content-type': 'application/x-www-form-urlencoded' },
        400,
        'body_not_parsed',
      ],
      ['is a text', body, { 'content-type': 'text/plain' }, 400, 'body_not_parsed'],
      ['has no type', gzipSync(body), {}, 400, 'body_not_parsed'],
    ])('because it %s', async (_why, bytes, headers, status, code) => {
      server = await start('conversation', { maxBodyBytes: 1_000 });
      const answer = await send(`${server.url}/v1/chat/completions`, bytes, headers);
      expect(answer.status).toBe(status);
      expect(errorOf(answer.text)).toMatchObject({ code, type: 'invalid_request_error' });
      expect(server.pids).toEqual([]);
      expect(server.errors.map((error) => error.code)).toEqual([code]);
    });
  });

  it('a body that cannot be read is answered with what is expected, and what the parser says', async () => {
    server = await start('conversation');
    const broken = '{"messages":';
    const { text } = await send(`${server.url}/v1/chat/completions`, broken, {
      'content-type': 'application/json',
    });
    expect(errorOf(text).message).toBe(
      `The request body cannot be read, it must be JSON in UTF-8: ${parserMessageOf(broken)}.`,
    );
  });

  it.each([
    ['brackets', '['.repeat(25_000_000) + ']'.repeat(25_000_000)],
    ['objects', `[${'{},'.repeat(16_000_000)}0]`],
  ])(
    'a body of 50 MB of %s, which are 50 KB when they are zipped, does not stop the server',
    async (_what, values) => {
      server = await start('conversation');
      const zipped = gzipSync(`{"messages":[{"role":"user","content":"hi"}],"z":${values}}`);
      const started = performance.now();
      const { status, text } = await send(`${server.url}/v1/chat/completions`, zipped, {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      });
      expect(status).toBe(413);
      expect(errorOf(text).code).toBe('body_too_large');
      // Parsed, it would take ten seconds and more than a gigabyte.
      expect(performance.now() - started).toBeLessThan(2_500);
    },
  );

  it('a form that the application has parsed is no JSON: any web page could send it', async () => {
    server = await start('conversation', {}, {}, (app) =>
      app.use(framework.express.urlencoded({ extended: true })),
    );
    const form = 'messages[0][role]=user&messages[0][content]=hi&prompt=hi';
    const { status, text } = await send(`${server.url}/v1/chat/completions`, form, {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect(status).toBe(400);
    expect(errorOf(text).code).toBe('body_not_parsed');
    expect(server.pids).toEqual([]);
  });

  describe('what is not there', () => {
    it.each([
      ['GET', '/v1'],
      ['GET', '/v1/'],
      ['GET', '/v1/model'],
      ['POST', '/v1/completions'],
      ['POST', '/v1/responses'],
      ['POST', '/v1/embeddings'],
      ['GET', '/v1/chat'],
      ['GET', '/v1/chat/completions/1'],
      ['POST', `/v1/${'x'.repeat(5_000)}`],
    ])('is answered in the shape of OpenAI: %s %s', async (method, path) => {
      server = await start('conversation');
      const { status, text } = await get(`${server.url}${path}`, { method });
      expect(status).toBe(404);
      expect(errorOf(text)).toMatchObject({ code: 'unknown_url', type: 'invalid_request_error' });
      expect(text.length).toBeLessThan(600);
    });

    it.each([
      ['DELETE', '/v1/models', 'GET, HEAD'],
      ['POST', '/v1/models', 'GET, HEAD'],
      ['DELETE', '/v1/models/haiku', 'GET, HEAD'],
      ['GET', '/v1/chat/completions', 'POST'],
      ['HEAD', '/v1/chat/completions', 'POST'],
      ['PUT', '/v1/chat/completions', 'POST'],
      ['DELETE', '/v1/chat/completions', 'POST'],
    ])('as a method is answered with what is allowed: %s %s', async (method, path, allow) => {
      server = await start('conversation');
      const { status, headers, text } = await get(`${server.url}${path}`, { method });
      expect([status, headers.get('allow')]).toEqual([405, allow]);
      if (method !== 'HEAD') expect(errorOf(text).code).toBe('method_not_allowed');
      expect(server.pids).toEqual([]);
    });
  });

  describe('an API key', () => {
    const paths: [string, string][] = [
      ['GET', '/v1/models'],
      ['GET', '/v1/models/haiku'],
      ['POST', '/v1/chat/completions'],
      ['PUT', '/v1/chat/completions'],
      ['GET', '/v1/nothing'],
    ];

    it.each(paths)('is asked for everywhere: %s %s', async (method, path) => {
      server = await start('conversation', { apiKey: 'sk-right' });
      for (const authorization of [undefined, 'Bearer sk-wrong', 'Basic sk-right']) {
        const { status, headers, text } = await get(`${server.url}${path}`, {
          method,
          headers: authorization === undefined ? {} : { authorization },
        });
        expect([status, headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
        expect(errorOf(text)).toMatchObject({
          code: 'invalid_api_key',
          type: 'authentication_error',
        });
        expect(text).not.toContain('sk-');
      }
      expect(server.started()).toEqual([]);
    });

    it('is asked for before the body is read', async () => {
      server = await start('conversation', { apiKey: 'sk-right' });
      const { status } = await send(`${server.url}/v1/chat/completions`, '{"broken', {
        'content-type': 'application/json',
      });
      expect(status).toBe(401);
    });

    it('lets in who has any of several', async () => {
      server = await start('conversation', { apiKey: ['sk-one', 'sk-two'] });
      const statusFor = async (key: string) =>
        (await get(`${server?.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }))
          .status;
      expect([await statusFor('sk-one'), await statusFor('sk-two')]).toEqual([200, 200]);
      expect(await statusFor('sk-three')).toBe(401);
    });

    it('may be known by a function that takes its time', async () => {
      const seen: string[] = [];
      server = await start('conversation', {
        apiKey: async (key, { path }) => {
          seen.push(`${key} ${path}`);
          return key === 'sk-right';
        },
      });
      const statusFor = async (key: string) =>
        (await get(`${server?.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }))
          .status;
      expect([await statusFor('sk-right'), await statusFor('sk-wrong')]).toEqual([200, 401]);
      expect(seen).toEqual(['sk-right /models', 'sk-wrong /models']);
    });

    it.each([
      ['an error', new Error('no database at /secret/place')],
      ['nothing', undefined],
      ['null', null],
      ['false', false],
      ['zero', 0],
      ['an empty text', ''],
      ['the text "route"', 'route'],
      ['the text "router"', 'router'],
    ])('whose function rejects with %s lets nobody in', async (_what, cause) => {
      for (const apiKey of [
        () => Promise.reject(cause),
        () => {
          throw cause;
        },
      ]) {
        server = await start('conversation', { apiKey });
        const { status, text } = await post(`${server.url}/v1/chat/completions`, hi, {
          authorization: 'Bearer sk-right',
        });
        expect(server.started()).toEqual([]);
        expect(status).toBe(500);
        expect(errorOf(text)).toMatchObject({ code: 'hook_failed' });
        expect(text).not.toContain('/secret/place');
        expect(server.errors[0]?.message).toContain('apiKey');
        await server.close();
        server = undefined;
      }
    });
  });

  describe("the application's request function", () => {
    const answerTo = async (fails: () => RequestOverrides | Promise<RequestOverrides>) => {
      server = await start('conversation', { request: fails });
      return post(`${server.url}/v1/chat/completions`, hi);
    };

    it('chooses for the client', async () => {
      server = await start('conversation', {
        request: ({ headers }) => ({ allowedTools: [`Bash(${headers['x-user']})`] }),
      });
      await post(`${server.url}/v1/chat/completions`, hi, { 'x-user': 'eve' });
      expect(server.lastFlags()).toEqual(['--allowedTools=Bash(eve)']);
    });

    it.each([
      [400, 400, 'invalid_request_error'],
      [401, 401, 'authentication_error'],
      [402, 402, 'invalid_request_error'],
      [403, 403, 'permission_error'],
      [429, 429, 'rate_limit_error'],
      [499, 499, 'invalid_request_error'],
      [500, 500, 'server_error'],
      [503, 503, 'server_error'],
      [200, 500, 'server_error'],
      ['402', 500, 'server_error'],
      [undefined, 500, 'server_error'],
    ])(
      'may throw what is meant for the client, as http-errors does: %p',
      async (given, status, type) => {
        const answer = await answerTo(() => {
          throw Object.assign(new Error('Not today.'), { status: given, expose: true });
        });
        expect(answer.status).toBe(status);
        expect(JSON.parse(answer.text)).toEqual({
          error: { message: 'Not today.', type, param: null, code: null },
        });
        expect(server?.pids).toEqual([]);
      },
    );

    it.each<[string, unknown]>([
      ['an error', new Error('no database at /secret/place')],
      ['an error with a status', Object.assign(new Error('/secret/place'), { status: 403 })],
      ['an error that hides', Object.assign(new Error('/secret'), { status: 403, expose: false })],
      ['a text', '/secret/place'],
      ['the text "route"', 'route'],
      ['the text "router"', 'router'],
      ['nothing', undefined],
      ['null', null],
      ['zero', 0],
      ['false', false],
    ])('may throw %s, of which the client learns nothing', async (_what, cause) => {
      const { status, text } = await answerTo(() => Promise.reject(cause));
      expect(status).toBe(500);
      expect(errorOf(text)).toMatchObject({ code: 'hook_failed', message: 'The server failed.' });
      expect(server?.errors).toEqual([
        { code: 'hook_failed', message: expect.stringContaining('"request"') },
      ]);
    });

    it('may return nonsense, which only the operator is told', async () => {
      const { status, text } = await answerTo(() => ({ cwd: 7 }) as never);
      expect(status).toBe(500);
      expect(errorOf(text)).toMatchObject({
        code: 'invalid_option',
        message: 'The server is not set up correctly.',
      });
      expect(server?.errors[0]?.message).toContain('"cwd"');
    });
  });

  describe('an answer that fails', () => {
    it('after the process was started is not to be retried', async () => {
      server = await start('stderr-only');
      const { status, headers, text } = await post(`${server.url}/v1/chat/completions`, hi);
      expect([status, headers.get('x-should-retry')]).toEqual([502, 'false']);
      expect(errorOf(text)).toMatchObject({ code: 'crashed', type: 'server_error' });
      expect(text).not.toContain('/secret/place');
    });

    it('before that may be', async () => {
      server = await start('conversation', { cwd: '/not/there', models: ['opus'] });
      const { status, headers, text } = await post(`${server.url}/v1/chat/completions`, hi);
      expect([status, headers.get('x-should-retry')]).toEqual([500, null]);
      expect(errorOf(text)).toMatchObject({ code: 'cwd_not_found' });
      expect(text).not.toContain('/not/there');
    });

    it('in mid-stream ends with an error and [DONE]', async () => {
      server = await start('half-answer');
      const { status, text } = await post(`${server.url}/v1/chat/completions`, {
        ...hi,
        stream: true,
      });
      const data = eventsOf(text).map((event) => event.data);
      expect([status, data.at(-1)]).toEqual([200, '[DONE]']);
      expect(errorOf(data.at(-2) ?? '')).toMatchObject({ code: 'crashed' });
      expect(text).not.toContain('finish_reason":"');
    });
  });

  it('a reconnection is told to stop, and starts nothing', async () => {
    server = await start('conversation');
    for (const lastEventId of ['run:1', '']) {
      const { status, text } = await post(`${server.url}/v1/chat/completions`, hi, {
        'last-event-id': lastEventId,
      });
      expect([status, text]).toEqual([204, '']);
    }
    expect(server.pids).toEqual([]);
  });

  describe('close()', () => {
    it('ends what is going on, and refuses what comes then', async () => {
      server = await start('conversation');
      const { url, router } = server;
      const slow = { messages: [{ role: 'user', content: 'slow' }], stream: true };
      const response = await open(`${url}/v1/chat/completions`, slow);
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      while (!text.includes('fine')) await once(response, 'data');
      await Promise.all([router.close(), once(response, 'end')]);
      const data = eventsOf(text).map((event) => event.data);
      expect(data.at(-1)).toBe('[DONE]');
      expect(errorOf(data.at(-2) ?? '').code).toBe('shutting_down');

      const { status, headers, text: refused } = await post(`${url}/v1/chat/completions`, hi);
      expect([status, headers.get('retry-after')]).toEqual([503, '5']);
      expect(errorOf(refused).code).toBe('shutting_down');
    });

    it('is the end of processes: also of those that tell the models', async () => {
      server = await start('conversation');
      await server.router.close();
      const { status, text } = await get(`${server.url}/v1/models`);
      expect(server.started()).toEqual([]);
      expect(status).toBe(503);
      errorOf(text);
    });

    it('ends a question for the models', async () => {
      server = await start('models', {}, { MODE: 'never' });
      const models = get(`${server.url}/v1/models`);
      const { started, router } = server;
      while (started().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await router.close();
      const { status, text } = await models;
      expect(status).toBe(503);
      expect(errorOf(text).code).toBe('shutting_down');
    }, 20_000);
  });
});

describe('models that cannot be had', () => {
  it('are an error in the shape of OpenAI, without its reason', async () => {
    server = await startRouterServer('models', {}, { MODE: 'dies' });
    for (const path of ['models', 'models/haiku']) {
      const { status, text } = await get(`${server.url}/v1/${path}`);
      expect(status).toBe(503);
      expect(errorOf(text)).toMatchObject({ code: 'models_unavailable', type: 'server_error' });
      expect(text).not.toContain('/secret/place');
    }
    expect(server.errors[0]?.message).toContain('/secret/place');
  });

  it('leave the names of the application in force', async () => {
    server = await startRouterServer('models', { models: ['opus'] }, { MODE: 'dies' });
    const { status, text } = await get(`${server.url}/v1/models`);
    expect([status, JSON.parse(text).data[0].id]).toEqual([200, 'opus']);
  });

  it('in time are an error within the 10 s that Open WebUI waits, however the CLI clings to life', async () => {
    server = await startRouterServer('models', {}, { MODE: 'clings' });
    const started = performance.now();
    const { status } = await get(`${server.url}/v1/models`);
    expect(status).toBe(503);
    expect(performance.now() - started).toBeLessThan(9_900);
  }, 25_000);
});

describe('without an API key', () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});

  beforeEach(() => {
    warn.mockClear();
  });

  afterAll(() => {
    warn.mockRestore();
  });

  /** The warnings after three requests that came in at an address. */
  async function warningsAt(
    address: string | undefined,
    options: OpenAIRouterOptions = {},
    headers: Record<string, string> = {},
  ) {
    server = await startRouterServer('conversation', options, {}, (app) => {
      app.use((req, _res, next) => {
        Object.defineProperty(req.socket, 'localAddress', { value: address, configurable: true });
        next();
      });
    });
    for (let time = 0; time < 3; time++) await get(`${server.url}/v1/nothing`, { headers });
    return warn.mock.calls;
  }

  const warning = [
    expect.stringContaining("openaiRouter({ apiKey: '…' })"),
    { code: 'CLAUDE_STREAM_NO_API_KEY' },
  ];

  it.each(['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1', '0.0.0.0', '::', '12.7.0.1'])(
    'it warns once when it is reached at %s',
    async (address) => {
      expect(await warningsAt(address)).toEqual([warning]);
    },
  );

  it.each(['192.0.2.1', '127.0.0.1', ''])(
    'it warns once when a proxy on this machine passes a request on for %j',
    async (client) => {
      expect(await warningsAt('127.0.0.1', {}, { 'x-forwarded-for': client })).toEqual([warning]);
    },
  );

  it.each(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', undefined])(
    'it does not warn when it is reached at %s',
    async (address) => {
      expect(await warningsAt(address)).toEqual([]);
    },
  );

  it('it does not warn when there is one', async () => {
    expect(
      await warningsAt('192.0.2.1', { apiKey: 'sk-right' }, { 'x-forwarded-for': '192.0.2.2' }),
    ).toEqual([]);
  });
});

it.each(frameworks)('on %s, mounted without being called, says so', async (_name, framework) => {
  const onError: ErrorRequestHandler = (error, _req, res, _next) =>
    void res.status(500).send(error.message);
  const app = framework
    .express()
    .use('/v1', framework.openaiRouter as never)
    .use(onError);
  const { text } = await request(app).get('/v1/models').expect(500);
  expect(text).toContain("app.use('/v1', openaiRouter())");
});

it('what fails after an answer was sent is left to the application', async () => {
  const codes: string[] = [];
  const router = openaiRouter({ onError: ({ code }) => void codes.push(code) });
  const app = express();
  app.use('/v1', (_req, res, next) => {
    res.status(201).send('already answered');
    next();
  });
  app.use('/v1', router);
  app.use(((_error, _req, _res, _next) => {
    codes.push('application');
  }) as ErrorRequestHandler);
  await request(app).get('/v1/nothing').expect(201, 'already answered');
  expect(codes).toEqual(['application']);
});

describe('what Open WebUI asks for itself', () => {
  const title = {
    messages: [
      {
        role: 'user',
        content:
          '### Task:\nGenerate a concise, 3-5 word title with an emoji\n<chat_history>…</chat_history>',
      },
    ],
  };

  it.each<[string, object, Record<string, string>]>([
    ['by its prompt', title, {}],
    ['by its header', hi, { 'x-openwebui-task': 'tags_generation' }],
  ])(
    'is told %s, and run small: no tools, no session, no permission',
    async (_how, body, headers) => {
      server = await startRouterServer('conversation', {
        allowedTools: ['Read'],
        model: 'opus',
        canUseTool: () => ({ behavior: 'allow' }),
        mcpConfig: { mcpServers: {} },
        args: ['--betas=a'],
      });
      const { url } = server;
      await post(`${url}/v1/chat/completions`, { ...body, model: 'opus' }, headers);
      const flags = server.lastFlags();
      expect(flags).toEqual(
        expect.arrayContaining([
          '--model=haiku',
          '--effort=low',
          '--tools=',
          '--strict-mcp-config',
          '--betas=a',
          '--no-session-persistence',
        ]),
      );
      expect(flags.join()).not.toMatch(/permission-prompt|mcp-config=|resume/);
      expect(server.prompted()[0]?.setup).toEqual({
        subtype: 'initialize',
        systemPrompt: expect.stringContaining('requests that a chat application makes for itself'),
        systemPromptSnapshot: false,
      });
    },
  );

  /** The flags, the set-up and the answer of a request for a title. */
  async function asked(options: OpenAIRouterOptions, body: object = {}) {
    server = await startRouterServer('conversation', options);
    const { status, text } = await post(`${server.url}/v1/chat/completions`, { ...title, ...body });
    expect(status).toBe(200);
    return {
      flags: server.lastFlags(),
      setup: server.prompted()[0]?.setup,
      answer: JSON.parse(text),
    };
  }

  it.each<[OpenAIRouterOptions, object]>([
    [{ systemPrompt: 'Be a pirate.' }, { systemPrompt: 'Be a pirate.' }],
    [
      { appendSystemPrompt: 'Be brief.' },
      { systemPrompt: expect.stringContaining('for itself'), appendSystemPrompt: 'Be brief.' },
    ],
    [
      { request: () => ({ systemPrompt: 'Be a pirate.' }), systemPrompt: 'Be kind.' },
      { systemPrompt: 'Be a pirate.' },
    ],
  ])('leaves the system prompt of the application in force: %p', async (options, prompts) => {
    const { setup } = await asked(options);
    expect(setup).toEqual({ subtype: 'initialize', systemPromptSnapshot: false, ...prompts });
  });

  it('can have a model of its own', async () => {
    const { flags } = await asked({ taskModel: 'sonnet' });
    expect(flags).toContain('--model=sonnet');
  });

  it('has the model and the effort that the request function says', async () => {
    const { flags } = await asked({
      taskModel: 'sonnet',
      request: () => ({ model: 'opus', effort: 'high' }),
    });
    expect(flags).toEqual(expect.arrayContaining(['--model=opus', '--effort=high', '--tools=']));
    expect(flags.filter((flag) => /^--(?:model|effort)=/.test(flag))).toHaveLength(2);
  });

  it('is answered under the name of the model that answers, whatever the client calls it', async () => {
    for (const model of ['opus', 'x'.repeat(200_000)]) {
      const { answer } = await asked({}, { model });
      expect(answer.model).toBe('claude-fixture');
      await server?.close();
      server = undefined;
    }
  });

  it('is answered like anything else with taskModel: false', async () => {
    const { flags, setup, answer } = await asked({ taskModel: false }, { model: 'opus' });
    expect(flags).toEqual(['--model=opus']);
    expect(setup).toBeUndefined();
    expect(answer.model).toBe('opus');
  });

  it('asks for permission like anything else with taskModel: false', async () => {
    const { flags } = await asked({
      taskModel: false,
      canUseTool: () => ({ behavior: 'allow' }),
    });
    expect(flags).toEqual(['--permission-prompt-tool=stdio']);
  });

  it('leaves the conversation as it is', async () => {
    server = await startRouterServer('conversation');
    const url = `${server.url}/v1/chat/completions`;
    await post(url, hi);
    await post(url, title);
    await post(url, {
      messages: [
        ...hi.messages,
        { role: 'assistant', content: 'fine' },
        { role: 'user', content: 'on' },
      ],
    });
    expect(server.lastFlags()).toEqual([expect.stringMatching(/^--resume=/)]);
  });
});

describe('a conversation', () => {
  const said = (...texts: string[]) => ({
    messages: texts.map((content, index) => ({ role: index % 2 ? 'assistant' : 'user', content })),
  });
  const session = (flags: readonly string[]) =>
    flags.find((flag) => flag.startsWith('--resume='))?.slice('--resume='.length);

  async function converse(options: Parameters<typeof startRouterServer>[1] = {}) {
    const started = await startRouterServer('conversation', {
      apiKey: ['sk-1', 'sk-2'],
      ...options,
    });
    server = started;
    return async (body: object, headers: Record<string, string> = {}) => {
      const answer = await post(`${started.url}/v1/chat/completions`, body, {
        authorization: 'Bearer sk-1',
        ...headers,
      });
      expect(answer.status).toBe(200);
      return started.lastFlags();
    };
  }

  it('of five turns is one session, which is sent only what is new', async () => {
    const ask = await converse();
    const texts = ['q1'];
    await ask(said(...texts));
    for (const turn of [2, 3, 4, 5]) {
      texts.push('fine', `q${turn}`);
      const flags = await ask(said(...texts));
      expect(flags).toEqual([`--resume=${server?.outcomes[0]?.sessionId}`]);
    }
    expect(server?.prompted().map(({ content }) => content)).toEqual([
      'q1',
      'q2',
      'q3',
      'q4',
      'q5',
    ]);
  });

  it('is the same whether it is streamed or not', async () => {
    const ask = await converse();
    await ask({ ...said('q1'), stream: true });
    expect(session(await ask(said('q1', 'fine', 'q2')))).toBeDefined();
    const streamed = { ...said('q1', 'fine', 'q2', 'fine', 'q3'), stream: true };
    expect(session(await ask(streamed))).toBeDefined();
  });

  it('that was edited goes on in a copy, at the right message', async () => {
    const ask = await converse();
    await ask(said('q1'));
    await ask(said('q1', 'fine', 'q2'));
    const { sessionId, lastMessageId } = server?.outcomes[0] ?? {};
    expect(await ask(said('q1', 'fine', 'edited'))).toEqual([
      `--resume=${sessionId}`,
      `--resume-session-at=${lastMessageId}`,
      '--fork-session',
    ]);
  });

  it('keeps its system messages up to date', async () => {
    const ask = await converse();
    const system = (content: string) => ({ role: 'system', content });
    await ask({ messages: [system('One.'), ...said('q1').messages] });
    const next = { messages: [system('Two.'), ...said('q1', 'fine', 'q2').messages] };
    expect(session(await ask(next))).toBeDefined();
    expect(server?.prompted().at(-1)?.setup).toMatchObject({
      appendSystemPrompt: 'Two.',
      systemPromptSnapshot: false,
    });
  });

  it('whose session is lost is told from its beginning, and its client sees no more than that', async () => {
    let env: Record<string, string> | undefined;
    const ask = await converse({ request: () => (env ? { env } : {}) });
    await ask(said('q1'));
    const log = join(mkdtempSync(join(tmpdir(), 'claude-stream-')), 'log');
    env = { LOST: '1', LOG: log };
    await ask(said('q1', 'fine', 'q2'));
    rmSync(join(log, '..'), { recursive: true });
    expect(server?.outcomes.at(-1)).toMatchObject({ status: 'success', result: 'fine' });
    expect(server?.errors).toEqual([]);
  });

  it('of another key, user, name or directory is another', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'claude-stream-'));
    const ask = await converse({
      request: ({ headers }) => (headers['x-folder'] ? { cwd: folder } : {}),
    });
    await ask(said('q1'));
    const next = said('q1', 'fine', 'q2');
    expect(session(await ask(next, { authorization: 'Bearer sk-2' }))).toBeUndefined();
    expect(session(await ask(next, { 'x-openwebui-user-id': 'eve' }))).toBeUndefined();
    expect(session(await ask(next, { 'x-folder': '1' }))).toBeUndefined();
    expect(session(await ask({ ...next, user: 'eve' }))).toBeUndefined();
    expect(session(await ask(next))).toBeDefined();
    rmSync(folder, { recursive: true });
  });

  it('is found by its id when its history has changed', async () => {
    const ask = await converse();
    const chat = { 'x-openwebui-chat-id': 'chat-1' };
    await ask(said('documents\n\nq1'), chat);
    const next = said('q1', 'fine', 'q2');
    expect(session(await ask(next))).toBeUndefined();
    expect(session(await ask(next, { 'x-openwebui-chat-id': 'chat-2' }))).toBeUndefined();
    expect(session(await ask(next, chat))).toBeDefined();
  });

  it.each(['local:abc', '', '{{CHAT_ID}}'])(
    'is not found by an id that is none: %j',
    async (id) => {
      const ask = await converse();
      const chat = { 'x-openwebui-chat-id': id };
      await ask(said('documents\n\nq1'), chat);
      expect(session(await ask(said('q1', 'fine', 'q2'), chat))).toBeUndefined();
    },
  );

  it('is found by an id in the header that the application says', async () => {
    const ask = await converse({ sessionHeader: 'X-Thread' });
    await ask(said('documents\n\nq1'), { 'x-thread': 'a' });
    expect(session(await ask(said('q1', 'fine', 'q2'), { 'x-thread': 'a' }))).toBeDefined();
  });

  it('is not recognised with sessions off, nor when the client names a session', async () => {
    const ask = await converse({ sessions: 'off' });
    await ask(said('q1'));
    expect(session(await ask(said('q1', 'fine', 'q2')))).toBeUndefined();
    const own = '0b5a3c1e-0000-4000-8000-000000000000';
    expect(session(await ask({ ...said('q2'), session: own }))).toBe(own);
  });

  it('that was broken off goes on where it was', async () => {
    const ask = await converse();
    const started = server as RouterServer;
    const slow = { ...said('slow q1'), stream: true };
    const request = httpRequest(`${started.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer sk-1' },
    });
    request.on('error', () => {});
    request.end(JSON.stringify(slow));
    const [response] = await once(request, 'response');
    response.on('error', () => {});
    let text = '';
    for await (const chunk of response) {
      text += chunk;
      // Which destroys the response: the client leaves.
      if (text.includes('fine')) break;
    }
    // At once: the turn before has not ended yet.
    expect(session(await ask(said('slow q1', 'fine', 'q2')))).toBe(started.outcomes[0]?.sessionId);
    expect(started.outcomes.map(({ status }) => status)).toEqual(['interrupted', 'success']);
  });

  it('asked twice at the same time goes on in place once', async () => {
    const ask = await converse();
    await ask(said('q1'));
    await Promise.all([1, 2, 3].map(() => ask(said('q1', 'fine', 'q2'))));
    const flags = server
      ?.prompted()
      .slice(1)
      .map(({ args }) => args.includes('--fork-session'));
    expect(flags?.toSorted()).toEqual([false, true, true]);
  });
});
