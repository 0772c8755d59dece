import fc from 'fast-check';
import type { ClaudeMessage } from '../../lib/claude/messages.js';
import { messageReducer, readEvents } from '../../lib/client.js';
import { anthropic } from '../../lib/formats/anthropic/anthropic.js';
import { uiMessage } from '../../lib/formats/uiMessage/uiMessage.js';
import { crash, interruption, type Outcome, timeout } from '../../lib/outcome.js';
import { encodeFrame } from '../../lib/sse/frames.js';
import { all, formatNames, formats, responseOf } from '../client/support';
import { readEvents as readMessageEvents } from './anthropic/stream';
import {
  apiRetry,
  assistant,
  collect,
  contextOf,
  encode,
  init,
  messageStart,
  outcomeOf,
  permissionRequest,
  result,
  success,
  system,
  text,
  thinking,
  toolResult,
  toolUse,
} from './support';
import { type Part, readEvents as readChunks } from './uiMessage/stream';

/** A few ids, so that things meet: a tool that ends twice, begins again, or never began. */
const id = fc.constantFrom('a', 'b', 'c');
const words = fc.constantFrom(
  '',
  '\n',
  '\n\n',
  'word',
  'two words',
  '<think>',
  '\u2028',
  '👋',
  '"\\',
);

const streamed = (event: object): ClaudeMessage => ({
  type: 'stream_event',
  parent_tool_use_id: null,
  event,
});

/** What a CLI may say, in an order in which none would. */
const message: fc.Arbitrary<ClaudeMessage> = fc.oneof(
  fc.constant(init),
  fc.constant(apiRetry),
  id.map(messageStart),
  words.map((word) => text(word)),
  words.map((word) => text(word, 'a')),
  words.map(thinking),
  fc
    .tuple(fc.nat(2), id)
    .map(([index, tool]) =>
      streamed({ type: 'content_block_start', index, content_block: toolUse(tool, 'Read', {}) }),
    ),
  fc.tuple(fc.nat(2), words).map(([index, partial_json]) =>
    streamed({
      type: 'content_block_delta',
      index,
      delta: { type: 'input_json_delta', partial_json },
    }),
  ),
  fc.tuple(id, id).map(([of, tool]) => assistant(of, [toolUse(tool, 'Bash', { command: 'ls' })])),
  fc.tuple(id, words).map(([of, word]) => assistant(of, [{ type: 'text', text: word }])),
  id.map((of) => assistant(of, [toolUse('n', 'Read', {})], { parent_tool_use_id: 'a' })),
  fc.tuple(id, words).map(([tool, word]) => toolResult(tool, word)),
  id.map((tool) => permissionRequest(tool, 'Bash', { command: 'rm' })),
  id.map((task_id) => system('task_started', { task_id, is_backgrounded: true, description: 'x' })),
  id.map((task_id) => system('task_notification', { task_id })),
  words.map((word) => result(word)),
  fc.constant<ClaudeMessage>({ type: 'assistant', message: { content: 'no blocks' } }),
  fc.constant<ClaudeMessage>(streamed({ type: 'content_block_start', content_block: null })),
  fc.constant<ClaudeMessage>(streamed({ type: 'content_block_delta', delta: null })),
);

const outcome = fc.constantFrom<Outcome>(
  success,
  outcomeOf(crash('exit 1')),
  outcomeOf(timeout('total')),
  outcomeOf(interruption('cancelled')),
);

const run = fc.tuple(fc.array(message, { maxLength: 30 }), outcome);

const runs = { numRuns: 2_000 };

it('a UI message stream can be read, whatever the run says and however it ends', () => {
  fc.assert(
    fc.property(run, ([messages, ending]) => {
      const events = encode(uiMessage, messages, ending);
      const { last, parts } = readChunks(events.map(({ data }) => data));
      expect(['finish', 'abort', 'error']).toContain(last?.type);
      // No tool is left open.
      for (const { state = 'output-' } of parts) expect(state).toMatch(/^output-/);
    }),
    runs,
  );
});

it('a UI message has the same tools streamed and not streamed, whatever the run says', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 30 }), (messages) => {
      const events = encode(uiMessage, messages, success);
      const { parts } = readChunks(events.map(({ data }) => data));
      const { body } = collect(uiMessage, messages, success, contextOf());
      const collected = (body as { parts: Part[] }).parts;
      const tools = (all: readonly Part[]) =>
        all.flatMap(({ toolName, state, input, output, errorText }) =>
          toolName === undefined ? [] : { toolName, state, input, output, errorText },
        );
      expect(tools(collected)).toEqual(tools(parts));
    }),
    runs,
  );
});

it('a message of the Messages API has blocks that follow each other, whatever the run says', () => {
  fc.assert(
    fc.property(run, ([messages, ending]) => {
      const { types, last, events } = readMessageEvents(encode(anthropic, messages, ending));
      let open: number | undefined;
      let blocks = 0;
      for (const { data } of events) {
        const { type, index } = JSON.parse(data);
        if (type === 'content_block_start') {
          expect([open, index]).toEqual([undefined, blocks]);
          open = index;
          blocks += 1;
        }
        if (type === 'content_block_delta') expect(index).toBe(open);
        if (type === 'content_block_stop') open = undefined;
      }
      expect(types.filter((type) => type === 'message_start').length).toBeLessThan(2);
      expect(last).toMatchObject({ type: ending.status === 'success' ? 'message_stop' : 'error' });
      if (ending.status === 'success') expect(open).toBeUndefined();
    }),
    runs,
  );
});

it.each(formatNames)('the client reads %s to the end, whatever the run says', async (format) => {
  await fc.assert(
    fc.asyncProperty(run, async ([messages, ending]) => {
      const frames = encode(formats[format], messages, ending).map(({ data, event }, index) =>
        encodeFrame(`run:${index + 1}`, data, event),
      );
      const events = await all(readEvents(responseOf([frames.join('')]), { format }));
      const reduce = messageReducer(format);
      const message = events.map(reduce).at(-1);
      expect(message?.outcome?.status === 'success').toBe(ending.status === 'success');
    }),
    { numRuns: 300 },
  );
});

it.each(formatNames)('%s not streamed has an answer, whatever the run says', (format) => {
  fc.assert(
    fc.property(run, ([messages, ending]) => {
      const { status } = collect(formats[format], messages, ending, contextOf());
      expect(status === 200).toBe(ending.status === 'success');
    }),
    runs,
  );
});
