import type { ClaudeMessage } from '../../lib/claude/messages.js';
import { type ErrorCode, errorCodes, statusOf } from '../../lib/errors.js';
import type { EncoderContext } from '../../lib/formats/format.js';
import { openai } from '../../lib/formats/openai.js';
import { crash, type Ending, interruption, type Outcome, timeout } from '../../lib/outcome.js';
import { encodeFrame } from '../../lib/sse/frames.js';
import {
  answered,
  apiRetry,
  assistant,
  collect,
  contextOf,
  encode,
  init,
  messageDelta,
  messageStart,
  outcomeOf,
  randomDeltas,
  randomFrom,
  randomText,
  readNotes,
  result,
  success,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
  toolUse,
} from './support.js';

interface Chunk {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: { index: number; delta: Delta; finish_reason: string | null }[];
  event?: { type: string; data: { description: string; done: boolean } };
  usage?: object | null;
  error?: { message: string; type: string; param: null; code: string };
}
interface Delta {
  role?: string;
  content?: string;
  reasoning_content?: string;
}

/** A run with thinking, a tool and two turns of the model. */
const conversation: ClaudeMessage[] = [
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

const failed = (code: ErrorCode, message = 'It failed.'): Outcome =>
  outcomeOf({ status: 'error', code, message });

const withUsage: Partial<EncoderContext> = {
  request: { turn: { content: 'Hello' }, stream: true, includeUsage: true },
};

/** What a client makes of a run's stream. */
function read(
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  overrides: Partial<EncoderContext> = {},
) {
  const datas = encode(openai, messages, outcome, contextOf(overrides)).map(({ data }) => data);
  const chunks = datas.filter((data) => data !== '[DONE]').map((data): Chunk => JSON.parse(data));
  const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
  return {
    datas,
    chunks,
    deltas: choices.map(({ delta }) => delta),
    content: choices.map(({ delta }) => delta.content ?? '').join(''),
    reasoning: choices.map(({ delta }) => delta.reasoning_content ?? '').join(''),
    finishReasons: choices.map((choice) => choice.finish_reason).filter((reason) => reason),
    statuses: chunks.flatMap(({ event }) => (event ? [event.data] : [])),
    error: chunks.find(({ error }) => error)?.error,
  };
}

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
    const request = {
      turn: { content: 'Hi', model: 'opus "5"' },
      stream: true,
      includeUsage: false,
    };
    const { chunks } = read(conversation, success, { request });
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(['opus "5"']));
  });

  it('names some model when the CLI has not said which before it retries', () => {
    const { chunks } = read([apiRetry, ...conversation]);
    expect(new Set(chunks.map(({ model }) => model))).toEqual(new Set(['claude']));
  });

  it('is an event without a name', () => {
    expect(encode(openai, conversation).filter(({ event }) => event !== undefined)).toEqual([]);
  });

  it('never has tool_calls', () => {
    for (const toolDisplay of ['status', 'text', 'none'] as const) {
      const { datas } = read(conversation, success, { toolDisplay });
      expect(datas.join()).not.toMatch(/tool_calls|function_call/);
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
        code: 'rate_limited',
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

  it.each([
    ['rate_limited', 'rate_limit_error'],
    ['billing', 'insufficient_quota'],
    ['refused', 'invalid_request_error'],
    ['prompt_too_long', 'invalid_request_error'],
    ['overloaded', 'server_error'],
    ['crashed', 'server_error'],
  ] as const)('tells the client by the type of %s what to make of it: %s', (code, type) => {
    expect(read([], failed(code)).error?.type).toBe(type);
    expect(openai.errorBody(code, 'It failed.')).toEqual({
      error: { message: 'It failed.', type, param: null, code },
    });
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

    expect(content).toContain('[Bash] grep "<\u200bthink>" a\n');
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
      { description: 'Retry worked', done: true },
    ]);
  });

  it('never say that a retry worked when the run failed', () => {
    const { statuses } = read([init, apiRetry], failed('overloaded'));
    expect(statuses).toEqual([
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: false },
      { description: 'Retry 1 of 10 in 1 s: rate limit', done: true },
    ]);
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
      '[Starting Claude Code...]\n\nLet me look.\n\n[Read] notes.md\n\nTwo lines.',
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
      '[Starting Claude Code...]\n[Read] a\n[Read] b\n\nDone.',
    );
  });

  it('stand apart from a text of one bracket', () => {
    expect(shown(...answered('<'), call('1', 'a'))).toBe(
      '[Starting Claude Code...]\n\n<\n\n[Read] a\n',
    );
    expect(shown(...answered('One '), text('<'), call('1', 'a'), text('<'), call('2', 'b'))).toBe(
      '[Starting Claude Code...]\n\nOne <\n\n[Read] a\n\n<\n\n[Read] b\n',
    );
  });

  it('have no status chunks, for retries neither', () => {
    const { statuses } = read([init, apiRetry, readNotes], success, { toolDisplay: 'text' });
    expect(statuses).toEqual([]);
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

describe('stream: false', () => {
  const usage = { inputTokens: 3, outputTokens: 7, cacheReadTokens: 900, cacheCreationTokens: 20 };

  it('is one body with one choice and the usage', () => {
    expect(collect(openai, conversation, { ...success, usage })).toEqual({
      status: 200,
      body: {
        id: 'chatcmpl-run',
        object: 'chat.completion',
        created: 1_700_000_000,
        model: 'claude-fixture',
        choices: [
          {
            index: 0,
            message: {
              role: 'assistant',
              content: 'Let me look.\n\nTwo lines.',
              refusal: null,
              reasoning_content: 'Hm.',
            },
            logprobs: null,
            finish_reason: 'stop',
          },
        ],
        usage: {
          prompt_tokens: 923,
          completion_tokens: 7,
          total_tokens: 930,
          prompt_tokens_details: { cached_tokens: 900 },
        },
      },
    });
  });

  it('has no reasoning_content without thinking', () => {
    expect(JSON.stringify(collect(openai, answered('Hi')).body)).not.toContain('reasoning_content');
  });

  it('finishes with "length" at the output limit', () => {
    const cut = outcomeOf({ status: 'success', result: 'Cut', stopReason: 'max_tokens' });
    expect(collect(openai, answered('Cut'), cut).body).toMatchObject({
      choices: [{ finish_reason: 'length' }],
    });
  });

  it('shows no tools and no notices, whatever the display', () => {
    for (const toolDisplay of ['status', 'text', 'none'] as const) {
      const context = contextOf({ toolDisplay });
      expect(collect(openai, [apiRetry, ...conversation], success, context).body).toMatchObject({
        choices: [{ message: { content: 'Let me look.\n\nTwo lines.' } }],
      });
    }
  });

  it('makes literal reasoning tags harmless and loses nothing of the end', () => {
    expect(collect(openai, answered('<thi', 'nk> <rea')).body).toMatchObject({
      choices: [{ message: { content: '<\u200bthink> <rea' } }],
    });
  });

  it.each(errorCodes)('answers %s with its status and an error body', (code) => {
    expect(collect(openai, conversation, failed(code))).toEqual({
      status: statusOf(code),
      body: openai.errorBody(code, 'It failed.'),
    });
  });

  it('shows stderr only with exposeErrors', () => {
    const crashed = outcomeOf(crash('exit 1: /root/secret'));
    expect(JSON.stringify(collect(openai, [], crashed))).not.toContain('secret');
    expect(
      JSON.stringify(collect(openai, [], crashed, contextOf({ exposeErrors: true }))),
    ).toContain('exit 1: /root/secret');
  });
});

describe('a request', () => {
  const messages = [{ role: 'user', content: 'Hi' }];

  it('is not streamed unless it says so', () => {
    expect(openai.read({ messages }).stream).toBe(false);
    expect(openai.read({ messages, stream: null }).stream).toBe(false);
    expect(openai.read({ messages, stream: true }).stream).toBe(true);
  });

  it('wants usage only if it says so', () => {
    expect(openai.read({ messages }).includeUsage).toBe(false);
    expect(openai.read({ messages, stream_options: null }).includeUsage).toBe(false);
    expect(openai.read({ messages, stream_options: {} }).includeUsage).toBe(false);
    expect(openai.read({ messages, stream_options: { include_usage: true } }).includeUsage).toBe(
      true,
    );
  });

  it('chooses the effort by reasoning_effort', () => {
    expect(openai.read({ messages, reasoning_effort: 'high', effort: 'low' }).turn.effort).toBe(
      'high',
    );
    expect(() => openai.read({ messages, reasoning_effort: 'huge' })).toThrow('"reasoning_effort"');
  });

  it('may carry Open WebUI’s own fields', () => {
    const body = { messages, tools: [{}], temperature: 1, chat_id: 'x', features: {}, model: 'm' };
    expect(openai.read(body).turn).toEqual({
      content: 'Hi',
      system: undefined,
      model: 'm',
      effort: undefined,
      session: undefined,
    });
  });

  it.each([
    [{ messages, stream: 'true' }, '"stream" must be true or false.'],
    [
      { messages, stream_options: { include_usage: 1 } },
      '"stream_options.include_usage" must be true or false.',
    ],
  ])('with a flag of another type is refused', (body, message) => {
    expect(() => openai.read(body)).toThrow(message);
  });
});
