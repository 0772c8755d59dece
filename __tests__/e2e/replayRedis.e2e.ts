import { startInstances } from '../../examples/replay-redis.js';
import { startRedisServer } from '../redisServer';
import { afterTest } from './afterTest';
import { begin, follow, upTo } from './follower';

test('examples/replay-redis: a run that was begun on one instance is followed on the other', async () => {
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
  const redis = await startRedisServer();
  afterTest(() => redis.close());
  const instances = await startInstances({
    redisUrl: `redis://127.0.0.1:${redis.port}`,
    port: 0,
  });
  afterTest(() => instances.close());
  const [one = '', other = ''] = instances.urls;
  const own = await begin(`${one}/chat`, 'tick 5 200');
  const guest = await follow(`${other}/chat/${own.runId}`);
  expect(await guest.ended).toBe(true);
  expect(await own.ended).toBe(true);
  expect(guest.text).toBe(own.text);
  expect(guest.numbers).toEqual(upTo(guest.frames.length));
  expect(guest.last.event).toBe('outcome');
});
