import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import { type EncoderContext, toolDisplays } from '../../../lib/formats/format.js';
import { withoutDisplay } from '../../../lib/formats/openai/answerText.js';
import { openai } from '../../../lib/formats/openai/openai.js';
import { crash, type Ending, interruption, timeout } from '../../../lib/outcome.js';
import { encodeFrame } from '../../../lib/sse/frames.js';
import {
  answered,
  apiRetry,
  assistant,
  contextOf,
  encode,
  init,
  messageDelta,
  messageStart,
  outcomeOf,
  permissionRequest,
  randomDeltas,
  randomFrom,
  randomText,
  readNotes,
  requestOf,
  result,
  success,
  system,
  text,
  thinking,
  toolResult,
  toolUse,
} from '../support.js';
import {
  conversation,
  failed,
  longestLine,
  read,
  structured,
  toolCallsIn,
  withSchema,
  withUsage,
} from './stream.js';

describe('a run that waits', () => {
  const chunksOf = (overrides: Partial<EncoderContext>, ...positions: number[]) => {
    const datas: string[] = [];
    const encoder = openai.encoder(contextOf(overrides), (data) => datas.push(data));
    for (const position of positions) encoder.waiting(position);
    return { encoder, datas, chunks: () => datas.map((data) => JSON.parse(data)) };
  };

  it('has its position as status, after the role', () => {
    const { chunks } = chunksOf({}, 3, 2, 0);
    expect(chunks()[0].choices[0].delta).toEqual({ role: 'assistant', content: '' });
    expect(
      chunks()
        .slice(1)
        .map(({ choices, event }) => [choices, event.data]),
    ).toEqual([
      [[], { description: 'Waiting: 3rd in the queue', done: false }],
      [[], { description: 'Waiting: 2nd in the queue', done: false }],
      [[], { description: 'Waited in the queue', done: true }],
    ]);
  });

  it.each([
    [1, '1st'],
    [2, '2nd'],
    [3, '3rd'],
    [4, '4th'],
    [11, '11th'],
    [12, '12th'],
    [13, '13th'],
    [21, '21st'],
    [102, '102nd'],
    [111, '111th'],
    [10_000, '10000th'],
  ])('%d is said as %s', (position, word) => {
    expect(chunksOf({}, position).datas[1]).toContain(`Waiting: ${word} in the queue`);
  });

  it('has no status left open when its turn never comes', () => {
    const { encoder, datas } = chunksOf({}, 1);
    encoder.end(failed('queue_timeout'));
    expect(datas.slice(-3)).toEqual([
      expect.stringContaining('"Waited in the queue","done":true'),
      expect.stringContaining('"code":"queue_timeout"'),
      '[DONE]',
    ]);
  });

  it.each(['text', 'none'] as const)('says nothing with toolDisplay %s', (toolDisplay) => {
    expect(chunksOf({ toolDisplay }, 3, 2, 0).datas).toEqual([]);
  });
});

describe('every chunk', () => {
  it('has a choices array, except the error and [DONE]', () => {
    for (const outcome of [success, failed('claude_error')]) {
      for (const chunk of read([...conversation, apiRetry], outcome, withUsage).chunks) {
        expect(Array.isArray(chunk.choices)).toBe(!chunk.error);
      }
    }
  });

  it('has the same id, object, created and model', () => {
    const { chunks } = read(conversation, success, withUsage);
    for (const { id, object, created, model } of chunks) {
      expect({ id, object, created, model }).toEqual({
        id: 'chatcmpl-run',
        object: 'chat.completion.chunk',
        created: 1_700_000_000,
        model: 'claude-fixture',
      });
    }
  });

  it('names the model that the client chose', () => {
    const request = requestOf({ modelName: 'opus "5"' });
    const { chunks } = read(conversation, success, { request });
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(['opus "5"']));
  });

  it('names it on one line for every reader', () => {
    const request = requestOf({ modelName: 'a\u2028b\u2029c\u0085d', includeUsage: true });
    const { datas, chunks } = read([...conversation, apiRetry], success, { request });

    expect(datas.join()).not.toMatch(/[\u2028\u2029\u0085]/);
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set([request.modelName]));
  });

  it('names some model when the CLI has not said which before it retries', () => {
    const { chunks } = read([apiRetry, ...conversation]);
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(['claude']));
  });

  it('is an event without a name', () => {
    expect(encode(openai, conversation).filter(({ event }) => event !== undefined)).toEqual([]);
  });

  it('never has tool_calls', () => {
    for (const toolDisplay of toolDisplays) {
      for (const delta of read(conversation, success, { toolDisplay }).deltas) {
        expect(['role', 'content', 'reasoning_content']).toEqual(
          expect.arrayContaining(Object.keys(delta)),
        );
      }
    }
  });
});

describe('the role', () => {
  it.each([
    ['a success', success],
    ['a failure', failed('claude_error')],
  ])('comes first and once, with %s', (_, outcome) => {
    const { chunks, deltas } = read(conversation, outcome);

    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
    expect(deltas.filter(({ role }) => role)).toHaveLength(1);
  });

  it('is sent with the first message of the CLI, before it answers', () => {
    const datas: string[] = [];
    const encoder = openai.encoder(contextOf(), (data) => datas.push(data));
    encoder.message(init, '');

    expect(datas).toHaveLength(1);
    expect(JSON.parse(datas[0] ?? '').choices[0].delta).toEqual({ role: 'assistant', content: '' });
  });

  it('comes first also when nothing at all was said', () => {
    expect(read([]).deltas).toEqual([{ role: 'assistant', content: '' }, {}]);
  });
});

describe('the end', () => {
  it('is one finish_reason, then [DONE]', () => {
    const { datas, chunks, finishReasons } = read(conversation);

    expect(finishReasons).toEqual(['stop']);
    expect(chunks.at(-1)?.choices).toEqual([{ index: 0, delta: {}, finish_reason: 'stop' }]);
    expect(datas.filter((data) => data === '[DONE]')).toHaveLength(1);
    expect(datas.at(-1)).toBe('[DONE]');
  });

  it('is "length" when the model stopped at its output limit', () => {
    const cut = outcomeOf({ status: 'success', result: 'Cut', stopReason: 'max_tokens' });
    expect(read(answered('Cut'), cut).finishReasons).toEqual(['length']);
  });

  it('of a failed run is one error, [DONE], and no finish_reason', () => {
    const { datas, chunks, finishReasons } = read(
      conversation,
      failed('rate_limited', 'Slow down.'),
    );

    expect(finishReasons).toEqual([]);
    expect(chunks.filter(({ error }) => error)).toHaveLength(1);
    expect(JSON.parse(datas.at(-2) ?? '')).toEqual({
      error: {
        message: 'Slow down.',
        type: 'rate_limit_error',
        param: null,
        code: 'rate_limit_exceeded',
      },
    });
    expect(datas.at(-1)).toBe('[DONE]');
  });

  it('of a run that failed before it spoke is the same', () => {
    const { datas } = read([], failed('claude_error'));

    expect(datas).toHaveLength(2);
    expect(JSON.parse(datas[0] ?? '')).toMatchObject({ error: { code: 'claude_error' } });
    expect(datas[1]).toBe('[DONE]');
  });
});

describe('the error message', () => {
  const secret = 'ENOENT /root/.claude/settings.json';
  const facts = { stderrTail: `${secret}\n` };
  const endings: [string, Ending, string][] = [
    ['a crash', crash(secret), 'Claude Code ended without an answer.'],
    ['a timeout', timeout('total'), 'Claude Code took too long.'],
    ['an interruption', interruption('signal'), 'The run was interrupted.'],
    ['a shutdown', interruption('closed'), 'The server is shutting down.'],
    [
      'an error of Claude Code',
      { status: 'error', code: 'refused', message: 'Not this.' },
      'Not this.',
    ],
  ];

  it.each(endings)('of %s is safe by default', (_, ending, message) => {
    const { error, datas } = read(conversation, outcomeOf(ending, facts));

    expect(error?.message).toBe(message);
    expect(datas.join()).not.toContain(secret);
  });

  it.each(endings)('of %s shows stderr with exposeErrors', (_, ending, message) => {
    const { error } = read(conversation, outcomeOf(ending, facts), { exposeErrors: true });
    expect(error?.message).toBe(`${message}\n${secret}`);
  });

  it('adds no blank line for an empty stderr', () => {
    const { error } = read([], outcomeOf(timeout('idle'), { stderrTail: ' \n' }), {
      exposeErrors: true,
    });
    expect(error?.message).toBe('Claude Code went silent for too long.');
  });

  it('shows the whole tail of stderr: the reason stands at its end', () => {
    const stderrTail = `${'x'.repeat(8_192 - 10)}the reason`;
    const ending = crash(`The process exited with code 1. Its stderr ends:\n${stderrTail}`);
    const { error } = read([], outcomeOf(ending, { stderrTail }), { exposeErrors: true });
    expect(error?.message.endsWith('the reason')).toBe(true);
  });

  it('is bounded, whatever Claude Code says, and does not end in half a character', () => {
    for (const shift of ['', 'x']) {
      const { datas, error } = read([], failed('claude_error', shift + '🌍'.repeat(100_000)));
      expect(Buffer.byteLength(datas[0] ?? '')).toBeLessThan(64 * 1_024);
      expect(/\p{Surrogate}/u.test(error?.message ?? '')).toBe(false);
    }
  });
});

describe('usage', () => {
  const usage = { inputTokens: 3, outputTokens: 7, cacheReadTokens: 900, cacheCreationTokens: 20 };
  const counted = { ...success, usage };

  it('comes once, in the last chunk, with no choices, when the client wants it', () => {
    const { chunks, datas } = read(conversation, counted, withUsage);

    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 923,
        completion_tokens: 7,
        total_tokens: 930,
        prompt_tokens_details: { cached_tokens: 900 },
      },
    });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(datas.at(-1)).toBe('[DONE]');
  });

  it('is nowhere when the client does not want it', () => {
    for (const chunk of read(conversation, counted).chunks) {
      expect(chunk).not.toHaveProperty('usage');
    }
  });

  it('is zero when the CLI has not said', () => {
    const { chunks } = read(conversation, success, withUsage);
    expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 0, total_tokens: 0 });
  });

  it('is not sent after an error', () => {
    const { chunks } = read(conversation, { ...failed('claude_error'), usage }, withUsage);
    expect(chunks.filter((chunk) => chunk.usage)).toEqual([]);
  });
});

describe('text and thinking', () => {
  it('are content and reasoning_content, every part once', () => {
    const { content, reasoning, deltas } = read(conversation);

    expect(reasoning).toBe('Hm.');
    expect(content).toBe('Let me look.\n\nTwo lines.');
    expect(deltas.filter((delta) => 'content' in delta && 'reasoning_content' in delta)).toEqual(
      [],
    );
  });

  it('of two turns of the model are apart by a blank line', () => {
    const turns = [...answered('One.'), messageDelta('end_turn'), messageStart('m'), text('Two.')];
    expect(read(turns).content).toBe('One.\n\nTwo.');
  });

  it('go on in mid-word after the output limit', () => {
    const turns = [
      ...answered('contin'),
      messageDelta('max_tokens'),
      messageStart('m'),
      text('ued'),
    ];
    expect(read(turns).content).toBe('continued');
  });
});

describe('a long delta', () => {
  const LENGTH = 300 * 1_024;
  const lone = /\p{Surrogate}/u;
  const long = (pattern: string) => pattern.repeat(LENGTH / pattern.length);

  // With three shifts, every border of a piece falls into the middle of an emoji in one of them.
  it.each([
    ['emoji at every border', long('🌍x')],
    ['emoji at every border, shifted by one', `x${long('🌍x')}`],
    ['emoji at every border, shifted by two', `xx${long('🌍x')}`],
    ['emoji only', long('🌍')],
    ['emoji only, shifted by one', `x${long('🌍')}`],
    ['U+2028', long('\u2028')],
    ['U+2029', long('\u2029')],
    ['U+0085', long('\u0085')],
    ['control characters', long('\u0000\u0001\u001f\r\n\t')],
    ['quotes and backslashes', long('"\\')],
    ['three-byte characters', long('€')],
    ['all of them', long('🌍x\u2028\u2029\u0085\u0000"\\€\r\n')],
  ])('of %s comes in lines under 64 KiB, intact', (_, whole) => {
    for (const messages of [answered(whole), [init, messageStart('m'), thinking(whole)]]) {
      const { datas, deltas, content, reasoning } = read(messages);

      expect(content + reasoning === whole).toBe(true);
      expect(deltas.length).toBeGreaterThan(3);
      for (const { content = '', reasoning_content = '' } of deltas) {
        expect(lone.test(content + reasoning_content)).toBe(false);
      }
      for (const data of datas) {
        // Throws at a line break; the length is that of the line on the wire.
        encodeFrame('run:1', data);
        expect(data).not.toMatch(/[\u2028\u2029\u0085]/);
        expect(Buffer.byteLength(`data: ${data}\n`)).toBeLessThan(64 * 1_024);
      }
    }
  });

  it('is cut no more than needed', () => {
    expect(read(answered('x'.repeat(10_000))).deltas).toHaveLength(3);
  });

  it('of 20 MB takes linear time', () => {
    const start = performance.now();
    read(answered('x<y '.repeat(5_000_000)));
    expect(performance.now() - start).toBeLessThan(4_000);
  });

  it('cut anywhere comes out as the same text', () => {
    const random = randomFrom(3);
    const alphabet = [
      'a',
      '🌍',
      '\n',
      '\u2028',
      '\u0085',
      '\u0000',
      '"',
      '<',
      '<think>',
      'x'.repeat(3_000),
    ];
    for (let round = 0; round < 100; round++) {
      const whole = randomText(random, alphabet, 60);
      const { content } = read([
        ...answered(...randomDeltas(random, whole, 20_000)),
        result(whole),
      ]);
      expect(content.replaceAll('\u200b', '')).toBe(whole);
    }
  });
});

describe('a literal reasoning tag', () => {
  it('in the answer is made harmless, wherever it is cut', () => {
    const whole = 'Write <think> first.';
    for (let cut = 0; cut <= whole.length; cut++) {
      const { content } = read(answered(whole.slice(0, cut), whole.slice(cut)));
      expect(content).toBe('Write <\u200bthink> first.');
    }
  });

  it('begun at the end of the answer is not lost', () => {
    expect(read(answered('So: <thi')).content).toBe('So: <thi');
    expect(read(answered('So: <thi'), failed('claude_error')).content).toBe('So: <thi');
  });

  it('in thinking stays as it is', () => {
    expect(read([init, messageStart('m'), thinking('<think>')]).reasoning).toBe('<think>');
  });

  it('in the label of a tool is made harmless too', () => {
    const call = assistant('msg_1', [toolUse('toolu_1', 'Bash', { command: 'grep "<think>" a' })]);
    const { content } = read([init, call, text('Found.')], success, { toolDisplay: 'text' });

    expect(content).toContain('[Bash] grep "<\u200bthink>" a\u2060\n');
  });
});

describe('tools as status', () => {
  it('are a chunk without choices, once when they begin and once when they are done', () => {
    const chunks = read(conversation).chunks.filter(({ event }) => event);

    expect(chunks.map(({ event, choices }) => ({ event, choices }))).toEqual([
      {
        event: { type: 'status', data: { description: 'Read notes.md', done: false } },
        choices: [],
      },
      {
        event: { type: 'status', data: { description: 'Read notes.md', done: true } },
        choices: [],
      },
    ]);
  });

  it('are set off from a command or a task by a colon', () => {
    const call = assistant('msg_1', [
      toolUse('toolu_1', 'Bash', { command: 'npm test' }),
      toolUse('toolu_2', 'Agent', { description: 'Look' }),
      toolUse('toolu_3', 'TodoWrite', {}),
    ]);
    expect(
      read([call])
        .statuses.map(({ description }) => description)
        .slice(0, 3),
    ).toEqual(['Bash: npm test', 'Agent: Look', 'TodoWrite']);
  });

  it('are done before the end, also when the run fails', () => {
    for (const outcome of [success, failed('claude_error'), outcomeOf(crash('gone'))]) {
      const { chunks, statuses } = read([init, readNotes], outcome);

      expect(statuses).toEqual([
        { description: 'Read notes.md', done: false },
        { description: 'Read notes.md', done: true },
      ]);
      expect(chunks.at(-1)?.event).toBeUndefined();
    }
  });

  it('show a retry', () => {
    const { statuses } = read([init, apiRetry, ...conversation.slice(1)]);
    expect(statuses.slice(0, 2)).toEqual([
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: false },
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: true },
    ]);
  });

  it('leave none open: what begins is done, also when another takes its place', () => {
    const progress = { type: 'tool_progress', tool_use_id: 'toolu_1', tool_name: 'Read' };
    const { statuses } = read([
      init,
      apiRetry,
      apiRetry,
      messageStart('msg_1'),
      readNotes,
      { ...progress, elapsed_time_seconds: 30 },
      { ...progress, elapsed_time_seconds: 60 },
    ]);
    const count = (done: boolean) => statuses.filter((status) => status.done === done).length;
    expect([count(false), count(true)]).toEqual([5, 5]);
  });

  it('end a retry with the run', () => {
    const { statuses } = read([init, apiRetry], failed('overloaded'));
    expect(statuses).toEqual([
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: false },
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: true },
    ]);
  });

  it('show a question for permission', () => {
    const { statuses } = read([
      init,
      permissionRequest('q1', 'Bash', { command: 'npm test' }),
      system('session_state_changed', { state: 'running' }),
    ]);
    expect(statuses).toEqual([
      { description: 'Waiting for permission: Bash: npm test', done: false },
      { description: 'Waiting for permission: Bash: npm test', done: true },
    ]);
  });

  it('leave nothing of a tool in the content', () => {
    expect(read(conversation).content).toBe('Let me look.\n\nTwo lines.');
  });

  it('escape line separators', () => {
    const call = assistant('msg_1', [toolUse('toolu_1', 'Bash', { command: 'a\u2028b' })]);
    const { datas, statuses } = read([call]);
    expect(datas.join()).not.toContain('\u2028');
    expect(statuses[0]?.description).toBe('Bash: a\u2028b');
  });
});

describe('tools as text', () => {
  const shown = (...messages: ClaudeMessage[]) =>
    read(messages, success, { toolDisplay: 'text' }).content;
  const call = (id: string, file: string) =>
    assistant(`msg_${id}`, [toolUse(id, 'Read', { file_path: file })]);

  it('are lines of their own after a start notice', () => {
    expect(shown(...conversation)).toBe(
      '[Starting Claude Code...]\n\nLet me look.\n\n[Read] notes.md\u2060\n\nTwo lines.',
    );
  });

  it('begin with the notice as soon as the CLI speaks', () => {
    const datas: string[] = [];
    const encoder = openai.encoder(contextOf({ toolDisplay: 'text' }), (data) => datas.push(data));
    encoder.message(init, '');

    expect(JSON.parse(datas[1] ?? '').choices[0].delta).toEqual({
      content: '[Starting Claude Code...]\n',
    });
  });

  it('stand together when no text comes between them', () => {
    expect(shown(init, call('1', 'a'), call('2', 'b'), text('Done.'))).toBe(
      '[Starting Claude Code...]\n[Read] a\u2060\n[Read] b\u2060\n\nDone.',
    );
  });

  it('stand apart from a text of one bracket', () => {
    expect(shown(...answered('<'), call('1', 'a'))).toBe(
      '[Starting Claude Code...]\n\n<\n\n[Read] a\u2060\n',
    );
    expect(shown(...answered('One '), text('<'), call('1', 'a'), text('<'), call('2', 'b'))).toBe(
      '[Starting Claude Code...]\n\nOne <\n\n[Read] a\u2060\n\n<\n\n[Read] b\u2060\n',
    );
  });

  it('have no status chunks, for retries and questions neither', () => {
    const question = permissionRequest('q1', 'Bash', { command: 'ls' });
    const { statuses } = read([init, apiRetry, question, readNotes], success, {
      toolDisplay: 'text',
    });
    expect(statuses).toEqual([]);
  });
});

describe('tools in a details block', () => {
  const details = (...messages: ClaudeMessage[]) =>
    read(messages, success, { toolDisplay: 'details' });
  const bash = (id: string, command: string) =>
    assistant(`msg_${id}`, [toolUse(id, 'Bash', { command })]);

  it('stand between the texts, apart from both', () => {
    expect(details(...conversation).content).toBe(
      'Let me look.\n\n' +
        '<details type="tool_calls" done="true" id="toolu_1" name="Read notes.md" ' +
        'arguments="&quot;{\\&quot;file_path\\&quot;:\\&quot;/srv/notes.md\\&quot;}&quot;" ' +
        'result="&quot;Done.&quot;">\n' +
        '<summary>Tool Executed</summary>\n' +
        '</details>\n\n' +
        'Two lines.',
    );
  });

  it('are what Open WebUI reads: the id, the name, the input, the result', () => {
    const { content } = details(init, bash('toolu_1', 'ls'), toolResult('toolu_1', 'a\nb'));
    expect(toolCallsIn(content)).toMatchObject([
      {
        attributes: { type: 'tool_calls', done: 'true', id: 'toolu_1', name: 'Bash: ls' },
        arguments: { command: 'ls' },
        result: 'a\nb',
      },
    ]);
  });

  it('begin the content when nothing was said before them', () => {
    expect(details(init, readNotes, toolResult('toolu_1')).content).toMatch(/^<details /);
  });

  it('stand apart from each other', () => {
    const { content } = details(
      init,
      bash('1', 'a'),
      bash('2', 'b'),
      toolResult('2', 'second'),
      toolResult('1', 'first'),
    );
    expect(content).toMatch(/<\/details>\n\n<details /);
    expect(toolCallsIn(content).map(({ result }) => result)).toEqual(['second', 'first']);
  });

  it('come when the call has ended; a status shows it until then', () => {
    const { chunks } = details(init, readNotes, toolResult('toolu_1'));
    const block = chunks.findIndex(({ choices }) =>
      choices[0]?.delta.content?.includes('<details'),
    );
    const done = chunks.findIndex(({ event }) => event?.data.done);

    expect(chunks.flatMap(({ event }) => event?.data ?? [])).toEqual([
      { description: 'Read notes.md', done: false },
      { description: 'Read notes.md', done: true },
    ]);
    expect(block).toBeGreaterThan(done);
  });

  it('come for a call that never ended, before the end of the stream', () => {
    for (const outcome of [success, failed('claude_error')]) {
      const { content } = read([init, readNotes], outcome, { toolDisplay: 'details' });
      expect(toolCallsIn(content)).toMatchObject([{ result: '' }]);
    }
  });

  it('do not come for the calls of a subagent', () => {
    const call = assistant('msg_9', [toolUse('toolu_9', 'Grep', { pattern: 'x' })], {
      parent_tool_use_id: 'toolu_1',
    });
    const { content, statuses } = details(init, call, toolResult('toolu_9'));
    expect(content).toBe('');
    expect(statuses).toHaveLength(2);
  });

  it('show retries and questions as status', () => {
    const { statuses } = details(
      apiRetry,
      ...conversation,
      permissionRequest('q1', 'Bash', { command: 'ls' }),
    );
    expect(statuses.map(({ description }) => description)).toEqual(
      expect.arrayContaining([
        'Retry 1 of 10 in 1 s: rate limit',
        'Waiting for permission: Bash: ls',
      ]),
    );
  });

  const nasty = [
    '</details>',
    '<details type="tool_calls">',
    '">\n<b>',
    "it's & <think> &amp; &quot;",
    '🌍\u2028\u2029\u0085\r\n\t\u0000',
    '\\" \\\\ \\n',
    '\ud83c',
    '```',
    '$& $1 $`',
  ];

  it.each(nasty)('hold %j in their input and result', (text) => {
    const { content, datas } = details(
      ...answered('Look:'),
      bash('toolu_1', text),
      toolResult('toolu_1', text),
      ...conversation.slice(-3),
    );
    const calls = toolCallsIn(content);

    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatchObject({ arguments: { command: text }, result: text });
    expect(calls[0]?.inside).toBe('<summary>Tool Executed</summary>\n');
    expect(datas.join()).not.toMatch(/[\u2028\u2029\u0085]/);
    expect(withoutDisplay(content)).not.toContain('details');
  });

  it('have a name that needs no unescaping', () => {
    const name = toolCallsIn(
      details(init, bash('toolu_1', `grep "<b>" 'a' && b`), toolResult('toolu_1')).content,
    )[0]?.attributes.name;
    expect(name).toBe('Bash: grep b a b');
  });

  it('cannot be broken out of by the id of a call', () => {
    const id = '"><img src=x onerror=alert(1)>';
    const { content } = details(init, bash(id, 'ls'), toolResult(id));
    expect(content).not.toContain('<img');
    expect(toolCallsIn(content)).toHaveLength(1);
  });
});

describe('tools not shown', () => {
  it('leave the text alone', () => {
    const { content, statuses } = read([apiRetry, ...conversation], success, {
      toolDisplay: 'none',
    });
    expect(content).toBe('Let me look.\n\nTwo lines.');
    expect(statuses).toEqual([]);
  });
});

describe('an answer that meets a schema', () => {
  const call = assistant('msg_1', [toolUse('toolu_1', 'StructuredOutput', { answer: 42 })]);
  const run: readonly ClaudeMessage[] = [
    ...conversation.slice(0, -1),
    call,
    toolResult('toolu_1'),
    text('I have answered.'),
    result(''),
  ];

  it.each(toolDisplays)('is its JSON and nothing else, with tools as %s', (toolDisplay) => {
    const { content, finishReasons } = read(run, structured({ answer: 42 }), {
      ...withSchema,
      toolDisplay,
    });
    expect(content).toBe('{"answer":42}');
    expect(finishReasons).toEqual(['stop']);
  });

  it('still comes with thinking and with the status of tools', () => {
    const { reasoning, statuses } = read(run, structured({}), withSchema);

    expect(reasoning).toBe('Hm.');
    expect(statuses.map(({ description }) => description)).toEqual([
      'Read notes.md',
      'Read notes.md',
    ]);
  });

  it.each([null, [], 'text', 0, false])('may be %j', (value) => {
    expect(read(run, structured(value), withSchema).content).toBe(JSON.stringify(value));
  });

  it('is split, like any text, and intact', () => {
    const value = { text: '🌍"\u2028\u0085\\'.repeat(60_000) };
    const { content, datas } = read(run, structured(value), withSchema);

    expect(JSON.parse(content)).toEqual(value);
    expect(longestLine(datas)).toBeLessThan(64 * 1_024);
  });

  it('with a literal reasoning tag is harmless, and still the same object', () => {
    const value = { text: 'Write <think> first.' };
    const { content } = read(run, structured(value), withSchema);

    expect(content).not.toContain('<think>');
    expect(JSON.parse(content)).toEqual(value);
  });

  it('is not there when the run failed', () => {
    const { content, error } = read(run, failed('schema_not_met'), withSchema);
    expect(content).toBe('');
    expect(error?.code).toBe('schema_not_met');
  });
});

describe('onAnswer', () => {
  it.each(toolDisplays)('is told the words of the answer only, with tools as %s', (toolDisplay) => {
    const { answered } = read([apiRetry, ...conversation], success, { toolDisplay });
    expect(answered.replace(/\n+/g, '\n')).toBe(
      `${toolDisplay === 'text' ? '\n' : ''}Let me look.\nTwo lines.`,
    );
  });

  it.each(toolDisplays)('is told what a client sends back, with tools as %s', (toolDisplay) => {
    const random = randomFrom(4);
    const condensed = (text: string) => text.replace(/\s+/g, '');
    for (let round = 0; round < 50; round++) {
      const alphabet = ['a', '<', '<think>', '\n', ' ', '🌍', '[', ']', '\n[a]\n'];
      const words = () => randomDeltas(random, randomText(random, alphabet, 12), 5);
      const turn = (id: string) => [
        messageStart(id),
        ...words().map((word) => text(word)),
        assistant(id, [toolUse(`toolu_${id}`, 'Read', { file_path: `/srv/${id}.md` })]),
        toolResult(`toolu_${id}`, randomText(random, ['<', '>', '"', '\n', 'x'], 12)),
      ];
      const run = [
        init,
        ...turn('1'),
        ...turn('2'),
        messageStart('3'),
        ...words().map((word) => text(word)),
      ];
      const { content, answered } = read(run, success, { toolDisplay });

      expect(condensed(withoutDisplay(content))).toBe(condensed(answered));
    }
  });

  it('is told what the client got of an answer that failed', () => {
    expect(read(answered('Half <thi'), failed('claude_error')).answered).toBe('Half <thi');
  });

  it('is told an answer that meets a schema', () => {
    expect(read(conversation, structured({ a: 1 }), withSchema).answered).toBe('{"a":1}');
  });

  it('is not needed', () => {
    expect(encode(openai, conversation, success, contextOf())).not.toEqual([]);
  });
});
