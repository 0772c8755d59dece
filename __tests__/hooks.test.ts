import { setImmediate } from 'node:timers/promises';
import type { Request } from 'express';
import { ClaudeStreamError } from '../lib/errors';
import { guardedHooks } from '../lib/hooks';
import type { ClaudeStreamOptions, RunContext } from '../lib/options';
import type { Outcome } from '../lib/outcome';

const context: RunContext = { runId: 'run-1', request: {} as Request };
const oops = new Error('oops');
const message = { type: 'system' };

const outcome = (fields: object) => ({ stderrTail: '', ...fields }) as unknown as Outcome;
const success = outcome({ status: 'success', result: 'Hi' });

/** The hooks of an application, and the errors that it was told of. */
function hooksOf(own: Pick<ClaudeStreamOptions, 'onStart' | 'onMessage' | 'onEnd'> = {}) {
  const errors: ClaudeStreamError[] = [];
  const onError = (error: ClaudeStreamError) => void errors.push(error);
  return { hooks: guardedHooks({ ...own, onError }, context), errors };
}

describe('a hook', () => {
  test('is called with its subject and the run', () => {
    const calls: unknown[] = [];
    const note = (...all: unknown[]) => void calls.push(all);
    const { hooks } = hooksOf({ onStart: note, onMessage: note, onEnd: note });
    hooks.onStart(7);
    hooks.onMessage?.(message);
    hooks.onEnd(success);
    expect(calls).toEqual([[{ ...context, pid: 7 }], [message, context], [success, context]]);
  });

  test('may be absent', () => {
    const hooks = guardedHooks(
      { onStart: undefined, onMessage: undefined, onEnd: undefined, onError: undefined },
      context,
    );
    expect(hooks.onMessage).toBeUndefined();
    hooks.onStart(7);
    hooks.onEnd(outcome({ status: 'crashed', code: 'crashed', detail: '' }));
    hooks.onFailure('canUseTool', oops);
  });

  test.each([
    [
      'throws',
      () => {
        throw oops;
      },
    ],
    ['rejects', () => Promise.reject(oops)],
    ['rejects with nothing', () => Promise.reject(undefined)],
    [
      'returns something that only looks like a promise',
      // biome-ignore lint/suspicious/noThenProperty: that is what is tested
      () => ({ then: (_: unknown, reject: (cause: unknown) => void) => reject(oops) }),
    ],
  ])('that %s is reported, once for each hook', async (_how, fails) => {
    const hook = fails as () => void;
    const { hooks, errors } = hooksOf({ onStart: hook, onMessage: hook, onEnd: hook });
    hooks.onStart(7);
    for (let time = 0; time < 5; time++) hooks.onMessage?.(message);
    hooks.onEnd(success);
    await setImmediate();
    expect(errors.map(({ code }) => code)).toEqual(Array(3).fill('hook_failed'));
    expect(errors.map((error) => /The function "(\w+)" failed/.exec(error.message)?.[1])).toEqual([
      'onStart',
      'onMessage',
      'onEnd',
    ]);
  });

  test('of the application that fails elsewhere is reported by its name, with its cause', () => {
    const { hooks, errors } = hooksOf();
    hooks.onFailure('canUseTool', oops);
    expect(errors[0]).toMatchObject({ code: 'hook_failed', cause: oops });
    expect(errors[0]?.message).toContain('"canUseTool" failed: Error: oops');
    expect(errors[0]?.publicMessage).toBe('The server failed.');
  });
});

describe('onError', () => {
  test.each([
    () => {
      throw oops;
    },
    (() => Promise.reject(oops)) as () => void,
  ])('that fails itself is a warning of the process, once', async (onError) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const none = { onStart: undefined, onMessage: undefined, onEnd: undefined };
    const hooks = guardedHooks({ ...none, onError }, context);
    for (let time = 0; time < 3; time++) {
      hooks.onError(new ClaudeStreamError('crashed', 'It crashed.'));
    }
    await setImmediate();
    expect(warn.mock.calls.map(([text]) => text)).toEqual([
      expect.stringContaining('the hook onError failed: Error: oops'),
    ]);
    warn.mockRestore();
  });

  test.each([
    ['success', {}],
    ['interrupted', { code: 'interrupted', message: 'The run was interrupted.' }],
  ])('is not told of a run that ended with %s', (status, more) => {
    const { hooks, errors } = hooksOf();
    hooks.onEnd(outcome({ status, ...more }));
    expect(errors).toEqual([]);
  });

  test.each([
    [
      { status: 'crashed', code: 'crashed', message: 'Public.', detail: 'Its stderr ends.' },
      'Its stderr ends.',
    ],
    [{ status: 'error', code: 'refused', message: 'Public.' }, 'Public.'],
    [{ status: 'error', code: 'cwd_not_found', message: 'Public.', detail: 'Why.' }, 'Why.'],
    [
      { status: 'error', code: 'refused', message: 'Public.', stderrTail: ' why\n' },
      'Public.\nwhy',
    ],
    [{ status: 'timeout', code: 'idle_timeout', message: 'Public.' }, 'Public.'],
  ])('is told what the operator should know: %j', (fields, expected) => {
    const { hooks, errors } = hooksOf();
    hooks.onEnd(outcome(fields));
    expect(errors).toMatchObject([{ code: fields.code, message: expected }]);
  });
});
