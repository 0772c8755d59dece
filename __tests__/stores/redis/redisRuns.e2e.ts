import { randomUUID } from 'node:crypto';
import { type RedisStoreOptions, redisStore } from '../../../lib/stores/redis/redisStore';
import type { Recording, RunStore } from '../../../lib/stores/store';
import {
  connectNodeRedis,
  type RedisConnections,
  type RedisServer,
  startRedisServer,
} from '../../redisServer';
import { full } from '../fullStore';

let server: RedisServer;
let connections: RedisConnections;
let over: AbortController;
let recording: Recording | undefined;

beforeAll(async () => {
  server = await startRedisServer();
});

beforeEach(async () => {
  connections = await connectNodeRedis(server.port);
  over = new AbortController();
});

afterEach(async () => {
  recording?.release();
  recording = undefined;
  over.abort();
  await connections.close();
});

afterAll(() => server.close());

function openRuns(options: Partial<RedisStoreOptions> = {}): RunStore {
  const settings = { prefix: `${randomUUID()}:`, ownerTimeout: 800 };
  return full(redisStore({ ...connections.options, ...settings, ...options })).runs;
}

function record(runs: RunStore): Recording {
  recording = runs.record({ runId: 'a', startedAt: 1, user: undefined }, () => {});
  return recording;
}

/** Follows and may be left alone: what it rejects with at the end of the test is nobody's. */
function follow(runs: RunStore, after: number) {
  const page = runs.read('a', after, over.signal);
  page.catch(() => {});
  return page;
}

/** Settles when it is called. */
function event(): { readonly happened: Promise<void>; happen(): void } {
  let happen = () => {};
  const happened = new Promise<void>((resolve) => {
    happen = resolve;
  });
  return { happened, happen };
}

describe('a run that ends while it is looked at', () => {
  test('is read to its end by who reads once', async () => {
    const { sendCommand } = connections.options;
    let run: Recording | undefined;
    const runs = openRuns({
      sendCommand: async (command, ...args) => {
        const reply = await sendCommand(command, ...args);
        // After the frames were looked for, and before it is asked whether the run is over.
        if (command === 'XRANGE' && run) {
          const ending = run;
          run = undefined;
          await ending.finish(2, ['two'], 'over');
        }
        return reply;
      },
    });
    const started = record(runs);
    await started.append(1, ['one']);
    run = started;
    // What is new may also be left to the next call.
    let page = await runs.read('a', 1);
    if (page.kind === 'nothing') page = await runs.read('a', 1);
    expect(page).toEqual({ kind: 'frames', first: 2, frames: ['two'] });
  });

  test('is read to its end by who follows', async () => {
    const { sendCommand } = connections.options;
    let run: Recording | undefined;
    const runs = openRuns({
      sendCommand: async (command, ...args) => {
        // After a wait in which nothing came, and before it is asked whether the run is over.
        if (command === 'EVAL' && args[1] === '3' && run) {
          const ending = run;
          run = undefined;
          await ending.finish(2, ['two'], 'over');
        }
        return sendCommand(command, ...args);
      },
    });
    const started = record(runs);
    await started.append(1, ['one']);
    run = started;
    expect(await follow(runs, 1)).toEqual({ kind: 'frames', first: 2, frames: ['two'] });
  });
});

test('who begins to follow behind others is given what they have had', async () => {
  const { sendCommand, sendBlockingCommand } = connections.options;
  const [noting, noted, ahead] = [event(), event(), event()];
  const runs = openRuns({
    ownerTimeout: 16_000,
    sendCommand: async (command, ...args) => {
      if (command === 'SET') {
        noting.happen();
        await noted.happened;
      }
      return sendCommand(command, ...args);
    },
    sendBlockingCommand: (command, ...args) => {
      if (args.includes('2-0')) ahead.happen();
      return sendBlockingCommand(command, ...args);
    },
  });
  const run = record(runs);
  await run.append(1, ['one']);
  const behind = follow(runs, 1);
  await noting.happened;
  const other = follow(runs, 1);
  await run.append(2, ['two']);
  expect(await other).toEqual({ kind: 'frames', first: 2, frames: ['two'] });
  follow(runs, 2);
  await ahead.happened;
  noted.happen();
  await new Promise((resolve) => setTimeout(resolve, 20));
  await run.append(3, ['three']);
  expect(await behind).toMatchObject({ kind: 'frames', first: 2 });
});

test('a run that its own instance has concluded is not written any more', async () => {
  const runs = openRuns();
  const run = record(runs);
  await run.append(1, ['one']);
  run.release();
  expect(await follow(runs, 1)).toEqual({ kind: 'lost', last: 1 });
  expect(await runs.conclude('a', 2, ['lost'], 'gone')).toBe(true);
  expect(await run.append(2, ['two'])).toBe(false);
});
