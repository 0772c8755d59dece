import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import type { Encoder } from '../../../lib/formats/format.js';
import { uiMessage } from '../../../lib/formats/uiMessage/uiMessage.js';
import { crash, interruption, timeout } from '../../../lib/outcome.js';
import {
  apiRetry,
  assistant,
  contextOf,
  init,
  messageStart,
  outcomeOf,
  readNotes,
  result,
  success,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
  toolUse,
} from '../support.js';
import { messageOf, read, readEvents } from './stream.js';

const streamed = (event: object): ClaudeMessage => ({
  type: 'stream_event',
  parent_tool_use_id: null,
  event,
});

/** The input of a tool as the model writes it. */
const writing = (id: string, name: string, ...pieces: string[]): ClaudeMessage[] => [
  streamed({ type: 'content_block_start', index: 1, content_block: toolUse(id, name, {}) }),
  ...pieces.map((partial_json) =>
    streamed({
      type: 'content_block_delta',
      index: 1,
      delta: { type: 'input_json_delta', partial_json },
    }),
  ),
];

/** A run with thinking, a tool and two steps of the model. */
const conversation: readonly ClaudeMessage[] = [
  init,
  messageStart('msg_1'),
  thinkingStart,
  thinking('Hm.'),
  textStart,
  text('Let me '),
  text('look.'),
  ...writing('toolu_1', 'Read', '', '{"file_path":', '"/srv/notes.md"}'),
  readNotes,
  toolResult('toolu_1', 'Two lines.'),
  messageStart('msg_2'),
  textStart,
  text('There are two.'),
  result('There are two.'),
];

describe('an answer', () => {
  it('is one message of steps, with reasoning, text and tools', () => {
    expect(read(conversation).parts).toEqual([
      { type: 'step-start' },
      { type: 'reasoning', text: 'Hm.' },
      { type: 'text', text: 'Let me look.' },
      {
        type: 'tool',
        toolName: 'Read',
        text: '{"file_path":"/srv/notes.md"}',
        input: { file_path: '/srv/notes.md' },
        state: 'output-available',
        output: 'Two lines.',
      },
      { type: 'step-start' },
      { type: 'text', text: 'There are two.' },
    ]);
  });

  it('begins with the run, and ends with what is known of it', () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheCreationTokens: 4 };
    const { chunks, last } = read(conversation, { ...success, usage });
    expect(chunks[0]).toEqual({
      type: 'start',
      messageId: 'run',
      messageMetadata: { runId: 'run' },
    });
    expect(last).toEqual({
      type: 'finish',
      messageMetadata: {
        runId: 'run',
        sessionId: success.sessionId,
        model: 'claude-fixture',
        stopReason: 'end_turn',
        usage,
        costUsd: 0.01,
        durationMs: 1_234,
      },
    });
  });

  it('marks tools as run by Claude, or the client would look for them', () => {
    const { chunks } = read(conversation);
    const tools = chunks.filter(({ type }) => /^tool-(?!input-delta)/.test(type));
    expect(tools).toHaveLength(3);
    for (const chunk of tools)
      expect(chunk).toMatchObject({ providerExecuted: true, dynamic: true });
  });

  it('that is synthetic has a step as well', () => {
    const said = assistant('msg_1', [{ type: 'text', text: 'Compacted.' }]);
    expect(read([init, said]).parts).toEqual([
      { type: 'step-start' },
      { type: 'text', text: 'Compacted.' },
    ]);
  });

  it('without a word is an empty message', () => {
    expect(read([]).types).toEqual(['start', 'finish']);
  });

  it('tells what the client will keep', () => {
    expect(read(conversation).answered.replace(/\s+/g, ' ')).toBe('Let me look. There are two.');
  });

  it('has no part for a delta that only sets apart', () => {
    const messages = [init, messageStart('a'), text('One.'), messageStart('b'), text('\n\nTwo.')];
    expect(read(messages).parts.map((part) => part.text)).toEqual([
      undefined,
      'One.',
      undefined,
      'Two.',
    ]);
  });

  it('has every line below 64 KiB', () => {
    const { datas, text: said } = read([init, messageStart('a'), text('\0'.repeat(100_000))]);
    expect(Math.max(...datas.map((data) => data.length))).toBeLessThan(64 * 1_024);
    expect(said).toHaveLength(100_000);
  });
});

describe('a tool', () => {
  it('that fails has an error', () => {
    const failed = {
      type: 'user',
      parent_tool_use_id: null,
      message: {
        content: [
          { type: 'tool_result', tool_use_id: 'toolu_1', content: 'No file.', is_error: true },
        ],
      },
    };
    const { parts } = read([init, messageStart('msg_1'), readNotes, failed]);
    expect(parts.at(-1)).toMatchObject({ state: 'output-error', errorText: 'No file.' });
  });

  it('that the run has not waited for has an error', () => {
    const { parts } = read([init, messageStart('msg_1'), readNotes], outcomeOf(crash('gone')));
    expect(parts.at(-1)).toMatchObject({
      state: 'output-error',
      errorText: 'The run was interrupted.',
    });
  });

  it('whose input breaks off has an error', () => {
    const broken = writing('toolu_1', 'Read', '{"file');
    const { parts, types } = read(
      [init, messageStart('msg_1'), ...broken],
      outcomeOf(crash('gone')),
    );
    // The first release of v5 throws at it.
    expect(types).not.toContain('tool-input-error');
    expect(parts.at(-1)).toMatchObject({ state: 'output-error' });
  });

  it('whose input breaks off has its error before the model is asked again', () => {
    const broken = writing('toolu_1', 'Read', '{"file');
    const { parts } = read([
      init,
      messageStart('msg_1'),
      ...broken,
      apiRetry,
      messageStart('msg_2'),
      text('Once more.'),
    ]);
    expect(parts).toEqual([
      { type: 'step-start' },
      expect.objectContaining({ type: 'tool', toolName: 'Read', state: 'output-error', input: {} }),
      { type: 'step-start' },
      { type: 'text', text: 'Once more.' },
    ]);
  });

  it('that nobody has waited for has an error in a message, too', () => {
    const collector = uiMessage.collector(contextOf());
    for (const message of [init, messageStart('msg_1'), readNotes]) collector.message(message);
    expect(collector.end(success).body).toMatchObject({
      parts: [{ type: 'step-start' }, { state: 'output-error' }],
    });
  });

  it('with an input that cannot be written has an error', () => {
    let deep: object = [];
    for (let level = 0; level < 20_000; level++) deep = [deep];
    const context = contextOf();
    const datas: string[] = [];
    const encoder = uiMessage.encoder(context, (data) => datas.push(data));
    for (const message of [init, messageStart('msg_1'), ...writing('toolu_1', 'Read', '[')]) {
      encoder.message(message, '');
    }
    const call = assistant('msg_1', [toolUse('toolu_1', 'Read', deep)]);
    expect(() => encoder.message(call, '')).toThrow(RangeError);
    encoder.end(outcomeOf(crash('gone')));
    expect(readEvents(datas).parts.at(-1)).toMatchObject({ type: 'tool', state: 'output-error' });
  });

  it('ends the text before it', () => {
    const { types } = read([init, messageStart('msg_1'), text('So.'), readNotes]);
    expect(types.indexOf('text-end')).toBeLessThan(types.indexOf('tool-input-available'));
  });

  it('is not shown where no tools are', () => {
    const none = { toolDisplay: 'none' } as const;
    expect(read([...conversation, apiRetry], success, none).parts).toEqual([
      { type: 'step-start' },
      { type: 'reasoning', text: 'Hm.' },
      { type: 'text', text: 'Let me look.' },
      { type: 'step-start' },
      { type: 'text', text: 'There are two.' },
    ]);
    expect(read([apiRetry], success, none).statuses).toEqual([]);
    const collector = uiMessage.collector(contextOf(none));
    for (const message of conversation) collector.message(message);
    expect(JSON.stringify(collector.end(success).body)).not.toContain('tool');
  });

  it('of a subagent is status', () => {
    const nested = assistant('msg_9', [toolUse('toolu_9', 'Read', { file_path: 'a.md' })], {
      parent_tool_use_id: 'toolu_1',
    });
    const { statuses, types } = read([init, nested]);
    expect(statuses).toEqual([
      { description: 'Read a.md', done: false },
      { description: 'Read a.md', done: true },
    ]);
    expect(types.filter((type) => type.startsWith('tool'))).toEqual([]);
  });
});

describe('the end', () => {
  it('of a run that fails is an error in words', () => {
    const { last, types } = read(
      [init, messageStart('a'), text('Half')],
      outcomeOf(timeout('total')),
    );
    expect(last).toEqual({ type: 'error', errorText: 'Claude Code took too long.' });
    expect(types).not.toContain('finish');
  });

  it('of a run that was cancelled is an abort', () => {
    expect(read([init], outcomeOf(interruption('cancelled'))).last).toEqual({ type: 'abort' });
  });

  it('shows what only the operator may see where that was asked for', () => {
    const outcome = outcomeOf(crash('exit 1'));
    expect(read([init], outcome).last?.errorText).not.toContain('exit 1');
    expect(read([init], outcome, { exposeErrors: true }).last?.errorText).toContain('exit 1');
  });
});

describe('what happens beside the answer', () => {
  it('is status that is no part of the message', () => {
    const { chunks, parts } = read([init, apiRetry]);
    expect(chunks[1]).toEqual({
      type: 'data-status',
      data: { description: expect.stringMatching(/^Retry 1 of 10/), done: false },
      transient: true,
    });
    expect(parts).toEqual([]);
  });

  it('waiting comes before the message', () => {
    const datas: string[] = [];
    const encoder = uiMessage.encoder(contextOf(), (data) => datas.push(data));
    encoder.waiting(2);
    encoder.waiting(0);
    encoder.spawned?.();
    encoder.end(success);
    const chunks = datas.slice(0, -1).map((data) => JSON.parse(data));
    expect(chunks).toMatchObject([
      { type: 'start' },
      { data: { description: 'Waiting: number 2 in the queue', done: false, position: 2 } },
      { data: { description: 'Waited in the queue', done: true, position: 0 } },
      { type: 'finish' },
    ]);
    expect(messageOf(chunks)).toEqual([]);
  });
});

it('the run is named as soon as it has begun, and the wait for its turn ends with it', () => {
  const types = (begin: (encoder: Encoder) => void) => {
    const datas: string[] = [];
    const encoder = uiMessage.encoder(contextOf(), (data) => datas.push(data));
    begin(encoder);
    const before = datas.length;
    encoder.end(outcomeOf(crash('gone')));
    const all = datas.slice(0, -1).map((data) => JSON.parse(data).type);
    return [all.slice(0, before), all.slice(before)];
  };
  expect(types((encoder) => encoder.spawned?.())).toEqual([['start'], ['error']]);
  expect(types((encoder) => encoder.waiting(1))).toEqual([
    ['start', 'data-status'],
    ['data-status', 'error'],
  ]);
});

it('an answer that goes on keeps its name', () => {
  const context = contextOf({ request: { ...contextOf().request, answer: 'msg-of-client' } });
  const datas: string[] = [];
  uiMessage.encoder(context, (data) => datas.push(data)).spawned?.();
  expect(JSON.parse(datas[0] ?? '')).toMatchObject({ type: 'start', messageId: 'msg-of-client' });
  expect(uiMessage.collector(context).end(success).body).toMatchObject({ id: 'msg-of-client' });
});

describe('a notice', () => {
  it('ends the stream with an error', () => {
    const datas: string[] = [];
    const failure = { code: 'events_lost', message: 'Some are gone.' } as const;
    const goesOn = uiMessage.notice({ kind: 'gap', failure, first: 1, last: 2 }, (data) =>
      datas.push(data),
    );
    expect(goesOn).toBe(false);
    expect(datas).toEqual(['{"type":"error","errorText":"Some are gone."}', '[DONE]']);
  });
});

describe('not streamed', () => {
  const collected = (messages: readonly ClaudeMessage[], outcome = success) => {
    const collector = uiMessage.collector(contextOf());
    for (const message of messages) collector.message(message);
    return collector.end(outcome);
  };

  it('is the message that the stream adds up to', () => {
    expect(collected(conversation)).toMatchObject({
      status: 200,
      body: {
        id: 'run',
        role: 'assistant',
        metadata: { runId: 'run', stopReason: 'end_turn' },
        parts: [
          { type: 'step-start' },
          { type: 'reasoning', text: 'Hm.', state: 'done' },
          { type: 'text', text: 'Let me look.', state: 'done' },
          {
            type: 'dynamic-tool',
            toolName: 'Read',
            toolCallId: 'toolu_1',
            input: { file_path: '/srv/notes.md' },
            state: 'output-available',
            output: 'Two lines.',
          },
          { type: 'step-start' },
          { type: 'text', text: 'There are two.', state: 'done' },
        ],
      },
    });
  });

  it('a failure has its status', () => {
    expect(collected([init], outcomeOf(timeout('total')))).toEqual({
      status: 504,
      body: { error: { code: 'total_timeout', message: 'Claude Code took too long.' } },
    });
  });
});
