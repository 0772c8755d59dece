import compression from 'compression';
import OpenAI from 'openai';
import { post, readStream } from './client';
import { record } from './figures';
import { startNginx } from './nginx';
import { expressVersions, fixture, serve } from './serve';

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
