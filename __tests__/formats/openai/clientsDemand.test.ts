/** The OpenAI section of CLIENTS.md, rule by rule, as far as a format can keep it; a server keeps the rest. */
import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import { errorCodes } from '../../../lib/errors.js';
import { toolDisplays } from '../../../lib/formats/format.js';
import { openai } from '../../../lib/formats/openai/openai.js';
import { encodeFrame } from '../../../lib/sse/frames.js';
import {
  answered,
  apiRetry,
  assistant,
  collect,
  contextOf,
  encode,
  errorOf,
  init,
  messageStart,
  permissionRequest,
  randomDeltas,
  randomFrom,
  result,
  success,
  text,
  textStart,
  thinking,
  thinkingStart,
  toolResult,
  toolUse,
} from '../support.js';
import { conversation, failed, longestLine, read, toolCallsIn, withUsage } from './stream.js';

const LINE = 64 * 1_024;
const usage = { inputTokens: 3, outputTokens: 7, cacheReadTokens: 900, cacheCreationTokens: 20 };
const counted = { ...success, usage };

/** A run in which everything happens that a chunk can be made of. */
const eventful: readonly ClaudeMessage[] = [
  apiRetry,
  ...conversation,
  permissionRequest('q1', 'Bash', { command: 'ls' }),
  assistant('msg_3', [toolUse('toolu_3', 'Bash', { command: 'ls' })]),
  toolResult('toolu_3', 'a\nb'),
  messageStart('msg_4'),
  textStart,
  text('Write <think>'),
];

/** The same in each display, ended well and ended badly. */
const everyStream = toolDisplays.flatMap((toolDisplay) =>
  [counted, failed('overloaded')].flatMap((outcome) =>
    [{}, withUsage].map((request) => read(eventful, outcome, { toolDisplay, ...request })),
  ),
);

const user = (content: unknown) => ({ role: 'user', content });
const ask = (body: object, headers = {}) =>
  openai.read({ messages: [user('Hi')], ...body }, headers);

describe('OpenAI clients demand', () => {
  describe('of each payload', () => {
    it('every payload has a `choices` array, except `{"error": {…}}` and `[DONE]`', () => {
      for (const { datas } of everyStream) {
        for (const data of datas.filter((data) => data !== '[DONE]')) {
          const payload = JSON.parse(data);
          if ('error' in payload) expect(Object.keys(payload)).toEqual(['error']);
          else expect(payload.choices).toBeInstanceOf(Array);
        }
      }
    });

    it('one constant `id`; `object`, `created`, `model` on each', () => {
      for (const { chunks } of everyStream) {
        const heads = chunks
          .filter(({ error }) => !error)
          .map(({ id, object, created, model }) => ({ id, object, created, model }));
        expect(heads).toEqual(
          heads.map(() => ({
            id: 'chatcmpl-run',
            object: 'chat.completion.chunk',
            created: 1_700_000_000,
            model: heads[0]?.model,
          })),
        );
        expect(heads[0]?.model).toEqual(expect.any(String));
      }
    });

    it('no event has a name, which would hide it from an OpenAI client', () => {
      const named = encode(openai, eventful).filter(({ event }) => event !== undefined);
      expect(named).toEqual([]);
    });
  });

  describe('of the order', () => {
    it('first delta `{role: "assistant", content: ""}`, and no role after it', () => {
      for (const { chunks, deltas } of everyStream) {
        expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '' });
        expect(deltas.slice(1).filter((delta) => 'role' in delta)).toEqual([]);
      }
    });

    it('exactly one `finish_reason`', () => {
      for (const { finishReasons, error } of everyStream) {
        expect(finishReasons).toEqual(error ? [] : ['stop']);
      }
    });

    it('nothing but usage and `[DONE]` after the `finish_reason`', () => {
      const { chunks } = read(eventful, counted, withUsage);
      const end = chunks.findIndex(({ choices }) => choices[0]?.finish_reason);
      expect(chunks.slice(end + 1).map((chunk) => chunk.usage)).toEqual([expect.any(Object)]);
    });

    it('usage exactly once, in a last chunk with `choices: []`, when `stream_options.include_usage`', () => {
      const { chunks } = read(eventful, counted, withUsage);

      expect(chunks.filter((chunk) => chunk.usage)).toEqual([chunks.at(-1)]);
      expect(chunks.at(-1)?.choices).toEqual([]);
      expect(chunks.at(-1)?.usage).toEqual({
        prompt_tokens: 923,
        completion_tokens: 7,
        total_tokens: 930,
        prompt_tokens_details: { cached_tokens: 900 },
      });
    });

    it('usage only when `stream_options.include_usage`', () => {
      for (const chunk of read(eventful, counted).chunks) expect(chunk).not.toHaveProperty('usage');
      expect(ask({}).includeUsage).toBe(false);
      expect(ask({ stream_options: { include_usage: true } }).includeUsage).toBe(true);
    });

    it('`usage: null` on the others then, status chunks included', () => {
      const { chunks } = read(eventful, counted, withUsage);
      expect(new Set(chunks.slice(0, -1).map((chunk) => chunk.usage))).toEqual(new Set([null]));
    });

    it('`[DONE]`, end', () => {
      for (const { datas } of everyStream) {
        expect(datas.indexOf('[DONE]')).toBe(datas.length - 1);
      }
    });
  });

  describe('of thinking', () => {
    it('thinking goes to `delta.reasoning_content`', () => {
      for (const { reasoning, content } of everyStream) {
        expect(reasoning).toBe('Hm.');
        expect(content).not.toContain('Hm.');
      }
    });

    it('a literal `<think>` in answer text is neutralised, wherever it is cut', () => {
      const whole = 'Write <think> first.';
      for (let cut = 0; cut <= whole.length; cut++) {
        const { content } = read(answered(whole.slice(0, cut), whole.slice(cut)));
        expect(content).not.toContain('<think>');
        expect(content.replaceAll('\u200b', '')).toBe(whole);
      }
    });

    it('a literal `<think>` is neutralised in what tools show of themselves, too', () => {
      const call = assistant('msg_1', [
        toolUse('toolu_1', 'Bash', { command: 'grep "<think>" a' }),
      ]);
      for (const toolDisplay of toolDisplays) {
        const run = [init, call, toolResult('toolu_1', '<think>'), text('Found.')];
        expect(read(run, success, { toolDisplay }).content).not.toContain('<think>');
      }
    });
  });

  describe('of tools', () => {
    it('never `delta.tool_calls` for tools that Claude has already run', () => {
      for (const { chunks, deltas } of everyStream) {
        for (const delta of deltas) {
          expect(delta).not.toHaveProperty('tool_calls');
          expect(delta).not.toHaveProperty('function_call');
        }
        expect(chunks.flatMap(({ choices }) => choices ?? [])).not.toContainEqual(
          expect.objectContaining({ finish_reason: 'tool_calls' }),
        );
      }
    });

    it('tools are a status chunk, `choices: []` plus `event`', () => {
      const statuses = read(conversation).chunks.filter(({ event }) => event);

      expect(statuses.map(({ choices, event }) => ({ choices, event }))).toEqual([
        {
          choices: [],
          event: { type: 'status', data: { description: 'Read notes.md', done: false } },
        },
        {
          choices: [],
          event: { type: 'status', data: { description: 'Read notes.md', done: true } },
        },
      ]);
    });

    it('opt-in: text such as `[Read] notes.md`', () => {
      const { content } = read(conversation, success, { toolDisplay: 'text' });
      // With an invisible mark at its end, by which it is found again.
      expect(content).toMatch(/^\[Read\] notes\.md\u2060$/m);
    });

    it('opt-in: a `<details type="tool_calls" done="true" id= name= arguments=>` block, at line start, newline after the tag, attributes HTML-escaped', () => {
      const input = { command: 'echo "<b>" & \'c\'' };
      const call = assistant('msg_1', [toolUse('toolu_1', 'Bash', input)]);
      const { content } = read([...answered('Look:'), call, toolResult('toolu_1')], success, {
        toolDisplay: 'details',
      });

      expect(content).toMatch(
        /^<details type="tool_calls" done="true" id="toolu_1" name="[^"<>&]*" arguments="[^"<>]*" result="[^"<>]*">\n/m,
      );
      expect(toolCallsIn(content)).toMatchObject([{ arguments: input, result: 'Done.' }]);
    });

    it.each(toolDisplays)(
      'it comes back in the next request’s history and must be stripped there: tools as %s',
      (toolDisplay) => {
        const { content } = read(conversation, success, { toolDisplay });
        const messages = [user('Hi'), { role: 'assistant', content }, user('And now?')];
        const { answer = '' } = ask({ messages }).conversation ?? {};
        expect(answer.replace(/\n+/g, '\n')).toBe('Let me look.\nTwo lines.');
      },
    );
  });

  describe('of an error', () => {
    it.each(errorCodes)(
      'in-stream error %s: `message`, `type`, `param: null`, `code`, without `choices`, then `[DONE]`, end',
      (code) => {
        const { datas } = read(eventful, failed(code, 'It failed.'), withUsage);

        expect(JSON.parse(datas.at(-2) ?? '')).toEqual({
          error: {
            message: 'It failed.',
            type: expect.any(String),
            param: null,
            code: expect.any(String),
          },
        });
        expect(datas.at(-1)).toBe('[DONE]');
        expect(datas.filter((data) => data.startsWith('{"error"'))).toHaveLength(1);
      },
    );

    it('never a clean end that hides an error', () => {
      for (const code of errorCodes) {
        expect(read(eventful, failed(code)).finishReasons).toEqual([]);
      }
    });

    it('before the headers an error is a status with a JSON body in the same shape', () => {
      const { status, body } = openai.errorResponse({ code: 'overloaded', message: 'Later.' });
      expect(status).toBe(503);
      expect(body).toEqual({
        error: { message: 'Later.', type: 'server_error', param: null, code: 'overloaded' },
      });
    });
  });

  describe('of lines', () => {
    /** 300 KB with everything in it that can break a line, a character or a reader. */
    const pieces = [
      '🌍',
      '\u2028',
      '\u2029',
      '\u0085',
      '\u0000',
      '"',
      '\\',
      '\r\n',
      '<',
      '€',
      'word ',
    ];
    const long = pieces.join('').repeat(15_000);
    const shifted = [long, `x${long}`, `xx${long}`];
    const loneSurrogate = /\p{Surrogate}/u;

    function check(stream: ReturnType<typeof read>): void {
      for (const data of stream.datas) {
        // Throws at a line break.
        encodeFrame('run:1', data);
        expect(/[\u2028\u2029\u0085]/.test(data)).toBe(false);
      }
      expect(longestLine(stream.datas)).toBeLessThan(LINE);
      for (const { content = '', reasoning_content = '' } of stream.deltas) {
        expect(loneSurrogate.test(content + reasoning_content)).toBe(false);
      }
    }

    it('every `data:` line stays under 64 KiB: a delta of 300 KB is split, never inside a surrogate pair, intact to the byte', () => {
      for (const whole of shifted) {
        expect(Buffer.byteLength(whole)).toBeGreaterThan(300_000);
        const stream = read([...answered(whole), result(whole)]);
        check(stream);
        expect(Buffer.from(stream.content).equals(Buffer.from(whole))).toBe(true);
      }
    });

    it('so is 300 KB of thinking', () => {
      for (const whole of shifted) {
        const stream = read([init, messageStart('msg_1'), thinkingStart, thinking(whole)]);
        check(stream);
        expect(Buffer.from(stream.reasoning).equals(Buffer.from(whole))).toBe(true);
      }
    });

    it('so is the input and the result of a tool of 300 KB in a details block', () => {
      for (const whole of shifted) {
        const call = assistant('msg_1', [toolUse('toolu_1', 'Write', { content: whole })]);
        const stream = read([init, call, toolResult('toolu_1', whole)], success, {
          toolDisplay: 'details',
        });
        check(stream);
        const [shown] = toolCallsIn(stream.content);
        expect(shown?.result === whole).toBe(true);
        expect(shown?.arguments).toEqual({ content: whole });
      }
    });

    it.each(toolDisplays)(
      'so is everything else of a tool of 300 KB, shown as %s',
      (toolDisplay) => {
        const call = assistant('msg_1', [toolUse('toolu_1', 'Bash', { command: long })]);
        check(
          read(
            [
              init,
              call,
              permissionRequest('q1', 'Bash', { command: long }),
              toolResult('toolu_1', long),
            ],
            success,
            { toolDisplay, ...withUsage },
          ),
        );
      },
    );

    it('so is an error of 300 KB', () => {
      for (const whole of shifted) {
        const { datas, error } = read([], failed('claude_error', whole));
        expect(longestLine(datas)).toBeLessThan(LINE);
        expect(loneSurrogate.test(error?.message ?? '')).toBe(false);
      }
    });

    it('text is intact to the byte, however it is cut', () => {
      const random = randomFrom(6);
      for (let round = 0; round < 20; round++) {
        const deltas = randomDeltas(random, long, 40_000);
        const stream = read(answered(...deltas));
        check(stream);
        expect(stream.content === long).toBe(true);
      }
    });
  });

  describe('of `stream: false`', () => {
    it('one JSON body with one choice and usage', () => {
      const { status, body } = collect(openai, eventful, counted, contextOf(withUsage));

      expect(status).toBe(200);
      expect(body).toMatchObject({
        id: 'chatcmpl-run',
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 923, completion_tokens: 7, total_tokens: 930 },
      });
      expect(body).toHaveProperty('choices.length', 1);
      expect(JSON.stringify(body)).not.toContain('tool_calls');
    });

    it('is what a request gets that does not say otherwise', () => {
      expect(ask({}).stream).toBe(false);
    });
  });

  describe('of requests', () => {
    it('titles, tags and follow-ups: header `X-OpenWebUI-Task: {{TASK}}` tells them apart', () => {
      expect(ask({}, { 'x-openwebui-task': 'title_generation' }).background).toBe(true);
      expect(ask({}, { 'x-openwebui-task': '{{TASK}}' }).background).toBe(false);
      expect(ask({}, { 'x-openwebui-task': '' }).background).toBe(false);
    });

    it.each([
      'Generate a concise, 3-5 word title with an emoji summarizing the chat history.',
      'Generate 1-3 broad tags categorizing the main themes of the chat history',
      'Suggest 3-5 relevant follow-up questions or prompts',
    ])('titles, tags and follow-ups: the `### Task:` prompt tells them apart: %s', (task) => {
      const messages = [user(`### Task:\n${task}\n<chat_history>\nUSER: Hi\n</chat_history>`)];
      expect(ask({ messages }).background).toBe(true);
    });

    it('a question about documents begins with `### Task:` too, and is the user’s', () => {
      const rag = '### Task:\nRespond to the user query using the provided context, incorporating';
      expect(ask({ messages: [user(rag)] }).background).toBe(false);
    });

    it('bodies may carry Open WebUI’s own `tools`: ignore them', () => {
      const tools = [{ type: 'function', function: { name: 'search', parameters: {} } }];
      expect(ask({ tools, tool_choice: 'auto', tool_ids: ['x'] })).toEqual(ask({}));
    });

    it('unknown fields are ignored', () => {
      const more = { chat_id: 'x', features: {}, variables: {}, session_id: 'x', temperature: 1 };
      expect(ask(more)).toEqual(ask({}));
    });

    it('images come as `image_url` data URLs', () => {
      const url = 'data:image/png;base64,iVBORw0KGgo=';
      const content = [
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url } },
      ];
      expect(ask({ messages: [user(content)] }).turn.content).toEqual([
        { type: 'text', text: 'What is this?' },
        {
          type: 'image',
          source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' },
        },
      ]);
    });

    it('what is refused names the field in `param`', () => {
      const { code, message, field } = errorOf(() => ask({ n: 2 }));
      expect(openai.errorResponse({ code, message, field })).toMatchObject({
        status: 400,
        body: { error: { param: 'n', code: 'unsupported_parameter' } },
      });
    });

    it('conversation identity: else only the message history', () => {
      const first = [user('Hi'), { role: 'assistant', content: 'Hello!' }];
      const { conversation } = ask({ messages: [...first, user('And now?')] });
      expect(conversation).toMatchObject({
        earlier: [{ role: 'user' }],
        answer: 'Hello!',
        content: 'And now?',
      });
    });
  });
});
