import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inquiryFor } from '../../lib/claude/command';
import { listModels } from '../../lib/claude/listModels';
import { ClaudeStreamError } from '../../lib/errors';
import { fixturePath, isAlive } from './fixtureProcess';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'claude-stream-'));
});

afterEach(async () => {
  expect((await started()).filter(isAlive)).toEqual([]);
  await rm(folder, { recursive: true });
});

/** The processes that the fixture was started as. */
async function started(): Promise<number[]> {
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
  return log.split('\n').filter(Boolean).map(Number);
}

/** Asks the fixture `models`. */
function ask(env: Record<string, string> = {}, signal = new AbortController().signal) {
  const options = { command: fixturePath('models'), env: { ...env, LOG: join(folder, 'log') } };
  return listModels(inquiryFor(options, 'run-models', process.env), signal);
}

async function failureOf(promise: Promise<unknown>): Promise<ClaudeStreamError> {
  const error = await promise.then(
    (value) => new Error(`It succeeded with ${JSON.stringify(value)}.`),
    (cause: unknown) => cause,
  );
  if (error instanceof ClaudeStreamError) return error;
  throw error;
}

describe('a CLI that answers', () => {
  test('tells its models; its process has ended then', async () => {
    expect(await ask()).toEqual([
      {
        value: 'default',
        resolvedModel: 'claude-fixture',
        displayName: 'Default (recommended)',
        description: 'The fixture itself',
      },
      {
        value: 'opus[1m]',
        resolvedModel: 'claude-opus-fixture',
        displayName: 'Opus (1M context)',
        description: undefined,
      },
      {
        value: 'haiku',
        resolvedModel: 'claude-haiku-fixture',
        displayName: 'Haiku',
        description: undefined,
      },
    ]);
    const pids = await started();
    expect(pids).toHaveLength(1);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test('tells them among much else', async () => {
    expect(await ask({ MODE: 'junk' })).toHaveLength(3);
  });

  test('and stays is ended, whatever it does against it', async () => {
    expect(await ask({ MODE: 'lingers' })).toHaveLength(3);
  }, 15_000);

  test('may have models of a shape that nobody has seen yet', async () => {
    const MODELS = JSON.stringify([
      null,
      7,
      'opus',
      {},
      { value: 7 },
      { value: 'a', resolvedModel: 7, displayName: '', description: null },
      { value: 'b', more: [1] },
    ]);
    const plain = { resolvedModel: undefined, displayName: undefined, description: undefined };
    expect(await ask({ MODELS })).toEqual([
      { value: 'a', ...plain },
      { value: 'b', ...plain },
    ]);
  });
});

describe('a CLI that does not answer', () => {
  test('because it dies: says why to the operator only', async () => {
    const error = await failureOf(ask({ MODE: 'dies' }));
    expect(error).toMatchObject({ code: 'models_unavailable', status: 503 });
    expect(error.message).toContain('no account in /secret/place');
    expect(error.publicMessage).toBe('The models are not known yet; try again later.');
  });

  test('because it refuses: that is no empty list', async () => {
    const error = await failureOf(ask({ MODE: 'refuses' }));
    expect(error.code).toBe('models_unavailable');
  });

  test.each(['[]', '[null]', '[{}]', '{}', 'null', '7'])(
    'because it names no model: %s',
    async (MODELS) => {
      const error = await failureOf(ask({ MODELS }));
      expect(error).toMatchObject({ code: 'models_unavailable', status: 503 });
      expect(error.message).toContain('it named none');
    },
  );

  test('is given up when the signal says so, and ended, whatever it does against it', async () => {
    const controller = new AbortController();
    const models = failureOf(ask({ MODE: 'clings' }, controller.signal));
    while ((await started()).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    controller.abort();
    expect(await models).toMatchObject({ code: 'models_unavailable' });
  }, 15_000);

  test('is not waited for when the signal is past already', async () => {
    const error = await failureOf(ask({ MODE: 'answers' }, AbortSignal.abort()));
    expect(error.code).toBe('models_unavailable');
  });

  test('because it is not there', async () => {
    const options = { command: 'claude-that-nobody-has' };
    const inquiry = inquiryFor(options, 'run-models', process.env);
    const error = await failureOf(listModels(inquiry, new AbortController().signal));
    expect(error.code).toBe('command_not_found');
  });
});
