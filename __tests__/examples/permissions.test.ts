import { setTimeout as delay } from 'node:timers/promises';
import { startPermissions } from '../../examples/permissions.js';
import { outcomeOf, post, send } from '../chatServer';

let server: Awaited<ReturnType<typeof startPermissions>>;

beforeAll(async () => {
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
  server = await startPermissions({ port: 0 });
});

afterAll(() => server.close());

/** Settles with the question that the CLI waits for. */
async function question(): Promise<{ id: number; tool: string; input: { command: string } }> {
  for (;;) {
    const [first] = JSON.parse((await send('GET', `${server.url}/questions`)).text);
    if (first) return first;
    await delay(20);
  }
}

it.each([
  [true, 'one and two'],
  [false, 'The user said no.'],
])('waits for an answer, %p, and does as it says', async (allow, words) => {
  const asked = post(`${server.url}/chat`, {
    prompt: 'bash: echo one and two > /dev/stderr; touch new.txt',
  });
  const { id, tool, input } = await question();
  expect([tool, input.command]).toEqual(['Bash', 'echo one and two > /dev/stderr; touch new.txt']);
  expect((await post(`${server.url}/questions/${id}`, { allow })).status).toBe(204);
  const { text } = await asked;
  expect(outcomeOf(text).status).toBe('success');
  expect(text).toContain(words);
  expect((await post(`${server.url}/questions/${id}`, { allow })).status).toBe(404);
});

it('forgets a question when nobody waits for its answer any more', async () => {
  const leaving = new AbortController();
  const asked = fetch(`${server.url}/chat`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'bash: touch new.txt' }),
    signal: leaving.signal,
  });
  await question();
  leaving.abort();
  await asked.catch(() => {});
  while ((await send('GET', `${server.url}/questions`)).text !== '[]') await delay(20);
});
