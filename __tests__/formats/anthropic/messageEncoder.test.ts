import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import { anthropic } from '../../../lib/formats/anthropic/anthropic.js';
import { crash, timeout } from '../../../lib/outcome.js';
import {
  apiRetry,
  assistant,
  contextOf,
  init,
  messageStart,
  outcomeOf,
  readNotes,
  requestOf,
  result,
  success,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
} from '../support.js';
import { read } from './stream.js';

/** A run with thinking, a tool and two turns of the model. */
const conversation: readonly ClaudeMessage[] = [
  init,
  messageStart('msg_1'),
  thinkingStart,
  thinking('Hm.'),
  textStart,
  text('Let me '),
  text('look.'),
  readNotes,
  toolResult('toolu_1'),
  messageStart('msg_2'),
  textStart,
  text('Two lines.'),
  result('Two lines.'),
];

const content = [
  { type: 'thinking', thinking: 'Hm.', signature: '' },
  { type: 'text', text: 'Let me look.' },
  { type: 'text', text: '\n\nTwo lines.' },
];

const usage = { inputTokens: 10, outputTokens: 20, cacheReadTokens: 30, cacheCreationTokens: 40 };

const message = {
  id: 'msg_run',
  type: 'message',
  role: 'assistant',
  model: 'claude-fixture',
  content,
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: {
    input_tokens: 10,
    output_tokens: 20,
    cache_read_input_tokens: 30,
    cache_creation_input_tokens: 40,
  },
};

/** A request whose answer must meet a schema. */
const withSchema = { request: requestOf({ turn: { content: 'Hi', schema: { type: 'object' } } }) };
const structured = outcomeOf({
  status: 'success',
  result: '',
  stopReason: 'end_turn',
  structuredOutput: { city: 'Köln' },
});

describe('streamed', () => {
  it('turns and tools are one message', async () => {
    const outcome = { ...success, usage };
    expect(await read(conversation, outcome).finalMessage()).toMatchObject(message);
  });

  it('blocks follow each other, and end before the next begins', () => {
    expect(read(conversation).types).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'content_block_start',
      'content_block_delta',
      'content_block_delta',
      'content_block_stop',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
  });

  it('a tool is status, which the SDK passes over', () => {
    expect(read(conversation).statuses).toEqual([
      { description: 'Read notes.md', done: false },
      { description: 'Read notes.md', done: true },
    ]);
    expect(read(conversation, success, { toolDisplay: 'none' }).statuses).toEqual([]);
  });

  it('the model is called what the client called it', async () => {
    const request = requestOf({ modelName: 'claude-opus' });
    const said = await read(conversation, success, { request }).finalMessage();
    expect(said.model).toBe('claude-opus');
  });

  it('an answer that is synthetic is one as well', async () => {
    const compacted = assistant('msg_1', [{ type: 'text', text: 'Compacted.' }]);
    expect(await read([init, compacted]).finalMessage()).toMatchObject({
      content: [{ type: 'text', text: 'Compacted.' }],
    });
  });

  it('an answer without a word is an empty message', async () => {
    expect(await read([]).finalMessage()).toMatchObject({ content: [], stop_reason: 'end_turn' });
  });

  it('an answer that was cut off says so', async () => {
    const outcome = outcomeOf({ status: 'success', result: '', stopReason: 'max_tokens' });
    expect((await read(conversation, outcome).finalMessage()).stop_reason).toBe('max_tokens');
  });

  it('an answer that meets a schema is nothing but that', async () => {
    const { finalMessage, answered } = read(conversation, structured, withSchema);
    expect((await finalMessage()).content).toEqual([
      content[0],
      { type: 'text', text: '{"city":"Köln"}' },
    ]);
    expect(answered).toBe('{"city":"Köln"}');
  });

  it('tells what the client will keep', () => {
    expect(read(conversation).answered).toBe('Let me look.\n\nTwo lines.');
  });

  it('every line is below 64 KiB', async () => {
    const { events, finalMessage } = read([init, messageStart('a'), text('\0'.repeat(100_000))]);
    expect(Math.max(...events.map(({ data }) => data.length))).toBeLessThan(64 * 1_024);
    expect((await finalMessage()).content).toEqual([{ type: 'text', text: '\0'.repeat(100_000) }]);
  });

  it('a retry is status', () => {
    expect(read([init, apiRetry]).statuses[0]?.description).toMatch(/^Retry 1 of 10/);
  });

  it('a run that waits says so before its message', async () => {
    const events: [string, string | undefined][] = [];
    const encoder = anthropic.encoder(contextOf(), (data, event) => events.push([data, event]));
    encoder.waiting(2);
    encoder.end(success);
    expect(events.slice(0, 3)).toEqual([
      [
        '{"type":"ping","status":{"description":"Waiting: number 2 in the queue","done":false,"position":2}}',
        'ping',
      ],
      [
        '{"type":"ping","status":{"description":"Waited in the queue","done":true,"position":0}}',
        'ping',
      ],
      [expect.stringContaining('"message_start"'), 'message_start'],
    ]);
  });
});

describe('a failure', () => {
  it('is an error that the SDK throws, and no end of the message', async () => {
    const failed = read([init, messageStart('a'), text('Half')], outcomeOf(timeout('total')));
    expect(failed.types).not.toContain('message_stop');
    await expect(failed.finalMessage()).rejects.toMatchObject({
      type: 'timeout_error',
      error: { error: { message: 'Claude Code took too long.', code: 'total_timeout' } },
    });
  });

  it('shows what only the operator may see where that was asked for', () => {
    const outcome = outcomeOf(crash('exit 1'));
    expect(JSON.stringify(read([init], outcome).last)).not.toContain('exit 1');
    const shown = read([init], outcome, { exposeErrors: true });
    expect(JSON.stringify(shown.last)).toContain('exit 1');
  });

  it('of a replay ends it', () => {
    const events: unknown[] = [];
    const failure = { code: 'events_lost', message: 'Some are gone.' } as const;
    const goesOn = anthropic.notice({ kind: 'gap', failure, first: 1, last: 2 }, (...event) =>
      events.push(event),
    );
    expect(goesOn).toBe(false);
    expect(events).toEqual([[expect.stringContaining('Some are gone.'), 'error']]);
  });
});

describe('not streamed', () => {
  const collected = (outcome = success, overrides = {}) => {
    const collector = anthropic.collector(contextOf(overrides));
    for (const one of conversation) collector.message(one);
    return collector.end(outcome);
  };

  it('is the same message', () => {
    expect(collected({ ...success, usage })).toEqual({ status: 200, body: message });
  });

  it('meets a schema', () => {
    expect(collected(structured, withSchema).body).toMatchObject({
      content: [content[0], { type: 'text', text: '{"city":"Köln"}' }],
    });
  });

  it('a failure has its status', () => {
    expect(collected(outcomeOf(timeout('total')))).toEqual({
      status: 504,
      body: {
        type: 'error',
        error: {
          type: 'timeout_error',
          message: 'Claude Code took too long.',
          code: 'total_timeout',
        },
      },
    });
  });
});
