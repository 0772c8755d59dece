import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ClaudeMessage,
  isAssistant,
  isResult,
  type ResultMessage,
} from '../lib/claude/messages';
import type { ErrorCode } from '../lib/errors';
import {
  crash,
  endingOf,
  failure as failed,
  interruption,
  isSessionLost,
  type Outcome,
  summaryOf,
  timeout,
  usageOf,
} from '../lib/outcome';

/** The last result of a recorded run, and the error of the synthetic message before it. */
function recorded(name: string): [ResultMessage, string | undefined] {
  const path = join(__dirname, `fixtures/transcripts/${name}.jsonl`);
  const messages: ClaudeMessage[] = readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const result = messages.findLast(isResult);
  if (result === undefined) throw new Error(`${name} has no result.`);
  return [result, messages.findLast(isAssistant)?.error];
}

function failure(fields: Partial<ResultMessage>): ResultMessage {
  return { type: 'result', subtype: 'success', is_error: true, ...fields };
}

describe('a result', () => {
  test('without an error is a success', () => {
    expect(
      endingOf(
        { type: 'result', is_error: false, result: 'Hi', stop_reason: 'end_turn' },
        undefined,
      ),
    ).toEqual({ status: 'success', result: 'Hi', stopReason: 'end_turn' });
  });

  test('without a text or a stop reason is still a success', () => {
    expect(endingOf({ type: 'result', stop_reason: null }, undefined)).toEqual({
      status: 'success',
      result: '',
      stopReason: undefined,
    });
  });

  test('is judged by is_error, not by subtype', () => {
    expect(endingOf(failure({ result: 'API Error' }), undefined)).toMatchObject({
      status: 'error',
      code: 'claude_error',
      message: 'API Error',
    });
    expect(
      endingOf({ type: 'result', subtype: 'error_max_turns', is_error: false }, undefined).status,
    ).toBe('success');
  });

  test.each<[Partial<ResultMessage>, string | undefined, ErrorCode]>([
    [{ subtype: 'error_max_turns' }, undefined, 'max_turns'],
    [{ subtype: 'error_max_budget_usd' }, undefined, 'max_budget'],
    [{ stop_reason: 'refusal' }, undefined, 'refused'],
    [{ terminal_reason: 'prompt_too_long' }, undefined, 'prompt_too_long'],
    [{ errors: ['No conversation found with session ID: x'] }, undefined, 'session_not_found'],
    [{ errors: ['No message found with message.uuid of: x'] }, undefined, 'session_not_found'],
    [{ subtype: 'error_max_structured_output_retries' }, undefined, 'schema_not_met'],
    [{}, 'authentication_failed', 'not_logged_in'],
    [{}, 'billing_error', 'billing'],
    [{}, 'rate_limit', 'rate_limited'],
    [{}, 'max_output_tokens', 'max_output_tokens'],
    [{ api_error_status: 401 }, undefined, 'not_logged_in'],
    [{ api_error_status: 403 }, 'unknown', 'not_logged_in'],
    [{ api_error_status: 429 }, undefined, 'rate_limited'],
    [{ api_error_status: 529 }, undefined, 'overloaded'],
    [{ api_error_status: 503 }, undefined, 'overloaded'],
    [{ api_error_status: 400 }, undefined, 'request_rejected'],
    [{ api_error_status: 413 }, undefined, 'request_rejected'],
    [{ api_error_status: 500 }, undefined, 'claude_error'],
    [{ api_error_status: null }, undefined, 'claude_error'],
    [{}, undefined, 'claude_error'],
  ])('with %j after %j is %s', (fields, apiError, code) => {
    expect(endingOf(failure(fields), apiError)).toMatchObject({ status: 'error', code });
  });

  test.each([
    [{ result: 'Not logged in · Please run /login' }, 'Not logged in · Please run /login'],
    [{ errors: ['One.', 'Two.'] }, 'One.\nTwo.'],
    [{ result: '', errors: ['[ede_diagnostic] x=1', 'Two.'] }, 'Two.'],
    [{ errors: ['[ede_diagnostic] x=1'] }, 'Claude Code reported an error.'],
    [{}, 'Claude Code reported an error.'],
  ])('with %j says %j', (fields, message) => {
    expect(endingOf(failure(fields), undefined)).toMatchObject({ message });
  });

  test('with an answer that meets the schema has it as an object', () => {
    const result = { type: 'result', result: 'Hi', structured_output: { a: 1 } } as const;
    expect(endingOf(result, undefined, true)).toMatchObject({
      status: 'success',
      structuredOutput: { a: 1 },
    });
    expect(endingOf(result, undefined)).not.toHaveProperty('structuredOutput');
  });

  test('without one, when there was a schema, is a failure although the CLI calls it a success', () => {
    expect(endingOf({ type: 'result', is_error: false, result: 'Hi' }, undefined, true)).toEqual(
      failed('schema_not_met', 'Claude did not answer in the format that was asked for.'),
    );
  });

  test('of an interrupted turn is an interruption', () => {
    expect(endingOf(failure({ terminal_reason: 'aborted_tools' }), undefined)).toEqual({
      status: 'interrupted',
      code: 'interrupted',
      message: 'The run was interrupted.',
      reason: 'signal',
    });
  });
});

describe('a session is lost', () => {
  test.each([
    'No conversation found with session ID: 0b5a3c1e-0000-4000-8000-000000000000',
    'No message found with message.uuid of: 0b5a3c1e-0000-4000-8000-000000000000',
  ])('when the CLI says: %s', (error) => {
    expect(isSessionLost(failure({ errors: ['Something else.', error] }))).toBe(true);
    expect(isSessionLost({ ...failure({ errors: [error] }), is_error: false })).toBe(false);
  });

  test('in the recorded run of an unknown session, and in no other', () => {
    expect(isSessionLost(recorded('unknown-resume')[0])).toBe(true);
    expect(isSessionLost(recorded('badrequest')[0])).toBe(false);
  });

  test.each<[unknown]>([[undefined], [null], ['No conversation found with x'], [[null, 7, {}]]])(
    'not with errors of %j',
    (errors) => {
      expect(isSessionLost(failure({ errors: errors as string[] }))).toBe(false);
    },
  );

  test('not when Claude itself says those words', () => {
    expect(isSessionLost(failure({ result: 'No conversation found with session ID: x' }))).toBe(
      false,
    );
  });
});

describe('a recorded run', () => {
  test.each([
    ['hello', 'success'],
    ['bash', 'success'],
    ['subagent', 'success'],
    ['two-turns', 'success'],
    ['permission-denied', 'success'],
    ['slash-command', 'success'],
    ['badrequest', 'prompt_too_long'],
    ['not-logged-in', 'not_logged_in'],
    ['refusal', 'refused'],
    ['maxturns', 'max_turns'],
    ['unknown-resume', 'session_not_found'],
    ['interrupted', 'interrupted'],
    ['sigint', 'interrupted'],
  ])('%s ends with %s', (name, expected) => {
    const ending = endingOf(...recorded(name));
    expect(ending.status === 'success' ? ending.status : ending.code).toBe(expected);
  });
});

describe('an ending without a result', () => {
  test.each([
    ['disconnected', 'interrupted'],
    ['stalled', 'interrupted'],
    ['signal', 'interrupted'],
    ['closed', 'shutting_down'],
  ] as const)('by an interruption (%s) has the code %s', (reason, code) => {
    expect(interruption(reason)).toMatchObject({ status: 'interrupted', reason, code });
  });

  test.each([
    ['firstMessage', 'first_message_timeout'],
    ['idle', 'idle_timeout'],
    ['total', 'total_timeout'],
  ] as const)('by a deadline (%s) has the code %s', (deadline, code) => {
    expect(timeout(deadline)).toMatchObject({ status: 'timeout', deadline, code });
  });

  test('by a crash tells the client nothing but that', () => {
    expect(crash('stderr of /secret/place')).toEqual({
      status: 'crashed',
      code: 'crashed',
      message: 'Claude Code ended without an answer.',
      detail: 'stderr of /secret/place',
    });
  });
});

describe('the usage', () => {
  const big = {
    inputTokens: 1,
    outputTokens: 20,
    cacheReadInputTokens: 3,
    cacheCreationInputTokens: 4,
  };
  const small = { inputTokens: 100, outputTokens: 200 };
  const result = (fields: Partial<ResultMessage>): ResultMessage => ({ type: 'result', ...fields });

  test('is that of the main model, not of its helpers', () => {
    expect(usageOf(result({ modelUsage: { small, big } }), 'big')).toEqual({
      inputTokens: 1,
      outputTokens: 20,
      cacheReadTokens: 3,
      cacheCreationTokens: 4,
    });
  });

  test('is found by the canonical name as well', () => {
    const modelUsage = { small, 'big[1m]': { ...big, canonicalModel: 'big' } };
    expect(usageOf(result({ modelUsage }), 'big')).toMatchObject({ outputTokens: 20 });
  });

  test('is that of the model that wrote most when the main one is unknown', () => {
    expect(usageOf(result({ modelUsage: { big, small } }), undefined)).toMatchObject({
      outputTokens: 200,
    });
  });

  test('is that of the last turn when no model is listed', () => {
    const usage = { input_tokens: 1, output_tokens: 2, cache_read_input_tokens: 3 };
    expect(usageOf(result({ usage, modelUsage: {} }), 'big')).toEqual({
      inputTokens: 1,
      outputTokens: 2,
      cacheReadTokens: 3,
      cacheCreationTokens: 0,
    });
  });

  test('is unknown when nothing tells it', () => {
    expect(usageOf(result({}), 'big')).toBeUndefined();
  });

  test('counts missing numbers as none', () => {
    expect(usageOf(result({ modelUsage: { big: {} } }), 'big')).toEqual({
      inputTokens: 0,
      outputTokens: 0,
      cacheReadTokens: 0,
      cacheCreationTokens: 0,
    });
  });
});

describe('a summary', () => {
  const facts = {
    runId: 'run',
    durationMs: 100,
    timeToFirstMessageMs: 10,
    timeToFirstTokenMs: 20,
    exitCode: 0,
    signal: null,
    sessionId: 'session',
    lastMessageId: 'message',
    model: 'model',
    turns: 1,
    usage: undefined,
    costUsd: 0.5,
    invalidLines: 0,
  };
  const stderrTail = 'stderr of /secret/place';

  test.each<[Outcome, object]>([
    [
      {
        status: 'success',
        result: 'the answer',
        stopReason: 'end_turn',
        structuredOutput: { answer: 1 },
        ...facts,
        stderrTail,
      },
      { status: 'success', stopReason: 'end_turn', ...facts },
    ],
    [
      { ...(crash('detail of /secret/place') as Outcome), ...facts, stderrTail },
      {
        status: 'crashed',
        code: 'crashed',
        message: 'Claude Code ended without an answer.',
        ...facts,
      },
    ],
    [
      { ...(interruption('cancelled') as Outcome), ...facts, stderrTail },
      {
        status: 'interrupted',
        code: 'cancelled',
        message: 'The run was cancelled.',
        reason: 'cancelled',
        ...facts,
      },
    ],
    [
      { ...(timeout('idle') as Outcome), ...facts, stderrTail },
      {
        status: 'timeout',
        code: 'idle_timeout',
        message: 'Claude Code went silent for too long.',
        deadline: 'idle',
        ...facts,
      },
    ],
  ])('of $status has neither the answer nor what only the operator may see', (outcome, shown) => {
    const before = { ...outcome };
    expect(summaryOf(outcome)).toStrictEqual(shown);
    expect(outcome).toEqual(before);
  });
});
