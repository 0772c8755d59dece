import type { ClaudeMessage } from '../../lib/claude/messages.js';
import { Answer } from '../../lib/formats/answer.js';
import {
  answered,
  apiRetry,
  assistant,
  blockStart,
  init,
  messageDelta,
  messageStart,
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
    tool: ({ name, detail }, done) => said.push(`${done ? 'ends' : 'begins'} ${name} ${detail}`),
    notice: (description, done) => said.push(`${done ? 'done' : 'now'} ${description}`),
  });
  for (const message of messages) answer.message(message);
  return { said, end: () => answer.end() };
}

const say = (...messages: ClaudeMessage[]) => heard(...messages).said;

/** The text alone, as one string. */
const textOf = (...messages: ClaudeMessage[]) =>
  say(...messages)
    .filter((line) => line.startsWith('text '))
    .map((line) => line.slice('text '.length))
    .join('');

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
      'ends Read notes.md',
    ]);
  });

  it('ends when its own result comes, in any order', () => {
    const calls = assistant('msg_1', [
      toolUse('toolu_1', 'Read', { file_path: 'a' }),
      toolUse('toolu_2', 'Read', { file_path: 'b' }),
    ]);
    expect(say(calls, toolResult('toolu_2'), toolResult('toolu_1'))).toEqual([
      'begins Read a',
      'begins Read b',
      'ends Read b',
      'ends Read a',
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

  it('that takes long says so', () => {
    const progress = {
      type: 'tool_progress',
      tool_use_id: 'toolu_1',
      tool_name: 'Read',
      elapsed_time_seconds: 30.4,
    };
    expect(say(progress, readNotes, progress, toolResult('toolu_1'), progress)).toEqual([
      'begins Read notes.md',
      'now Read: still running after 30 s',
      'ends Read notes.md',
    ]);
  });

  it('still open when the run is over ends then, once', () => {
    const { said, end } = heard(readNotes);
    end();
    end();
    expect(said).toEqual(['begins Read notes.md', 'ends Read notes.md']);
  });
});

describe('a notice', () => {
  it('tells of a retry, and that it worked', () => {
    expect(say(init, apiRetry, apiRetry, messageStart('msg_1'))).toEqual([
      'now Retry 1 of 10 in 1 s: rate limit',
      'now Retry 1 of 10 in 1 s: rate limit',
      'done Retry worked',
    ]);
  });

  it('does not claim that a retry worked when the run is over before', () => {
    const { said, end } = heard(init, apiRetry);
    end();
    expect(said).toEqual([
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
