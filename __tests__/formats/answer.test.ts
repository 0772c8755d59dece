import type { ClaudeMessage } from '../../lib/claude/messages.js';
import { Answer, type ToolCall } from '../../lib/formats/answer.js';
import { described } from '../../lib/formats/toolLabel.js';
import {
  answered,
  apiRetry,
  assistant,
  blockStart,
  init,
  messageDelta,
  messageStart,
  permissionRequest,
  randomDeltas,
  randomFrom,
  randomText,
  readNotes,
  result,
  system,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
  toolUse,
} from './support.js';

/** Everything an answer says, in order, as one reads it. */
function heard(...messages: ClaudeMessage[]) {
  const said: string[] = [];
  const answer = new Answer({
    text: (text) => said.push(`text ${text}`),
    thinking: (text) => said.push(`thinking ${text}`),
    toolBegun: ({ label }) => said.push(`begins ${described(label)}`),
    toolEnded: ({ label }, result) =>
      said.push(
        `${result?.isError ? 'fails' : 'ends'} ${described(label)} with ${result?.text ?? 'nothing'}`,
      ),
    notice: (description, done) => said.push(`${done ? 'done' : 'now'} ${description}`),
  });
  for (const message of messages) answer.message(message);
  return {
    said,
    end: () => {
      answer.end();
      return said;
    },
  };
}

const say = (...messages: ClaudeMessage[]) => heard(...messages).said;

/** The text alone, as one string. */
const textOf = (...messages: ClaudeMessage[]) =>
  say(...messages)
    .filter((line) => line.startsWith('text '))
    .map((line) => line.slice('text '.length))
    .join('');

/** The same of a sink that wants to know how a tool's input is written, and when the model speaks. */
function heardInDetail(...messages: ClaudeMessage[]) {
  const said: string[] = [];
  const answer = new Answer({
    text: () => {},
    thinking: () => {},
    stepBegun: () => said.push('step'),
    toolStarted: (id, name) => said.push(`starts ${name} ${id}`),
    toolInput: (id, json) => said.push(`${id} ${json}`),
    toolBrokenOff: (id) => said.push(`breaks off ${id}`),
    toolBegun: ({ id }) => said.push(`begins ${id}`),
    toolEnded: () => {},
    notice: () => {},
  });
  for (const message of messages) answer.message(message);
  return said;
}

const textBlock = (text: string) => ({ type: 'text', text });

describe('text', () => {
  it('comes from the deltas, and not again from the assistant message and the result', () => {
    expect(
      say(...answered('Hel', 'lo'), assistant('msg_1', [textBlock('Hello')]), result('Hello')),
    ).toEqual(['text Hel', 'text lo']);
  });

  it('comes from a synthetic message, which has no deltas', () => {
    expect(say(init, assistant('synthetic', [textBlock('Cost: 0')]), result('Cost: 0'))).toEqual([
      'text Cost: 0',
    ]);
  });

  it('comes from an assistant message that was not streamed, between two that were', () => {
    expect(
      textOf(
        ...answered('One'),
        assistant('msg_1', [textBlock('One')]),
        assistant('msg_2', [textBlock('Two')]),
        messageStart('msg_3'),
        text('Three'),
        assistant('msg_3', [textBlock('Three')]),
      ),
    ).toBe('One\n\nTwo\n\nThree');
  });

  it('comes from a message without an id when nothing was streamed', () => {
    const message = { content: [textBlock('Hello')] };
    expect(
      textOf(
        assistant('msg_0', [textBlock('Before')]),
        { type: 'assistant', parent_tool_use_id: null, message },
        result('Hello'),
      ),
    ).toBe('Before\n\nHello');
  });

  it('comes from the result when nothing else said it', () => {
    expect(say(init, result('Hello'))).toEqual(['text Hello']);
  });

  it('of a failed run’s result is left to the error', () => {
    expect(say(init, result('Not logged in', { is_error: true }))).toEqual([]);
  });

  it('of a failed API call is left to the error', () => {
    const failed = assistant('synthetic', [textBlock('API Error')], { error: 'unknown' });
    expect(say(init, failed, result('API Error', { is_error: true }))).toEqual([]);
  });

  it('of a failed API call is the answer when the run succeeds with it', () => {
    const failed = assistant('synthetic', [textBlock('API Error')], { error: 'unknown' });
    expect(say(...answered('Half'), failed, result('API Error'))).toEqual([
      'text Half',
      'text \n\nAPI Error',
    ]);
  });

  it('of a subagent is not part of the answer', () => {
    expect(
      say(
        ...answered('Mine'),
        text('Streamed by it', 'toolu_1'),
        assistant('msg_9', [textBlock('Said by it')], { parent_tool_use_id: 'toolu_1' }),
      ),
    ).toEqual(['text Mine']);
  });

  it('that a user message holds is not part of the answer', () => {
    const content = [textBlock('[Request interrupted by user]')];
    expect(say({ type: 'user', parent_tool_use_id: null, message: { content } })).toEqual([]);
    expect(say({ type: 'user', parent_tool_use_id: null, message: { content: 'Hi' } })).toEqual([]);
  });

  it('is the same however it is cut into deltas', () => {
    const random = randomFrom(2);
    for (let round = 0; round < 200; round++) {
      const whole = randomText(random, ['a', ' ', '\n', '\n\n', '<', '🌍', '\u2028', '"'], 40);
      expect(textOf(...answered(...randomDeltas(random, whole, 6)), result(whole))).toBe(whole);
    }
  });
});

describe('the gap between texts', () => {
  const turns = (first: string, second: string) =>
    textOf(...answered(first), messageDelta('end_turn'), messageStart('msg_2'), text(second));

  it('is a blank line between two turns of the model', () => {
    expect(turns('One', 'Two')).toBe('One\n\nTwo');
  });

  it('is completed, not doubled', () => {
    expect(turns('One\n', 'Two')).toBe('One\n\nTwo');
    expect(turns('One\n\n', 'Two')).toBe('One\n\nTwo');
  });

  it('is there already when two deltas bring it', () => {
    const next = [messageDelta('end_turn'), messageStart('msg_2'), text('Two')];
    expect(textOf(...answered('One\n'), text('\n'), ...next)).toBe('One\n\nTwo');
  });

  it('stands between texts that a thought or a tool separates', () => {
    expect(textOf(...answered('One'), thinkingStart, thinking('Hm'), textStart, text('Two'))).toBe(
      'One\n\nTwo',
    );
    expect(
      textOf(...answered('One'), blockStart(toolUse('toolu_1', 'Read', {})), text('Two')),
    ).toBe('One\n\nTwo');
  });

  it('does not stand between two text blocks side by side: citations cut a sentence there', () => {
    expect(textOf(...answered('One, '), textStart, text('two.'))).toBe('One, two.');
  });

  it('does not stand where the output limit cut a word', () => {
    expect(turnsAfterLimit('contin', text('ued'))).toBe('continued');
  });

  it('does not stand there when the model thinks before it goes on', () => {
    expect(turnsAfterLimit('contin', thinkingStart, thinking('Hm'), textStart, text('ued'))).toBe(
      'continued',
    );
  });

  it('stands after a thought that the output limit cut', () => {
    expect(
      textOf(
        ...answered('One'),
        messageStart('msg_2'),
        thinkingStart,
        thinking('Hm'),
        messageDelta('max_tokens'),
        messageStart('msg_3'),
        text('Two'),
      ),
    ).toBe('One\n\nTwo');
  });

  it('does not stand where a subagent works in the background', () => {
    const subagents = { parent_tool_use_id: 'toolu_1' };
    const itsTool = assistant('msg_9', [toolUse('toolu_2', 'Grep', {})], subagents);
    expect(textOf(...answered('Hel'), itsTool, text('lo'))).toBe('Hello');
  });

  function turnsAfterLimit(first: string, ...second: ClaudeMessage[]) {
    return textOf(
      ...answered(first),
      messageDelta('max_tokens'),
      messageStart('msg_2'),
      textStart,
      ...second,
    );
  }
});

describe('thinking', () => {
  it('comes once, from the deltas', () => {
    expect(
      say(
        init,
        messageStart('msg_1'),
        thinkingStart,
        thinking('Let me '),
        thinking('see.'),
        assistant('msg_1', [{ type: 'thinking', thinking: 'Let me see.' }]),
      ),
    ).toEqual(['thinking Let me ', 'thinking see.']);
  });

  it('comes from a message that was not streamed', () => {
    expect(say(assistant('msg_1', [{ type: 'thinking', thinking: 'Hm.' }]))).toEqual([
      'thinking Hm.',
    ]);
  });

  it('of the next turn is apart from that of the last', () => {
    const turn = (id: string, thought: string) => [
      messageStart(id),
      thinkingStart,
      thinking(thought),
    ];
    expect(say(...turn('msg_1', 'First.'), ...turn('msg_2', 'Second.'))).toEqual([
      'thinking First.',
      'thinking \n\nSecond.',
    ]);
  });
});

describe('a tool call', () => {
  it('begins with the assistant message and ends with its result', () => {
    expect(say(...answered('Look:'), readNotes, toolResult('toolu_1'))).toEqual([
      'text Look:',
      'begins Read notes.md',
      'ends Read notes.md with Done.',
    ]);
  });

  it('comes with its id and its whole input, at both ends the same', () => {
    const calls: ToolCall[] = [];
    const answer = new Answer({
      text() {},
      thinking() {},
      notice() {},
      toolBegun: (call) => calls.push(call),
      toolEnded: (call) => calls.push(call),
    });
    const input = { command: 'cat a\ncat b', timeout: 5 };
    answer.message(assistant('msg_1', [toolUse('toolu_1', 'Bash', input)]));
    answer.message(toolResult('toolu_1'));

    const call = { id: 'toolu_1', label: { name: 'Bash', detail: 'cat a …' }, input };
    expect(calls).toEqual([call, call]);
  });

  it.each([
    ['a string', 'One.', 'One.'],
    [
      'text blocks',
      [
        { type: 'text', text: 'One.' },
        { type: 'text', text: 'Two.' },
      ],
      'One.\nTwo.',
    ],
    [
      'an image, which is named',
      [
        { type: 'text', text: 'See:' },
        { type: 'image', source: {} },
      ],
      'See:\n[image]',
    ],
    ['no block', [], ''],
    ['nothing', null, ''],
    ['something unknown', { a: 1 }, ''],
  ])('ends with the text of its result: %s', (_, content, text) => {
    expect(say(readNotes, toolResult('toolu_1', content))[1]).toBe(
      `ends Read notes.md with ${text}`,
    );
  });

  it('by which the CLI collects an answer that meets a schema does not show', () => {
    const call = assistant('msg_1', [toolUse('toolu_1', 'StructuredOutput', { answer: 42 })]);
    expect(say(call, toolResult('toolu_1'))).toEqual([]);
    expect(heard(call).end()).toEqual([]);
  });

  it('ends when its own result comes, in any order', () => {
    const calls = assistant('msg_1', [
      toolUse('toolu_1', 'Read', { file_path: 'a' }),
      toolUse('toolu_2', 'Read', { file_path: 'b' }),
    ]);
    expect(say(calls, toolResult('toolu_2'), toolResult('toolu_1'))).toEqual([
      'begins Read a',
      'begins Read b',
      'ends Read b with Done.',
      'ends Read a with Done.',
    ]);
  });

  it('begins and ends once', () => {
    expect(say(readNotes, readNotes, toolResult('toolu_1'), toolResult('toolu_1'))).toHaveLength(2);
  });

  it('of a subagent is a notice: it must not touch the text', () => {
    const message = assistant('msg_9', [toolUse('toolu_9', 'Grep', { pattern: 'x' })], {
      parent_tool_use_id: 'toolu_1',
    });
    expect(say(message, toolResult('toolu_9'))).toEqual(['now Grep x', 'done Grep x']);
  });

  const progress = (elapsed_time_seconds: number, tool_use_id = 'toolu_1') => ({
    type: 'tool_progress',
    tool_use_id,
    tool_name: 'Read',
    elapsed_time_seconds,
  });

  it('that takes long says so until it ends', () => {
    const run = [progress(30.4), readNotes, progress(30.4), toolResult('toolu_1'), progress(31)];
    expect(say(...run)).toEqual([
      'begins Read notes.md',
      'now Read: still running after 30 s',
      'done Read: still running after 30 s',
      'ends Read notes.md with Done.',
    ]);
  });

  it('that takes longer still says that instead', () => {
    expect(say(readNotes, progress(30), progress(60), toolResult('toolu_1'))).toEqual([
      'begins Read notes.md',
      'now Read: still running after 30 s',
      'done Read: still running after 30 s',
      'now Read: still running after 60 s',
      'done Read: still running after 60 s',
      'ends Read notes.md with Done.',
    ]);
  });

  it('that never ends says no longer that it runs when the run is over', () => {
    expect(heard(readNotes, progress(30)).end()).toEqual([
      'begins Read notes.md',
      'now Read: still running after 30 s',
      'done Read: still running after 30 s',
      'ends Read notes.md with nothing',
    ]);
  });

  it('of a subagent that takes long says so until it ends', () => {
    const message = assistant('msg_9', [toolUse('toolu_9', 'Grep', { pattern: 'x' })], {
      parent_tool_use_id: 'toolu_1',
    });
    expect(say(message, progress(30, 'toolu_9'), toolResult('toolu_9'))).toEqual([
      'now Grep x',
      'now Read: still running after 30 s',
      'done Read: still running after 30 s',
      'done Grep x',
    ]);
  });

  it('still open when the run is over ends then, once, without a result', () => {
    const { end } = heard(readNotes);
    end();
    expect(end()).toEqual(['begins Read notes.md', 'ends Read notes.md with nothing']);
  });
});

describe('a notice', () => {
  it('tells of a retry, until the model answers', () => {
    expect(say(init, apiRetry, messageStart('msg_1'))).toEqual([
      'now Retry 1 of 10 in 1 s: rate limit',
      'done Retry 1 of 10 in 1 s: rate limit',
    ]);
  });

  it('ends when another takes its place: every one that begins is done once', () => {
    const second = { ...apiRetry, attempt: 2, retry_delay_ms: 1_100 };
    expect(say(init, apiRetry, second, messageStart('msg_1'))).toEqual([
      'now Retry 1 of 10 in 1 s: rate limit',
      'done Retry 1 of 10 in 1 s: rate limit',
      'now Retry 2 of 10 in 2 s: rate limit',
      'done Retry 2 of 10 in 2 s: rate limit',
    ]);
  });

  it('of a retry is over when the run is', () => {
    expect(heard(init, apiRetry).end()).toEqual([
      'now Retry 1 of 10 in 1 s: rate limit',
      'done Retry 1 of 10 in 1 s: rate limit',
    ]);
  });

  it('tells of a denied permission', () => {
    expect(say(system('permission_denied', { tool_name: 'Bash' }))).toEqual([
      'done Permission denied: Bash',
    ]);
  });

  it('tells of a compacted conversation', () => {
    expect(say(system('compact_boundary', {}))).toEqual(['done Conversation compacted']);
  });

  it('tells of a background task until it reports', () => {
    const task = { task_id: 'a3', description: 'Look at notes', is_backgrounded: true };
    expect(say(system('task_started', task), system('task_notification', task))).toEqual([
      'now In the background: Look at notes',
      'done In the background: Look at notes',
    ]);
  });

  it('about a task is one short line', () => {
    const task = { task_id: 'a3', description: `Look\n${'x'.repeat(100_000)}` };
    expect(say(system('task_started', { ...task, is_backgrounded: true }))).toEqual([
      'now In the background: Look …',
    ]);
  });

  const look = { task_id: 'a3', description: 'Look at notes', is_backgrounded: true };
  const started = system('task_started', look);
  const getsOn = (summary: unknown) => system('task_progress', { ...look, summary });

  it('tells how a background task gets on, until it reports', () => {
    const run = [started, getsOn('Reading\nline 2'), getsOn('Writing')];
    expect(say(...run, system('task_notification', look))).toEqual([
      'now In the background: Look at notes',
      'now In the background: Look at notes: Reading …',
      'done In the background: Look at notes: Reading …',
      'now In the background: Look at notes: Writing',
      'done In the background: Look at notes: Writing',
      'done In the background: Look at notes',
    ]);
  });

  it('tells no longer how a background task gets on when the run is over', () => {
    expect(heard(started, getsOn('Reading')).end()).toEqual([
      'now In the background: Look at notes',
      'now In the background: Look at notes: Reading',
      'done In the background: Look at notes: Reading',
      'done In the background: Look at notes',
    ]);
  });

  it('is not made of the progress of a task that is over, or was never in the background', () => {
    expect(say(getsOn('Reading'))).toEqual([]);
    expect(say(started, system('task_notification', look), getsOn('Reading'))).toHaveLength(2);
  });

  it.each([undefined, null, '', 5])('is not made of progress with the summary %p', (summary) => {
    expect(say(started, getsOn(summary))).toEqual(['now In the background: Look at notes']);
  });

  it('is not made of a task in the foreground, nor of what it does not know', () => {
    expect(
      say(
        system('task_started', { task_id: 'a3', description: 'Look' }),
        system('task_notification', { task_id: 'a3' }),
        system('brand_new', {}),
        { type: 'brand_new' },
        { type: 'stream_event', event: null },
        { type: 'assistant', message: { content: 'no blocks' } },
      ),
    ).toEqual([]);
  });
});

describe('a question for permission', () => {
  const asked = permissionRequest('q1', 'Bash', { command: 'npm test' });
  const asks = 'now Waiting for permission: Bash: npm test';
  const answeredNow = 'done Waiting for permission: Bash: npm test';
  const state = (state: string) => system('session_state_changed', { state });

  it('shows while the CLI waits, until it goes on', () => {
    expect(say(state('running'), asked, state('requires_action'), state('running'))).toEqual([
      asks,
      answeredNow,
    ]);
  });

  it('stays while the CLI says that it waits', () => {
    expect(say(asked, state('requires_action'))).toEqual([asks]);
  });

  it('shows until the CLI takes it back', () => {
    expect(say(asked, { type: 'control_cancel_request', request_id: 'q1' })).toEqual([
      asks,
      answeredNow,
    ]);
  });

  it('stays when the CLI takes back another', () => {
    expect(say(asked, { type: 'control_cancel_request', request_id: 'q2' })).toEqual([asks]);
    expect(say(asked, { type: 'control_cancel_request' })).toEqual([asks]);
  });

  it('shows until the run is over, if nothing else ends it', () => {
    expect(heard(asked).end()).toEqual([asks, answeredNow]);
  });

  it('ends once, whatever comes after', () => {
    const { said, end } = heard(
      asked,
      state('running'),
      { type: 'control_cancel_request', request_id: 'q1' },
      state('running'),
    );
    end();
    expect(said).toEqual([asks, answeredNow]);
  });

  it('beside another shows by itself', () => {
    const other = permissionRequest('q2', 'Write', { file_path: '/srv/a.txt' });
    expect(say(asked, other, state('running'))).toEqual([
      asks,
      'now Waiting for permission: Write a.txt',
      answeredNow,
      'done Waiting for permission: Write a.txt',
    ]);
  });

  it('leaves the tool call open, which goes on after it', () => {
    const call = assistant('msg_1', [toolUse('toolu_1', 'Bash', { command: 'npm test' })]);
    expect(say(call, asked, state('running'), toolResult('toolu_1'))).toEqual([
      'begins Bash: npm test',
      asks,
      answeredNow,
      'ends Bash: npm test with Done.',
    ]);
  });

  it('does not touch the text', () => {
    expect(textOf(...answered('Hel'), asked, state('running'), text('lo'))).toBe('Hello');
  });

  it.each([
    ['another subtype', { subtype: 'hook_callback', tool_name: 'Bash' }],
    ['no tool', { subtype: 'can_use_tool' }],
    ['nothing', undefined],
    ['null', null],
  ])('is not made of a control request of %s', (_, request) => {
    expect(say({ type: 'control_request', request_id: 'q1', request })).toEqual([]);
  });
});

describe('how a tool call comes about', () => {
  const event = (event: object, parent: string | null = null): ClaudeMessage => ({
    type: 'stream_event',
    parent_tool_use_id: parent,
    event,
  });
  const starts = (index: number, id: string, name: string) =>
    event({ type: 'content_block_start', index, content_block: toolUse(id, name, {}) });
  const writes = (index: number, partial_json: unknown) =>
    event({
      type: 'content_block_delta',
      index,
      delta: { type: 'input_json_delta', partial_json },
    });

  it('is told step by step, of two that are written at once too', () => {
    expect(
      heardInDetail(
        messageStart('msg_1'),
        starts(1, 'a', 'Read'),
        starts(2, 'b', 'Bash'),
        writes(1, ''),
        writes(2, '{"command"'),
        writes(1, '{}'),
        assistant('msg_1', [toolUse('a', 'Read', {})]),
        messageStart('msg_2'),
      ),
    ).toEqual([
      'step',
      'starts Read a',
      'starts Bash b',
      'b {"command"',
      'a {}',
      'begins a',
      'breaks off b',
      'step',
    ]);
  });

  it('is told once, and nothing of its input after that', () => {
    const call = assistant('msg_1', [toolUse('a', 'Read', {})]);
    const written = [starts(1, 'a', 'Read'), writes(1, '{}')];
    expect(heardInDetail(messageStart('msg_1'), ...written, call, ...written, call)).toEqual([
      'step',
      'starts Read a',
      'a {}',
      'begins a',
    ]);
    expect(heard(readNotes, toolResult('toolu_1'), readNotes).said).toEqual([
      'begins Read notes.md',
      'ends Read notes.md with Done.',
    ]);
  });

  it.each([
    ['the model is asked again', messageStart('msg_2'), ['breaks off a', 'step']],
    ['a whole message takes the place', assistant('msg_2', [textBlock('Hello')]), ['breaks off a']],
    ['another is begun in its place', starts(1, 'b', 'Bash'), ['breaks off a', 'starts Bash b']],
  ])('is broken off for good when %s', (_, next, told) => {
    const late = assistant('msg_1', [toolUse('a', 'Read', {})]);
    const begun = [messageStart('msg_1'), starts(1, 'a', 'Read'), writes(1, '{')];
    expect(heardInDetail(...begun, next, late).slice(3)).toEqual(told);
  });

  it('is nothing of a subagent, of a schema, or of what nobody has begun', () => {
    const nested = event(
      { type: 'content_block_start', index: 1, content_block: toolUse('n', 'Read', {}) },
      'toolu_1',
    );
    const schema = starts(2, 's', 'StructuredOutput');
    const stray = writes(3, '{}');
    expect(heardInDetail(nested, schema, writes(2, '{}'), stray, writes(1, 5))).toEqual([]);
  });
});

it('a tool that has failed says so', () => {
  const failed = {
    type: 'user',
    parent_tool_use_id: null,
    message: {
      content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'No.', is_error: true }],
    },
  };
  expect(say(readNotes, failed)).toEqual(['begins Read notes.md', 'fails Read notes.md with No.']);
});
