import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startOpenWebUI } from '../../examples/open-webui/server.js';

const read = (path: string) => readFileSync(join(__dirname, '../..', path), 'utf8');

describe('examples/open-webui', () => {
  let server: Awaited<ReturnType<typeof startOpenWebUI>>;

  beforeAll(async () => {
    // Nobody is logged in here, wherever the tests run.
    process.env.PATH = '/nowhere';
    server = await startOpenWebUI({ apiKey: 'chosen', port: 0 });
  });

  afterAll(() => server.close());

  const ask = (path: string, key: string, body?: object) =>
    fetch(`${server.url}/v1${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });

  it('offers the models of the real CLI to whoever has the key', async () => {
    const response = await ask('/models', 'chosen');
    const { data } = (await response.json()) as { data: { id: string; name: string }[] };
    expect(data).toContainEqual(expect.objectContaining({ id: 'opus', name: 'Claude Opus' }));
  });

  it('turns away whoever has another', async () => {
    const response = await ask('/models', 'guessed');
    expect(response.status).toBe(401);
  });

  it('answers with the real CLI', async () => {
    const messages = [{ role: 'user', content: 'hello' }];
    const response = await ask('/chat/completions', 'chosen', { model: 'opus', messages });
    expect(await response.json()).toMatchObject({
      model: 'opus',
      choices: [{ message: { content: expect.stringContaining('👋') }, finish_reason: 'stop' }],
    });
  });

  it('names the headers as the README does', () => {
    const [, headers = ''] = /```json\n(\{"X-OpenWebUI.*\})\n```/.exec(read('README.md')) ?? [];
    expect(Object.keys(JSON.parse(headers))).toHaveLength(3);
    expect(read('examples/open-webui/README.md')).toContain(`\`${headers}\``);
  });
});
