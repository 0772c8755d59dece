import { redisStore } from '../../lib/stores/redis/redisStore';
import type { RunStore } from '../../lib/stores/store';
import { connectIoredis, connectNodeRedis, startRedisServer } from '../redisServer';
import { full } from './fullStore';
import { expectMuch, runModel, seeds } from './runStoreModel';

test('in Redis every reader gets the run, or is told what it missed', async () => {
  const server = await startRedisServer();
  const one = await connectNodeRedis(server.port);
  const two = await connectIoredis(server.port);
  try {
    const [owner, other] = [one, two].map(
      ({ options }) => full(redisStore({ ...options, maxRunBytes: 1_024 })).runs,
    ) as [RunStore, RunStore];
    expectMuch(
      await runModel({
        ...{ seeds: seeds(1_000), concurrency: 50, repeats: true },
        ...{ owner, readers: [owner, other], control: other },
      }),
    );
  } finally {
    await Promise.all([one.close(), two.close()]);
    await server.close();
  }
}, 60_000);
