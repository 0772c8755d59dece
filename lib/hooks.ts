import { inspect } from 'node:util';
import createDebug from 'debug';
import type { ClaudeMessage } from './claude/messages.js';
import { ClaudeStreamError } from './errors.js';
import type { RunContext, Settings } from './options.js';
import type { Outcome } from './outcome.js';

const debug = createDebug('claude-stream:run');

/** The application's hooks for one run, none of which throws. */
export interface Hooks {
  onStart(pid: number): void;
  /** `undefined` when nobody asks: a hundred thousand messages may be passed then without being parsed in full. */
  readonly onMessage: ((message: ClaudeMessage) => void) | undefined;
  onEnd(outcome: Outcome): void;
  onError(error: ClaudeStreamError): void;
  /** One of the application's functions failed. */
  onFailure(name: string, cause: unknown): void;
}

/**
 * The application's hooks. What one of them throws, or rejects with, must not end a run: it goes to `onError`, once for
 * each hook, since `onMessage` may be called a hundred thousand times.
 */
export function guardedHooks(hooks: Settings['hooks'], context: RunContext): Hooks {
  const reported = new Set<string>();
  const guarded = (name: string, call: () => unknown, onFailure: (cause: unknown) => void) => {
    const fail = (cause: unknown) => {
      if (!reported.has(name)) onFailure(cause);
      reported.add(name);
    };
    try {
      const returned = call();
      if (returned !== undefined) Promise.resolve(returned).catch(fail);
    } catch (cause) {
      fail(cause);
    }
  };
  const report = (error: ClaudeStreamError) => {
    debug('%s: %o', context.runId, error);
    guarded(
      'onError',
      () => hooks.onError?.(error, context),
      (cause) => process.emitWarning(`claude-stream: the hook onError failed: ${described(cause)}`),
    );
  };
  const onFailure = (name: string, cause: unknown) =>
    report(
      new ClaudeStreamError('hook_failed', `The function "${name}" failed: ${described(cause)}`, {
        cause,
      }),
    );
  const run = (name: string, call: () => unknown) =>
    guarded(name, call, (cause) => onFailure(name, cause));
  const { onMessage } = hooks;
  return {
    onError: report,
    onFailure,
    onStart: (pid) => run('onStart', () => hooks.onStart?.({ ...context, pid })),
    onMessage: onMessage && ((message) => run('onMessage', () => onMessage(message, context))),
    onEnd: (outcome) => {
      run('onEnd', () => hooks.onEnd?.(outcome, context));
      if (outcome.status !== 'success' && outcome.status !== 'interrupted') {
        report(new ClaudeStreamError(outcome.code, operatorMessage(outcome)));
      }
    },
  };
}

/** What was thrown may be anything, and throw once more when it is looked at. */
export function described(cause: unknown): string {
  try {
    return inspect(cause);
  } catch {
    return 'something that cannot be shown';
  }
}

function operatorMessage(outcome: Exclude<Outcome, { status: 'success' }>): string {
  if ('detail' in outcome && outcome.detail !== undefined) return outcome.detail;
  const stderr = outcome.stderrTail.trim();
  return stderr === '' ? outcome.message : `${outcome.message}\n${stderr}`;
}
