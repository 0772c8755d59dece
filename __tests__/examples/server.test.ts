import { once } from 'node:events';
import { request } from 'node:http';
import { startServer } from '../../examples/server.js';
import { eventsOf, outcomeOf, post, textOf } from '../chatServer';

describe('npm start', () => {
  let server: Awaited<ReturnType<typeof startServer>>;
  const lines: string[] = [];

  beforeAll(async () => {
    // Nobody is logged in here, wherever the tests run.
    process.env.PATH = '/nowhere';
    server = await startServer({ port: 0, log: (line) => lines.push(line) });
  });

  afterAll(() => server.close());

  it('says what it uses and what to try', async () => {
    expect(lines.join('\n')).toContain('scripted model');
    expect(lines.join('\n')).toContain(`curl -N ${server.url}/chat`);
    const help = await (await fetch(server.url)).text();
    for (const scenario of ['hello', 'think', 'tool', 'slow', 'fail']) {
      expect(help).toContain(`"prompt":"${scenario}`);
    }
  });

  it.each([
    ['localhost', 200],
    ['127.0.0.1:3000', 200],
    ['[::1]:3000', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example:3000', 403],
    ['LocalHost.', 200],
  ])('answers to %p with %d: a name that leads here need not be ours', async (host, expected) => {
    const { port } = new URL(server.url);
    const asked = request({ port, path: '/setting', headers: { host } });
    asked.end();
    const [response] = await once(asked, 'response');
    response.resume();
    expect(response.statusCode).toBe(expected);
  });

  it('streams the real CLI in its own format', async () => {
    const { text } = await post(`${server.url}/chat`, { prompt: 'hello' });
    expect(textOf(text)).toContain('👋');
    expect(outcomeOf(text)).toMatchObject({ status: 'success', exitCode: 0, turns: 1 });
  });

  it('streams the real CLI in the openai format, with its tools as status', async () => {
    const { text } = await post(`${server.url}/v1/chat/completions`, {
      stream: true,
      messages: [{ role: 'user', content: 'tool' }],
    });
    const data = eventsOf(text).map((event) => event.data);
    expect(data.at(-1)).toBe('[DONE]');
    const chunks = data.slice(0, -1).map((line) => JSON.parse(line));
    const statuses = chunks.flatMap(({ event }) => (event ? [event.data] : []));
    expect(statuses).toEqual([
      { description: 'Read notes.md', done: false },
      { description: 'Read notes.md', done: true },
    ]);
    const content = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
    expect(content).toContain('Buy milk.');
  });

  it('says so when the answer fails', async () => {
    const { status, text } = await post(`${server.url}/v1/chat/completions`, {
      messages: [{ role: 'user', content: 'fail' }],
    });
    expect(status).toBe(400);
    expect(JSON.parse(text).error).toMatchObject({ code: 'context_length_exceeded' });
  });
});
