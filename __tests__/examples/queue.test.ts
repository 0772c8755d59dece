import { startQueue } from '../../examples/queue.js';
import { eventsOf, outcomeOf, post } from '../chatServer';

let server: Awaited<ReturnType<typeof startQueue>>;

beforeAll(async () => {
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
  server = await startQueue({ port: 0 });
});

afterAll(() => server.close());

const ask = (user: string) =>
  post(`${server.url}/chat`, { prompt: 'tick 2 100' }, { 'x-user': user });

it('runs two at once, has the others wait, and refuses what is too much', async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask('ada')));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused).toHaveLength(1);
  const served = answers.filter(({ status }) => status === 200);
  for (const { text } of served) expect(outcomeOf(text).status).toBe('success');
  const positions = served.map(({ text }) => {
    const [first] = eventsOf(text).filter(({ event }) => event === 'queue');
    return first && JSON.parse(first.data).position;
  });
  expect(positions.sort()).toEqual([1, 2, 3, 4, 5, undefined, undefined]);
}, 60_000);
