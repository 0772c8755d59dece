/** What Anthropic's own SDK makes of a stream of the Messages API. */
import Anthropic from '@anthropic-ai/sdk';
import type { Message, RawMessageStreamEvent } from '@anthropic-ai/sdk/resources/messages';
import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import { anthropic } from '../../../lib/formats/anthropic/anthropic.js';
import type { EncoderContext } from '../../../lib/formats/format.js';
import type { Outcome } from '../../../lib/outcome.js';
import { encodeFrame } from '../../../lib/sse/frames.js';
import { contextOf, type Event, encode, success } from '../support.js';

/** What a ping tells beside being one. */
export interface Ping {
  readonly type: 'ping';
  readonly status: { readonly description: string; readonly done: boolean };
}

/** The events of a run. */
export function read(
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  overrides: Partial<EncoderContext> = {},
) {
  const answered: string[] = [];
  const onAnswer = (text: string) => answered.push(text);
  const events = encode(anthropic, messages, outcome, contextOf({ onAnswer, ...overrides }));
  return { ...readEvents(events), answered: answered.join('') };
}

export function readEvents(events: readonly Event[]) {
  const parsed = events.map(({ data }): RawMessageStreamEvent | Ping => JSON.parse(data));
  // The SDK drops an event without a name, and takes the type out of the data.
  expect(events.map(({ event }) => event)).toEqual(parsed.map(({ type }) => type));
  return {
    events,
    types: parsed.map(({ type }) => type as string).filter((type) => type !== 'ping'),
    statuses: parsed.flatMap((one) => (one.type === 'ping' ? one.status : [])),
    last: parsed.at(-1) as unknown,
    finalMessage: () => finalMessage(events),
  };
}

/** What `.stream().finalMessage()` gives, or throws. */
function finalMessage(events: readonly Event[]): Promise<Message> {
  const body = events.map(({ data, event }) => encodeFrame('run:1', data, event)).join('');
  const headers = { 'content-type': 'text/event-stream; charset=utf-8' };
  const client = new Anthropic({
    apiKey: 'dummy',
    baseURL: 'http://127.0.0.1',
    maxRetries: 0,
    fetch: async () => new Response(body, { headers }),
  });
  const stream = client.messages.stream({
    model: 'claude-fixture',
    max_tokens: 1_024,
    messages: [{ role: 'user', content: 'Hello' }],
  });
  return stream.finalMessage();
}
