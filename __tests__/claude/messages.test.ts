import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ClaudeMessage,
  isAssistant,
  isControlRequest,
  isControlResponse,
  isIdle,
  isMessage,
  isResult,
  isStreamEvent,
  isSystem,
  isUser,
} from '../../lib/claude/messages';

const guards = {
  isStreamEvent,
  isAssistant,
  isUser,
  isSystem,
  isResult,
  isControlRequest,
  isControlResponse,
};

/** The guards that know a message. */
function knownBy(message: ClaudeMessage): string[] {
  return Object.entries(guards)
    .filter(([, guard]) => guard(message))
    .map(([name]) => name);
}

describe('a message', () => {
  test.each([[{ type: 'a' }], [{ type: '', more: 1 }]])('is %j', (value) => {
    expect(isMessage(value)).toBe(true);
  });

  test.each([[null], [undefined], [42], ['{"type":"a"}'], [[]], [{}], [{ type: 1 }]])(
    'is not %j',
    (value) => {
      expect(isMessage(value)).toBe(false);
    },
  );
});

describe('a guard', () => {
  const block = { type: 'text', text: 'x' };
  const cases: [ClaudeMessage, string[]][] = [
    [{ type: 'stream_event', event: { type: 'ping' } }, ['isStreamEvent']],
    [{ type: 'stream_event' }, []],
    [{ type: 'stream_event', event: null }, []],
    [{ type: 'assistant', message: { content: [block] } }, ['isAssistant']],
    [{ type: 'assistant', message: { content: [] } }, ['isAssistant']],
    [{ type: 'assistant', message: { content: 'x' } }, []],
    [{ type: 'assistant', message: { content: [null] } }, []],
    [{ type: 'assistant', message: null }, []],
    [{ type: 'user', message: { content: 'x' } }, ['isUser']],
    [{ type: 'user', message: { content: [block] } }, ['isUser']],
    [{ type: 'user', message: { content: 7 } }, []],
    [{ type: 'system', subtype: 'init' }, ['isSystem']],
    [{ type: 'system' }, []],
    [{ type: 'result', is_error: false }, ['isResult']],
    [{ type: 'control_request', request_id: 'a', request: {} }, ['isControlRequest']],
    [{ type: 'control_request', request_id: 7, request: {} }, []],
    [{ type: 'control_request', request_id: 'a', request: null }, []],
    [{ type: 'control_request', request_id: 'a' }, []],
    [{ type: 'control_response', response: {} }, ['isControlResponse']],
    [{ type: 'control_response', response: null }, []],
    [{ type: 'control_response' }, []],
    [{ type: 'brand_new', payload: 1 }, []],
  ];

  test.each(cases)('reads %j as %j', (message, expected) => {
    expect(knownBy(message)).toEqual(expected);
  });

  test('exists for every message of the known types that the CLI ever wrote', () => {
    const folder = join(__dirname, '../fixtures/transcripts');
    const types = /^(stream_event|assistant|user|system|result)$/;
    let seen = 0;
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.jsonl'))) {
      for (const line of readFileSync(join(folder, file), 'utf8').split('\n').filter(Boolean)) {
        const message: ClaudeMessage = JSON.parse(line);
        if (!types.test(message.type)) continue;
        expect(knownBy(message)).toHaveLength(1);
        seen += 1;
      }
    }
    expect(seen).toBeGreaterThan(100);
  });
});

describe('the CLI is idle', () => {
  const idle = { type: 'system', subtype: 'session_state_changed', state: 'idle' };

  test('when it says so', () => {
    expect(isIdle(idle)).toBe(true);
  });

  test.each([
    [{ ...idle, state: 'running' }],
    [{ ...idle, subtype: 'status' }],
    [{ ...idle, type: 'assistant' }],
    [{ type: 'result' }],
  ])('not with %j', (message) => {
    expect(isIdle(message)).toBe(false);
  });
});
