import { ClaudeStreamError } from '../errors.js';
import { type Command, INITIALIZE_REQUEST } from './command.js';
import { killAtExit } from './killAtExit.js';
import { readLines } from './lines.js';
import { isControlResponse } from './messages.js';
import { startProcess } from './process.js';
import { exitWithin, shutdown } from './shutdown.js';

/** A model that the CLI offers. */
export interface ClaudeModel {
  /** What `--model` takes: `opus`, `sonnet[1m]`, `default`. */
  readonly value: string;
  /** The model's full name, such as `claude-opus-5-5`. */
  readonly resolvedModel: string | undefined;
  readonly displayName: string | undefined;
  readonly description: string | undefined;
}

/** The answer comes within 700 ms; a longer line than this is none. */
const LONGEST_ANSWER = 2 ** 24;

/** How long the CLI may take to leave after its answer, in ms; it takes 20. */
const EXIT_GRACE = 1_000;

/**
 * Asks the CLI which models it offers to the account that it uses. No prompt, no model call; the process has ended when
 * this settles.
 *
 * @param inquiry of `inquiryFor`
 * @param signal gives up; what is left of the process is ended
 * @throws ClaudeStreamError `command_not_found`, `cwd_not_found`, `spawn_failed`, or `models_unavailable`
 */
export async function listModels(inquiry: Command, signal: AbortSignal): Promise<ClaudeModel[]> {
  const process = await startProcess(inquiry);
  killAtExit(process);
  try {
    return await new Promise<ClaudeModel[]>((resolve, reject) => {
      const fail = (reason: string) => {
        const stderr = process.stderrTail.trim();
        reject(
          new ClaudeStreamError(
            'models_unavailable',
            `The CLI did not tell its models: ${reason}.${stderr === '' ? '' : ` Its stderr ends:\n${stderr}`}`,
          ),
        );
      };
      const lines = readLines(
        LONGEST_ANSWER,
        (line) => {
          if (line.kind !== 'message') return;
          const { message } = line;
          if (!isControlResponse(message)) return;
          const { request_id, subtype, response, error } = message.response;
          if (request_id !== INITIALIZE_REQUEST) return;
          const models = modelsOf(response);
          if (subtype !== 'success') fail(`it refused: ${JSON.stringify(error)}`);
          else if (models.length === 0) fail('it named none');
          else resolve(models);
        },
        () => fail('it ended first'),
      );
      process.stdout.on('data', (chunk: Buffer) => lines.write(chunk));
      process.stdout.once('close', () => lines.end());
      if (signal.aborted) fail('it took too long');
      signal.addEventListener('abort', () => fail('it took too long'), { once: true });
    });
  } finally {
    process.closeStdin();
    await exitWithin(process, EXIT_GRACE);
    if (process.exit === undefined) await shutdown(process);
    process.release();
  }
}

function modelsOf(response: unknown): ClaudeModel[] {
  const { models } = (response ?? {}) as { models?: unknown };
  if (!Array.isArray(models)) return [];
  return models.flatMap((model) => {
    const { value, ...names } = (model ?? {}) as Record<string, unknown>;
    if (typeof value !== 'string') return [];
    return [
      {
        value,
        resolvedModel: textOrNothing(names.resolvedModel),
        displayName: textOrNothing(names.displayName),
        description: textOrNothing(names.description),
      },
    ];
  });
}

function textOrNothing(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
