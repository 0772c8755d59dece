import { ClaudeStreamError, errorCodes, publicMessageOf, statusOf } from '../lib/errors';

describe('every code', () => {
  test.each(errorCodes)(
    '%s has a status and a sentence that tells nothing of the server',
    (code) => {
      expect(statusOf(code)).toBeGreaterThanOrEqual(400);
      expect(statusOf(code)).toBeLessThan(600);
      expect(publicMessageOf(code)).toMatch(/^[A-Z][^/\\\n]*\.$/);
    },
  );

  test('is a word of snake_case', () => {
    for (const code of errorCodes) expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
    expect(new Set(errorCodes).size).toBe(errorCodes.length);
  });
});

describe('an error', () => {
  const cause = new Error('spawn claude ENOENT');
  const error = new ClaudeStreamError('command_not_found', '/opt/claude is not there.', { cause });

  test('is an Error with a code and a cause', () => {
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'ClaudeStreamError', code: 'command_not_found', cause });
    expect(String(error)).toBe('ClaudeStreamError: /opt/claude is not there.');
  });

  test('of the server hides its message from clients', () => {
    expect(error).toMatchObject({
      status: 500,
      expose: false,
      message: '/opt/claude is not there.',
      publicMessage: 'Claude Code is not installed on this server.',
    });
  });

  test('of the client shows its message', () => {
    expect(new ClaudeStreamError('invalid_prompt', 'The prompt is empty.')).toMatchObject({
      status: 400,
      expose: true,
      message: 'The prompt is empty.',
      publicMessage: 'The prompt is empty.',
    });
  });
});
