import createDebug from 'debug';
import type { ClaudeModel } from './claude/listModels.js';
import { ClaudeStreamError } from './errors.js';

const debug = createDebug('claude-stream:process');

/** A model as clients see it. */
export interface OfferedModel {
  readonly id: string;
  readonly name: string | undefined;
  readonly description: string | undefined;
}

/** The models that a request may choose: by the name it uses, what `--model` takes. */
export type ModelNames = ReadonlyMap<string, string>;

/** How long the CLI's list is taken as it is, in ms; an older one is used once more and asked for again meanwhile. */
const FRESH_FOR = 5 * 60 * 1_000;

/** How long a failure counts, in ms: not every request is to start a process that fails. */
const FAILURE_COUNTS_FOR = 5_000;

/** How long the CLI may take to tell its models, in ms. Open WebUI gives up after 10 s. */
const LIST_TIMEOUT = 8_000;

/** The CLI's name for the model that it uses when none is named. */
const DEFAULT_MODEL = 'default';

/**
 * The models on offer: those that the application names, or those that the CLI has for its account.
 */
export class Models {
  readonly #names: ModelNames | undefined;
  readonly #ask: (signal: AbortSignal) => Promise<ClaudeModel[]>;
  readonly #closing = new AbortController();
  #known: { readonly models: readonly ClaudeModel[]; readonly at: number } | undefined;
  #failed: { readonly error: unknown; readonly at: number } | undefined;
  #asking: Promise<readonly ClaudeModel[]> | undefined;
  /** The questions whose process has not ended yet, asked for or given up. */
  readonly #processes = new Set<Promise<unknown>>();

  /**
   * @param names the application's own; `undefined` for whatever the CLI has
   * @param ask asks the CLI
   */
  constructor(names: ModelNames | undefined, ask: (signal: AbortSignal) => Promise<ClaudeModel[]>) {
    this.#names = names;
    this.#ask = ask;
  }

  /** @throws ClaudeStreamError when the CLI does not tell, and has never told */
  async list(): Promise<OfferedModel[]> {
    const known = await this.#all().catch((error) => {
      // The application's own names hold without the CLI's words about them.
      if (this.#names === undefined) throw error;
      return [];
    });
    if (this.#names === undefined) {
      return known.map((model) => ({ id: model.value, ...wordsOf(model) }));
    }
    return [...this.#names].map(([id, name]) => {
      const model = known.find(({ value, resolvedModel }) => [value, resolvedModel].includes(name));
      const words =
        model && id === name ? wordsOf(model) : { name: undefined, description: undefined };
      return { id, ...words };
    });
  }

  /**
   * What `--model` takes for a name that a request uses; `undefined` for the default.
   *
   * @throws ClaudeStreamError `model_not_offered`
   */
  async resolve(name: string): Promise<string | undefined> {
    if (this.#names !== undefined) {
      const model = this.#names.get(name);
      if (model === undefined) throw notOffered(name, [...this.#names.keys()]);
      return model;
    }
    if (name === DEFAULT_MODEL) return undefined;
    const known = await this.#all();
    if (known.some((model) => isCalled(model, name))) return name;
    throw notOffered(
      name,
      known.map(({ value }) => value),
    );
  }

  /** Gives up a question that is under way; settles when its process has ended. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#processes);
  }

  /** At most one question is under way, and nobody waits for one while an older answer is there. */
  async #all(): Promise<readonly ClaudeModel[]> {
    const now = performance.now();
    const isFresh = this.#known && now - this.#known.at < FRESH_FOR;
    const hasFailed = this.#failed && now - this.#failed.at < FAILURE_COUNTS_FOR;
    if (!isFresh && !hasFailed) {
      this.#asking ??= this.#askInTime()
        .catch((error) => {
          this.#failed = { error, at: performance.now() };
          throw error;
        })
        .finally(() => {
          this.#asking = undefined;
        });
    }
    if (this.#known === undefined && this.#asking === undefined && this.#failed) {
      throw this.#failed.error;
    }
    if (this.#known === undefined) return (await this.#asking) ?? [];
    this.#asking?.catch((error) => debug('the models could not be asked for: %o', error));
    return this.#known.models;
  }

  async #askInTime(): Promise<readonly ClaudeModel[]> {
    if (this.#closing.signal.aborted) throw closed();
    // Not AbortSignal.any() of AbortSignal.timeout(): garbage collection may take that timer away (Node 20.20).
    const givingUp = new AbortController();
    const giveUp = () => givingUp.abort();
    const timer = setTimeout(giveUp, LIST_TIMEOUT).unref();
    this.#closing.signal.addEventListener('abort', giveUp, { once: true });
    const asked = this.#ask(givingUp.signal);
    this.#processes.add(asked);
    const ended = () => this.#processes.delete(asked);
    asked.then(ended, ended);
    try {
      // A process that clings to life is ended, but not waited for.
      const models = await Promise.race([asked, rejectionAt(givingUp.signal)]);
      this.#failed = undefined;
      this.#known = { models, at: performance.now() };
      return models;
    } catch (error) {
      throw this.#closing.signal.aborted ? closed() : error;
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', giveUp);
    }
  }
}

function closed(): ClaudeStreamError {
  return new ClaudeStreamError('shutting_down', 'claudeStream was closed: no new processes.');
}

function rejectionAt(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const error = new ClaudeStreamError(
      'models_unavailable',
      `The CLI did not tell its models within ${LIST_TIMEOUT} ms.`,
    );
    signal.addEventListener('abort', () => reject(error), { once: true });
  });
}

/** A model with a larger context, `opus[1m]`, is there without it as well. */
function isCalled({ value, resolvedModel }: ClaudeModel, name: string): boolean {
  return [value, resolvedModel].some(
    (known) => known === name || known?.replace(/\[\w+\]$/, '') === name,
  );
}

/** In a list beside the models of others, `Opus` alone would not say whose it is. */
function wordsOf({ displayName, description }: ClaudeModel): Omit<OfferedModel, 'id'> {
  return { name: displayName && `Claude ${displayName}`, description };
}

function notOffered(name: string, offered: readonly string[]): ClaudeStreamError {
  return new ClaudeStreamError(
    'model_not_offered',
    `The model "${name.slice(0, 100)}" is not offered. Offered are: ${offered.join(', ')}.`,
    { field: 'model' },
  );
}
