import { inquiryFor } from './claude/command.js';
import { listModels } from './claude/listModels.js';
import { Conversations } from './conversations/conversations.js';
import { Models } from './models.js';
import type { Settings } from './options.js';
import { createRunId } from './run.js';
import { Runs } from './runs.js';

/** What the requests to one middleware share. */
export class Service {
  readonly settings: Settings;
  readonly runs = new Runs();
  /** `undefined` when a request has no choice. */
  readonly models: Models | undefined;
  readonly conversations: Conversations | undefined;

  constructor(settings: Settings) {
    const { command, models, sessions } = settings;
    this.settings = settings;
    this.models =
      models === 'none'
        ? undefined
        : new Models(models === 'any' ? undefined : models, (signal) =>
            listModels(inquiryFor(command, createRunId(), process.env), signal),
          );
    this.conversations = sessions && new Conversations(sessions.store);
  }

  /** Stops every run and refuses new ones; settles when no process is alive. */
  async close(): Promise<void> {
    await Promise.all([this.runs.close(), this.models?.close()]);
  }
}
