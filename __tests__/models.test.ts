import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ClaudeModel } from '../lib/claude/listModels';
import { ClaudeStreamError } from '../lib/errors';
import { Models } from '../lib/models';

const model = (value: string, more: Partial<ClaudeModel> = {}): ClaudeModel => ({
  value,
  resolvedModel: undefined,
  displayName: undefined,
  description: undefined,
  ...more,
});

const all = [
  model('default', { resolvedModel: 'claude-sonnet-5', displayName: 'Default (recommended)' }),
  model('opus[1m]', {
    resolvedModel: 'claude-opus-5-5[1m]',
    displayName: 'Opus',
    description: 'For what is hard',
  }),
  model('haiku', { resolvedModel: 'claude-haiku-4-5' }),
];

/** A CLI that is asked for its models and answers when the test says so. */
function cli() {
  const questions: {
    signal: AbortSignal;
    answer: (models: ClaudeModel[]) => void;
    fail: (error: unknown) => void;
  }[] = [];
  return {
    questions,
    ask: (signal: AbortSignal) =>
      new Promise<ClaudeModel[]>((answer, fail) => {
        questions.push({ signal, answer, fail });
      }),
  };
}

const answering = (models: ClaudeModel[] = all) => jest.fn(async () => models);

const unavailable = new ClaudeStreamError('models_unavailable', 'It ended first.');

/** Moves the clock that tells how old an answer is. */
function later(ms: number): void {
  const now = performance.now();
  jest.spyOn(performance, 'now').mockImplementation(() => now + ms);
}

const ticks = () => new Promise((resolve) => setImmediate(resolve));

afterEach(() => {
  jest.restoreAllMocks();
});

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error) => error.code,
  );
}

describe('the list', () => {
  it('has what the CLI has, with its words', async () => {
    expect(await new Models(undefined, answering()).list()).toEqual([
      { id: 'default', name: 'Claude Default (recommended)', description: undefined },
      { id: 'opus[1m]', name: 'Claude Opus', description: 'For what is hard' },
      { id: 'haiku', name: undefined, description: undefined },
    ]);
  });

  it('has the names of the application, and the words of the CLI about those that it knows', async () => {
    const names = new Map([
      ['opus[1m]', 'opus[1m]'],
      ['claude-haiku-4-5', 'claude-haiku-4-5'],
      ['own', 'own'],
      ['gpt-4o', 'opus[1m]'],
    ]);
    expect(await new Models(names, answering()).list()).toEqual([
      { id: 'opus[1m]', name: 'Claude Opus', description: 'For what is hard' },
      { id: 'claude-haiku-4-5', name: undefined, description: undefined },
      { id: 'own', name: undefined, description: undefined },
      { id: 'gpt-4o', name: undefined, description: undefined },
    ]);
  });

  it('has the names of the application also when the CLI does not tell', async () => {
    const fails = jest.fn(() => Promise.reject(unavailable));
    expect(await new Models(new Map([['opus', 'opus']]), fails).list()).toEqual([
      { id: 'opus', name: undefined, description: undefined },
    ]);
  });
});

describe('the CLI', () => {
  it('is asked once while its answer is fresh', async () => {
    const ask = answering();
    const models = new Models(undefined, ask);
    for (let time = 0; time < 5; time++) await models.list();
    await models.resolve('haiku');
    expect(ask).toHaveBeenCalledTimes(1);
  });

  it('is asked nothing before somebody wants to know', () => {
    const ask = answering();
    new Models(undefined, ask);
    expect(ask).not.toHaveBeenCalled();
  });

  it('is asked one question at a time, whose answer all get', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const lists = Promise.all([models.list(), models.list(), models.resolve('haiku')]);
    await ticks();
    expect(questions).toHaveLength(1);
    questions[0]?.answer(all);
    const [first, second, name] = await lists;
    expect(first).toEqual(second);
    expect(name).toBe('haiku');
  });

  it('is asked again after five minutes, and nobody waits for it', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const first = models.list();
    questions[0]?.answer([model('old')]);
    expect(await first).toMatchObject([{ id: 'old' }]);

    later(5 * 60 * 1_000);
    expect(await models.list()).toMatchObject([{ id: 'old' }]);
    expect(await models.list()).toMatchObject([{ id: 'old' }]);
    expect(questions).toHaveLength(2);
    questions[1]?.answer([model('new')]);
    await ticks();
    expect(await models.list()).toMatchObject([{ id: 'new' }]);
    expect(questions).toHaveLength(2);
  });

  it('that fails leaves its last answer in force, and is asked again after 5 s', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const first = models.list();
    questions[0]?.answer([model('old')]);
    await first;

    later(5 * 60 * 1_000);
    await models.list();
    questions[1]?.fail(unavailable);
    await ticks();
    later(4_900);
    expect(await models.list()).toMatchObject([{ id: 'old' }]);
    expect(questions).toHaveLength(2);
    later(100);
    expect(await models.list()).toMatchObject([{ id: 'old' }]);
    expect(questions).toHaveLength(3);
    questions[2]?.answer([model('new')]);
    await ticks();
    expect(await models.list()).toMatchObject([{ id: 'new' }]);
  });

  it('that has never answered is an error, and is asked again after 5 s', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const list = codeOf(models.list());
    const resolved = codeOf(models.resolve('haiku'));
    questions[0]?.fail(unavailable);
    expect([await list, await resolved]).toEqual(['models_unavailable', 'models_unavailable']);
    later(4_900);
    for (let time = 0; time < 5; time++) {
      expect(await codeOf(models.list())).toBe('models_unavailable');
      expect(await codeOf(models.resolve('haiku'))).toBe('models_unavailable');
    }
    expect(questions).toHaveLength(1);
    later(100);
    const again = models.list();
    expect(questions).toHaveLength(2);
    questions[1]?.answer(all);
    expect(await again).toHaveLength(3);
  });

  it('that answers after a failure is believed: the failure counts no more', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const failed = codeOf(models.list());
    questions[0]?.fail(unavailable);
    expect(await failed).toBe('models_unavailable');
    later(5_000);
    const again = models.list();
    questions[1]?.answer(all);
    await again;
    expect(await models.list()).toHaveLength(3);
    expect(questions).toHaveLength(2);
  });

  it('that fails is not asked for each request for the names of the application, either', async () => {
    const fails = jest.fn(() => Promise.reject(unavailable));
    const models = new Models(new Map([['opus', 'opus']]), fails);
    for (let time = 0; time < 5; time++) expect(await models.list()).toHaveLength(1);
    expect(fails).toHaveBeenCalledTimes(1);
  });

  it('gets a signal that ends the question in time for Open WebUI, which waits 10 s', async () => {
    jest.useFakeTimers();
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const list = codeOf(models.list());
    jest.advanceTimersByTime(7_000);
    expect(questions[0]?.signal.aborted).toBe(false);
    jest.advanceTimersByTime(2_000);
    expect(questions[0]?.signal.aborted).toBe(true);
    jest.useRealTimers();
    // The process itself has not ended yet.
    expect(await list).toBe('models_unavailable');
    questions[0]?.fail(unavailable);
  });

  it('gets a signal that garbage collection does not take the clock from', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const list = codeOf(models.list());
    const collecting = setInterval(collect, 100);
    expect(await list).toBe('models_unavailable');
    clearInterval(collecting);
    questions[0]?.fail(unavailable);
  });
});

describe('a name', () => {
  const models = () => new Models(undefined, answering());

  it.each([
    ['opus[1m]', 'opus[1m]'],
    ['opus', 'opus'],
    ['haiku', 'haiku'],
    ['claude-opus-5-5', 'claude-opus-5-5'],
    ['claude-opus-5-5[1m]', 'claude-opus-5-5[1m]'],
    ['claude-haiku-4-5', 'claude-haiku-4-5'],
    ['default', undefined],
  ])('%s is resolved to %s', async (name, expected) => {
    expect(await models().resolve(name)).toBe(expected);
  });

  it.each([
    'gpt-4o',
    '',
    'opus[2m]',
    'opus[',
    'opu',
    'claude',
    'Opus',
    '--model',
    '__proto__',
    'undefined',
    '*',
  ])('%j is not offered, and what is offered is said', async (name) => {
    const refused = models().resolve(name);
    await expect(refused).rejects.toMatchObject({
      code: 'model_not_offered',
      field: 'model',
      message: `The model "${name}" is not offered. Offered are: default, opus[1m], haiku.`,
    });
  });

  it('of great length is not repeated in full', async () => {
    const error = await models()
      .resolve('x'.repeat(1_000_000))
      .catch((cause: Error) => cause);
    expect((error as Error).message.length).toBeLessThan(300);
  });

  it('the default needs no answer of the CLI', async () => {
    const ask = answering();
    expect(await new Models(undefined, ask).resolve('default')).toBeUndefined();
    expect(ask).not.toHaveBeenCalled();
  });

  describe('of the application', () => {
    const own = () => {
      const ask = answering();
      const names = new Map([
        ['gpt-4o', 'sonnet'],
        ['default', 'opus'],
      ]);
      return { ask, models: new Models(names, ask) };
    };

    it('is resolved to what the application says, without the CLI', async () => {
      const { ask, models: offered } = own();
      expect(await offered.resolve('gpt-4o')).toBe('sonnet');
      expect(await offered.resolve('default')).toBe('opus');
      expect(ask).not.toHaveBeenCalled();
    });

    it.each(['sonnet', 'opus', 'haiku', 'claude-haiku-4-5', '__proto__', 'constructor'])(
      'is the only kind that is offered: not %s',
      async (name) => {
        await expect(own().models.resolve(name)).rejects.toMatchObject({
          code: 'model_not_offered',
          message: `The model "${name}" is not offered. Offered are: gpt-4o, default.`,
        });
      },
    );
  });
});

describe('close', () => {
  it('ends the question that is under way, and waits for its end', async () => {
    const { ask, questions } = cli();
    const models = new Models(undefined, ask);
    const list = codeOf(models.list());
    let closed = false;
    const closing = models.close().then(() => {
      closed = true;
    });
    expect(questions[0]?.signal.aborted).toBe(true);
    await ticks();
    expect(closed).toBe(false);
    questions[0]?.fail(unavailable);
    await closing;
    expect(await list).toBe('shutting_down');
  });

  it('without a question is done at once', async () => {
    const models = new Models(undefined, answering());
    await models.close();
    await models.close();
  });

  it('is the end of questions: no process is started after it', async () => {
    const ask = answering();
    const models = new Models(undefined, ask);
    await models.close();
    await models.list().catch(() => undefined);
    await models.resolve('haiku').catch(() => undefined);
    expect(ask.mock.calls).toHaveLength(0);
  });
});
