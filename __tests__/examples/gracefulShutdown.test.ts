import { startGracefulShutdown } from '../../examples/gracefulShutdown.js';
import { open, outcomeOf, post, reading } from '../chatServer';

beforeAll(() => {
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
});

it('lets the run that is going on come to its end, and refuses another meanwhile', async () => {
  const server = await startGracefulShutdown({ port: 0 });
  const running = reading(await open(`${server.url}/chat`, { prompt: 'tick 5 200' }));
  await running.until((text) => text.includes('tick 1'));
  const closed = server.close();
  const refused = await post(`${server.url}/chat`, { prompt: 'hello' });
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).not.toBeNull();
  expect(outcomeOf(await running.end())).toMatchObject({ status: 'success', turns: 1 });
  await closed;
  await expect(fetch(server.url)).rejects.toThrow('fetch failed');
});

it('tells those who are cut off when the time is up', async () => {
  const server = await startGracefulShutdown({ port: 0, grace: 100 });
  const running = reading(await open(`${server.url}/chat`, { prompt: 'tick 100 200' }));
  await running.until((text) => text.includes('tick 1'));
  await server.close();
  expect(outcomeOf(await running.end())).toMatchObject({ code: 'shutting_down' });
});
