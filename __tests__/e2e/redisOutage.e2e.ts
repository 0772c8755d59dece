import { setTimeout as delay } from 'node:timers/promises';
import { record } from './figures';
import { begin, type Follower, follow, type SeenFrame, upTo } from './follower';
import { startRedis } from './redis';
import { connectStore, redisClients } from './redisClients';
import { fixture, serve } from './serve';

const seconds = 1_000;
const outage = 5 * seconds;

const ticks = {
  command: fixture('ticks'),
  env: { TICKS: '230', INTERVAL: '50' },
};

/** init, the beginning of the message, the ticks, the result, the state and the outcome. */
const total = 235;

/** The longest time between two events, in ms. */
function longestSilence(frames: readonly SeenFrame[]): number {
  return Math.max(...frames.slice(1).map(({ at }, index) => at - Number(frames[index]?.at)));
}

/** Each event of the run is there, with the same bytes, or a gap names its number; settles with how many are missing. */
function expectWholeButForGaps({ frames, last }: Follower, own: Follower): number {
  let [next, missing] = [1, 0];
  for (const { event, number, data, text } of frames) {
    if (event === 'gap') {
      const gap = JSON.parse(data);
      expect(gap).toMatchObject({ code: 'events_lost', first: next, last: number });
      expect(gap.last).toBeGreaterThanOrEqual(next);
      missing += gap.last - next + 1;
      next = gap.last + 1;
    } else {
      expect({ number, text }).toEqual({ number: next, text: own.frames[next - 1]?.text });
      next += 1;
    }
  }
  expect(next).toBe(total + 1);
  expect(last.event).toBe('outcome');
  return missing;
}

test.each(redisClients)(
  'Redis is gone for a while in the middle of a run, and comes back empty: %s',
  async (client) => {
    const redis = await startRedis();
    const a = await serve({ ...ticks, store: await connectStore(client, redis.port) });
    const b = await serve({ ...ticks, store: await connectStore(client, redis.port) });
    const own = await begin(a.url);
    const { runId } = own;
    const follower = await follow(`${b.url}/${runId}`);
    await follower.seen(40);
    await redis.stop();
    await delay(outage);
    await redis.start();
    // One that has seen nothing, and comes while the run still goes on.
    await own.seen(190);
    const late = await follow(`${b.url}/${runId}`);

    expect(await own.ended).toBe(true);
    expect(own.numbers).toEqual(upTo(total));
    expect(JSON.parse(own.last.data)).toMatchObject({ status: 'success' });
    const silence = longestSilence(own.frames);
    record('ms of the longest silence of the own client', silence);
    expect(silence).toBeLessThan(1 * seconds);

    expect(await follower.ended).toBe(true);
    record('events that the follower missed', expectWholeButForGaps(follower, own));
    record('ms of the longest silence of the follower', longestSilence(follower.frames));

    expect(await late.ended).toBe(true);
    const lost = expectWholeButForGaps(late, own);
    record('events that were lost', lost);
    // What was written before the outage is lost, what came in it is not.
    expect(lost).toBeGreaterThanOrEqual(30);
    expect(lost).toBeLessThan(60);
    expect(late.frames.filter(({ event }) => event === 'gap')).toHaveLength(1);

    const after = await follow(`${b.url}/${runId}`);
    expect(await after.ended).toBe(true);
    expect(after.text).toBe(late.text);
  },
);
