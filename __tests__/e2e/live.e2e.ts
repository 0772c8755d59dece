import compression from 'compression';
import OpenAI from 'openai';
import { post, readStream } from './client';
import { record } from './figures';
import { startNginx, startRecommendedCaddy, startRecommendedNginx } from './proxies';
import { expressVersions, fixture, serve, serveRouter } from './serve';

const ticks = 30;
const limit = 50;

// A machine that is busy with something else delays a tick now and then; a stream that is held delays them always.
jest.retryTimes(1, { logErrorsBeforeRetry: true });

/** How late each tick is: it says itself when it was written, on the same clock. */
class Latencies {
  readonly #values: number[] = [];

  add(text: string, at: number): void {
    this.#values.push(at - Number(text));
  }

  expectLive(): void {
    record('ms of the latest tick', Math.max(...this.#values));
    expect(this.#values).toHaveLength(ticks);
    // `Date.now()` rounds down, so a tick may seem to come before it was written.
    expect(this.#values.filter((value) => value >= limit || value < -5)).toEqual([]);
  }
}

async function expectLive(url: string, headers: Record<string, string> = {}) {
  const latencies = new Latencies();
  const response = await post(url, { prompt: 'hi' }, headers);
  await readStream(response, (part, at) => {
    if (part.kind !== 'event' || part.event !== 'stream_event') return;
    const { text } = JSON.parse(part.data).event.delta ?? {};
    if (text) latencies.add(text, at);
  });
  latencies.expectLive();
  return response;
}

describe.each(Object.entries(expressVersions))('%s: a tick every 100 ms', (_name, express) => {
  const options = { command: fixture('ticks'), env: { TICKS: String(ticks), INTERVAL: '100' } };

  test('over plain HTTP', async () => {
    const { url } = await serve(options, { express });
    await expectLive(url);
  });

  test('behind nginx as it comes', async () => {
    const { port } = await serve(options, { express });
    const { headers } = await expectLive(`${await startNginx(port)}/chat`);
    expect(headers.server).toContain('nginx');
  });

  test('behind compression()', async () => {
    const { url, origin } = await serve(options, {
      express,
      before: [
        compression({ threshold: 0 }),
        (request, response, next) => {
          if (request.path === '/text') response.type('text').send('It compresses.');
          else next();
        },
      ],
    });
    const gzip = { 'accept-encoding': 'gzip' };
    const other = await post(`${origin}/text`, {}, gzip);
    expect(other.headers['content-encoding']).toBe('gzip');
    other.resume();
    await expectLive(url, gzip);
  });

  test('with the openai client', async () => {
    const { origin } = await serve({ ...options, format: 'openai' }, { express });
    const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'dummy' });
    const stream = await client.chat.completions.create({
      model: 'claude',
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
    });
    const latencies = new Latencies();
    for await (const { choices } of stream) {
      const text = choices[0]?.delta.content;
      if (text) latencies.add(text, Date.now());
    }
    latencies.expectLive();
  });
});

describe.each([
  { proxy: 'nginx', start: startRecommendedNginx },
  { proxy: 'Caddy', start: startRecommendedCaddy },
])('the router behind $proxy, configured as the examples say', ({ proxy, start }) => {
  const body = { stream: true, messages: [{ role: 'user', content: 'hi' }] };

  test('a tick every 100 ms', async () => {
    const { port } = await serveRouter({
      command: fixture('ticks'),
      env: { TICKS: String(ticks), INTERVAL: '100' },
    });
    const latencies = new Latencies();
    const response = await post(`${await start(port)}/v1/chat/completions`, body);
    expect(`${response.headers.server}`.toLowerCase()).toContain(proxy.toLowerCase());
    await readStream(response, (part, at) => {
      if (part.kind !== 'event' || part.data === '[DONE]') return;
      const text = JSON.parse(part.data).choices[0]?.delta.content;
      if (text) latencies.add(text, at);
    });
    latencies.expectLive();
  });

  test('a comment at once, long before Claude says a word, and in every silence', async () => {
    const { port } = await serveRouter({ command: fixture('mute'), keepAlive: 500 });
    const origin = await start(port);
    const asked = Date.now();
    const response = await post(`${origin}/v1/chat/completions`, body);
    const comments: number[] = [];
    const reading = readStream(response, ({ kind }, at) => {
      expect(kind).toBe('comment');
      comments.push(at - asked);
      if (comments.length === 4) response.destroy();
    });
    await expect(reading).rejects.toThrow(/aborted|Premature close/);
    record('ms until the first comment', Number(comments[0]));
    expect(comments[0]).toBeLessThan(200);
    for (const [index, at] of comments.entries()) {
      expect(Math.abs(at - Number(comments[0]) - index * 500)).toBeLessThan(100);
    }
  });

  test('a body of 2 MB', async () => {
    const { port } = await serveRouter({
      command: fixture('ticks'),
      env: { TICKS: '1', INTERVAL: '1' },
    });
    const messages = [{ role: 'user', content: 'x'.repeat(2_000_000) }];
    const response = await post(`${await start(port)}/v1/chat/completions`, { messages });
    expect(response.statusCode).toBe(200);
    response.resume();
  });
});
