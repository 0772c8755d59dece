import type { ClaudeMessage } from '../../lib/claude/messages.js';
import {
  type ClientFormat,
  type Message,
  messageReducer,
  readEvents,
  wordsOf,
} from '../../lib/client.js';
import {
  assistant,
  blockStart,
  messageDelta,
  messageStart,
  permissionRequest,
  result,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
  toolUse,
} from '../formats/support.js';
import { all, formatNames, responseOf, streamOf } from './support.js';

async function messagesOf(name: string, format: ClientFormat): Promise<Message[]> {
  const reduce = messageReducer(format);
  return (await all(readEvents(responseOf([streamOf(name, format)]), { format }))).map(reduce);
}

async function messageOf(name: string, format: ClientFormat): Promise<Message> {
  const message = (await messagesOf(name, format)).at(-1);
  if (message === undefined) throw new Error('There was no event.');
  return message;
}

/** Tells a reducer of the format `claude` message by message, or that some are missing. */
function told() {
  const reduce = messageReducer();
  const lost = { code: 'events_lost', message: 'Gone.', first: 3, last: 8 };
  return {
    say: (message: ClaudeMessage) => reduce({ kind: 'message', id: undefined, message }),
    gap: () => reduce({ kind: 'gap', id: undefined, ...lost }),
  };
}

const condensed = (text: string) => text.replace(/\s+/g, '');

const successes = [
  'hello',
  'think',
  'read',
  'bash',
  'parallel',
  'subagent',
  'two-turns',
  'slash-command',
];
const failures = ['midfail', 'not-logged-in', 'refusal', 'maxturns'];

describe.each(successes)('%s', (name) => {
  it('says the same in every format', async () => {
    const messages = await Promise.all(formatNames.map((format) => messageOf(name, format)));
    const [first] = messages;
    expect(condensed(wordsOf(first as Message, 'text'))).not.toBe('');
    for (const message of messages) {
      for (const type of ['text', 'thinking'] as const) {
        expect(condensed(wordsOf(message, type))).toBe(condensed(wordsOf(first as Message, type)));
      }
      expect(message.outcome?.status).toBe('success');
      expect(message.runId).toBe('run');
      expect(message.model).toBe(first?.model);
      expect(message.usage?.outputTokens).toBe(first?.usage?.outputTokens);
      expect(message.usage?.inputTokens).toBe(first?.usage?.inputTokens);
    }
  });

  it('has the same tools in the formats that have some', async () => {
    const [one, other] = await Promise.all(
      (['claude', 'ui-message'] as const).map((format) => messageOf(name, format)),
    );
    const toolsOf = (message?: Message) => message?.parts.filter(({ type }) => type === 'tool');
    expect(toolsOf(one)).toEqual(toolsOf(other));
  });
});

describe.each(failures)('%s', (name) => {
  it.each(formatNames)('has failed in words in the format %s', async (format) => {
    const { outcome } = await messageOf(name, format);
    expect(outcome?.status).not.toBe('success');
    expect(outcome?.message).toMatch(/\w/);
  });
});

describe('a message', () => {
  it('grows in the order in which it is said', async () => {
    const messages = await messagesOf('read', 'claude');
    const texts = messages.map((message) => wordsOf(message, 'text'));
    for (const [index, text] of texts.entries()) {
      expect(text.startsWith(texts[index - 1] ?? '')).toBe(true);
    }
    expect(messages.at(-1)?.parts.map(({ type }) => type)).toEqual([
      'thinking',
      'text',
      'tool',
      'text',
    ]);
  });

  it('shows a tool from its first word to its result', async () => {
    const seen = (await messagesOf('read', 'claude')).flatMap(({ parts }) =>
      parts.flatMap((part) => (part.type === 'tool' ? part : [])),
    );
    const states = seen.map(({ state }) => state);
    expect([...new Set(states)]).toEqual(['writing', 'running', 'done']);
    expect(seen[0]).toMatchObject({ name: 'Read', inputJson: '', input: undefined });
    expect(seen.at(-1)).toMatchObject({
      name: 'Read',
      input: { file_path: expect.any(String) },
      result: expect.any(String),
    });
  });

  it('is another object after every event, and its parts only when they change', async () => {
    const messages = await messagesOf('read', 'claude');
    const last = messages.at(-1);
    const before = messages.findLast(({ parts }) => parts.length === 2);
    expect(last?.parts[0]).toBe(before?.parts[0]);
    expect(last).not.toBe(before);
  });

  it('has its place in the queue while it waits', () => {
    const reduce = messageReducer();
    expect(reduce({ kind: 'queue', id: 'r:1', position: 2 }).position).toBe(2);
    expect(reduce({ kind: 'queue', id: 'r:2', position: 0 }).position).toBeUndefined();
  });

  it('has no tool left open when the run has ended', () => {
    const reduce = messageReducer();
    const content_block = { type: 'tool_use', id: 't', name: 'Read', input: {} };
    const event = { type: 'content_block_start', index: 1, content_block };
    reduce({
      kind: 'message',
      id: 'r:1',
      message: { type: 'stream_event', parent_tool_use_id: null, event },
    });
    const { parts } = reduce({
      kind: 'outcome',
      id: 'r:2',
      outcome: { status: 'crashed', code: 'crashed', message: 'It crashed.' },
    });
    expect(parts).toMatchObject([{ type: 'tool', state: 'unfinished' }]);
  });

  it('keeps the latest of many activities', () => {
    const reduce = messageReducer();
    let message: Message | undefined;
    for (let number = 0; number < 500; number++) {
      message = reduce({
        kind: 'message',
        id: `r:${number}`,
        message: { type: 'system', subtype: 'permission_denied', tool_name: `Tool ${number}` },
      });
    }
    expect(message?.activities).toHaveLength(200);
    expect(message?.activities.at(-1)?.description).toContain('Tool 499');
  });

  it('has no hole that nobody sees: after a gap it takes what comes whole, and says what is missing', () => {
    const reduce = messageReducer();
    const say = (number: number, message: ClaudeMessage) =>
      reduce({ kind: 'message', id: `r:${number}`, message });
    say(1, messageStart('msg_1'));
    say(2, text('Do NOT'));
    const gap = { code: 'events_lost', message: 'Gone.', first: 3, last: 8 };
    reduce({ kind: 'gap', id: undefined, ...gap });
    say(9, text(' delete it.'));
    const whole = 'Do NOT worry, you may delete it.';
    const message = say(10, assistant('msg_1', [{ type: 'text', text: whole }]));
    expect(message.parts).toEqual([{ type: 'text', text: whole }]);
    expect(message.gaps).toEqual([{ first: 3, last: 8 }]);
    say(11, result(whole));
    const next = say(12, messageStart('msg_2')) && say(13, text('More.'));
    expect(next.parts).toEqual([{ type: 'text', text: `${whole}\n\nMore.` }]);
  });

  it('goes on after a gap within the block that was torn', () => {
    const { say, gap } = told();
    say(messageStart('msg_1'));
    say(textStart);
    say(text('One. '));
    say(textStart);
    say(text('Two. '));
    gap();
    const block = { type: 'text', text: 'Two. And more.' };
    expect(say(assistant('msg_1', [block])).parts).toEqual([
      { type: 'text', text: 'One. Two. And more.' },
    ]);
  });

  it('takes no complete block for the torn beginning of the next', () => {
    const { say, gap } = told();
    say(messageStart('msg_1'));
    say(textStart);
    say(text('I'));
    say(assistant('msg_1', [{ type: 'text', text: 'I' }]));
    gap();
    const { parts } = say(assistant('msg_2', [{ type: 'text', text: 'I see it.' }]));
    expect(parts.map((part) => 'text' in part && part.text)).toEqual(['I', 'I see it.']);
  });

  it('has a tool whose input was torn by a gap as it ran', () => {
    const { say, gap } = told();
    say(messageStart('msg_1'));
    say(blockStart(toolUse('t', 'Write', {})));
    const delta = { type: 'input_json_delta', partial_json: '{"a' };
    say({ type: 'stream_event', event: { type: 'content_block_delta', index: 0, delta } });
    gap();
    say(assistant('msg_1', [toolUse('t', 'Write', { a: 1 })]));
    expect(say(toolResult('t', 'Written.')).parts).toMatchObject([
      { type: 'tool', id: 't', state: 'done', input: { a: 1 }, result: 'Written.' },
    ]);
  });

  it('runs on where the model was cut off in mid-word, and nowhere else', () => {
    const { say } = told();
    say(messageStart('msg_1'));
    say(textStart);
    say(text('hel'));
    say(messageDelta('max_tokens'));
    say(messageStart('msg_2'));
    say(thinkingStart);
    say(thinking('Where was I?'));
    say(textStart);
    say(text('lo'));
    say(messageDelta('end_turn'));
    say(messageStart('msg_3'));
    say(thinkingStart);
    say(thinking('Done.'));
    say(textStart);
    const message = say(text('Bye.'));
    expect(wordsOf(message, 'text')).toBe('hello\n\nBye.');
    expect(wordsOf(message, 'thinking')).toBe('Where was I?\n\nDone.');
  });

  it('knows the session before its end', () => {
    const { say } = told();
    const init = { type: 'system', subtype: 'init', session_id: 's', model: 'm' };
    expect(say(init)).toMatchObject({ sessionId: 's', model: 'm' });
    const reduce = messageReducer('ui-message');
    const messageMetadata = { sessionId: 's' };
    const chunk = { type: 'message-metadata', messageMetadata };
    expect(reduce({ id: undefined, chunk }).sessionId).toBe('s');
  });

  it('tells within which tool a subagent is at work', () => {
    const { say } = told();
    say(assistant('msg_1', [toolUse('agent', 'Agent', {}), toolUse('other', 'Agent', {})]));
    const read = toolUse('a', 'Read', { file_path: 'notes.md' });
    say({ ...assistant('msg_2', [toolUse('inner', 'Agent', {})]), parent_tool_use_id: 'agent' });
    say({ ...assistant('msg_3', [read]), parent_tool_use_id: 'inner' });
    say({ ...assistant('msg_4', [{ ...read, id: 'b' }]), parent_tool_use_id: 'other' });
    const { activities } = say(toolResult('b', ''));
    expect(activities.map(({ done, toolId }) => [done, toolId])).toEqual([
      [false, 'agent'],
      [false, 'agent'],
      [true, 'other'],
    ]);
  });

  it('has no activity that goes on when the run has ended', () => {
    const reduce = messageReducer();
    reduce({ kind: 'message', id: 'r:1', message: permissionRequest('p', 'Bash', {}) });
    reduce({ kind: 'outcome', id: 'r:2', outcome: { status: 'success' } });
    const { activities } = reduce({ kind: 'outcome', id: 'r:2', outcome: { status: 'success' } });
    expect(activities).toEqual([{ description: 'Waiting for permission: Bash', done: true }]);
  });

  it('shows an activity once, as it is', () => {
    const reduce = messageReducer('anthropic');
    const ping = (description: string, done: boolean) =>
      reduce({ id: undefined, event: { type: 'ping', status: { description, done } } });
    ping('Read a.md', false);
    ping('Read b.md', false);
    expect(ping('Read a.md', true).activities).toEqual([
      { description: 'Read b.md', done: false },
      { description: 'Read a.md', done: true },
    ]);
    expect(ping('Read a.md', false).activities).toHaveLength(3);
  });

  it.each([
    (position: number) => {
      const reduce = messageReducer('anthropic');
      const status = { description: 'Waiting', done: position === 0, position };
      return reduce({ id: undefined, event: { type: 'ping', status } });
    },
    (position: number) => {
      const reduce = messageReducer('ui-message');
      const data = { description: 'Waiting', done: position === 0, position };
      return reduce({ id: undefined, chunk: { type: 'data-status', data } });
    },
  ])('has its place in the queue in other formats, too', (at) => {
    expect(at(2)).toMatchObject({ position: 2, activities: [] });
    expect(at(0)).toMatchObject({ position: undefined, activities: [] });
  });

  it('goes on after a failure', () => {
    const reduce = messageReducer();
    const failure = { code: 'store_unavailable', message: 'Not now.' };
    expect(reduce({ kind: 'failure', id: undefined, ...failure }).outcome).toBeUndefined();
  });
});
