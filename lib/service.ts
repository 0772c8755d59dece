import { setMaxListeners } from 'node:events';
import { Admission } from './admission.js';
import { Chats } from './chats.js';
import { type Command, inquiryFor, spareFor } from './claude/command.js';
import { listModels } from './claude/listModels.js';
import { Pool } from './claude/pool.js';
import { startProcess } from './claude/process.js';
import { Conversations } from './conversations/conversations.js';
import { ClaudeStreamError } from './errors.js';
import { Models } from './models.js';
import type { Settings } from './options.js';
import { createRunId, type Launch } from './run.js';
import { Runs } from './runs.js';

/** Above it, Node's timers fire at once. */
const LONGEST_GRACE = 2 ** 31 - 1;

export interface CloseOptions {
  /** How long the runs that are going on may take to end by themselves, in ms. Default 0. */
  readonly grace?: number | undefined;
}

/** What the requests to one middleware share. */
export class Service {
  readonly settings: Settings;
  readonly runs = new Runs();
  readonly admission: Admission;
  /** `undefined` when a request has no choice. */
  readonly models: Models | undefined;
  readonly conversations: Conversations | undefined;
  /** `undefined` where no client can come back. */
  readonly chats: Chats | undefined;
  readonly #pool: Pool | undefined;
  readonly #closing = new AbortController();

  constructor(settings: Settings) {
    const { canUseTool, command, models, sessions, warm } = settings;
    this.settings = settings;
    this.admission = new Admission(settings);
    // Every replay that follows the store listens to it.
    setMaxListeners(0, this.#closing.signal);
    this.models =
      models === 'none'
        ? undefined
        : new Models(models === 'any' ? undefined : models, (signal) =>
            listModels(inquiryFor(command, createRunId(), process.env), signal),
          );
    this.chats = settings.chatStore && new Chats(settings.chatStore);
    this.conversations = sessions && new Conversations(sessions.store);
    const createCommand = () =>
      spareFor(command, createRunId(), process.env, canUseTool !== undefined);
    this.#pool = warm > 0 ? new Pool({ size: warm, createCommand }) : undefined;
  }

  /** Aborted when the last run has ended: the streams of runs of other instances end here. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The way to a process for a command: one that waits, if there is one that fits. */
  launch(command: Command): Launch {
    return async () => this.#pool?.take(command) ?? startProcess(command);
  }

  /**
   * Refuses new runs and those that wait for their turn, lets the others end and stops those that have not; settles when
   * no process is alive.
   *
   * @param grace how long the runs may take to end by themselves, in ms
   */
  async close({ grace = 0 }: CloseOptions = {}): Promise<void> {
    if (typeof grace !== 'number' || !(grace >= 0 && grace <= LONGEST_GRACE)) {
      throw new ClaudeStreamError(
        'invalid_option',
        `"grace" must be a number of milliseconds from 0 to ${LONGEST_GRACE}.`,
      );
    }
    const closed = this.runs.close(grace);
    await Promise.all([closed, this.models?.close(), this.#pool?.close()]);
    this.#closing.abort();
  }
}

export function shuttingDown(): ClaudeStreamError {
  return new ClaudeStreamError('shutting_down', 'claudeStream was closed: no new runs.');
}
