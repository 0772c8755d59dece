import { post, readStream } from './client';
import type { Part } from './eventStream';
import { record } from './figures';
import { startNginx } from './proxies';
import { fixture, serve } from './serve';

const keepAlive = 300;
const intervals = 5;
const tolerance = 100;

// A machine that is busy with something else delays a comment now and then.
jest.retryTimes(1, { logErrorsBeforeRetry: true });

test.each([0, 1_000_000])(
  'a comment at once and one each interval of silence, after %d bytes of text',
  async (bytes) => {
    const silence = (intervals + 0.5) * keepAlive;
    const { url } = await serve({
      command: fixture('silent'),
      env: { BYTES: String(bytes), SILENCE: String(silence) },
      keepAlive,
    });
    const response = await post(url, { prompt: 'hi' });
    const headersAt = Date.now();
    const parts: { part: Part; at: number }[] = [];
    // It takes apart every byte, and throws at a comment within an event.
    const stream = await readStream(response, (part, at) => parts.push({ part, at }));

    const [first] = parts;
    expect(first?.part.kind).toBe('comment');
    expect(Number(first?.at) - headersAt).toBeLessThan(tolerance);

    const lastWord = parts.findIndex(({ part }) => textOf(part) === 'last word');
    const before = parts.slice(0, lastWord).findLastIndex(({ part }) => part.kind === 'event');
    const silent = parts.slice(before, lastWord);
    expect(silent.slice(1).map(({ part }) => part.kind)).toEqual(Array(intervals).fill('comment'));
    const gaps = silent.slice(1).map(({ at }, index) => at - Number(silent[index]?.at));
    record('ms between comments, the most', Math.max(...gaps));
    record('ms between comments, the least', Math.min(...gaps));
    for (const gap of gaps) {
      expect(gap).toBeGreaterThan(keepAlive - tolerance);
      expect(gap).toBeLessThan(keepAlive + tolerance);
    }
    expect(stream.length).toBeGreaterThan(bytes);
  },
);

/** The text of a delta. */
function textOf(part: Part): string | undefined {
  return part.kind === 'event' ? JSON.parse(part.data).event?.delta?.text : undefined;
}

test('comments stand between events while data comes', async () => {
  const { url } = await serve({
    command: fixture('ticks'),
    env: { TICKS: '40', INTERVAL: '25' },
    // Each event is preceded by a silence that is just longer.
    keepAlive: 20,
  });
  const kinds: string[] = [];
  await readStream(await post(url, { prompt: 'hi' }), ({ kind }) => kinds.push(kind));
  expect(kinds.filter((kind) => kind === 'comment').length).toBeGreaterThan(20);
  expect(kinds.filter((kind) => kind === 'event').length).toBeGreaterThan(40);
});

describe('nginx that gives a silent server 2 s', () => {
  async function askThroughNginx(comments: number | false) {
    const { port } = await serve({
      command: fixture('silent'),
      env: { SILENCE: '6000' },
      keepAlive: comments,
    });
    const origin = await startNginx(port, 'proxy_read_timeout 2s;');
    return post(`${origin}/chat`, { prompt: 'hi' });
  }

  test('carries a silence of 6 s', async () => {
    const stream = await readStream(await askThroughNginx(1_000));
    expect(stream).toContain('last word');
    expect(stream).toContain('event: outcome');
  });

  test('cuts it without comments', async () => {
    const response = await askThroughNginx(false);
    const started = performance.now();
    await expect(readStream(response)).rejects.toThrow('aborted');
    expect(performance.now() - started).toBeLessThan(4_000);
  });
});
