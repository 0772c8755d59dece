/** What clients make of a stream of chat completion chunks. */
import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import type { ErrorCode } from '../../../lib/errors.js';
import type { EncoderContext } from '../../../lib/formats/format.js';
import { openai } from '../../../lib/formats/openai/openai.js';
import type { Outcome } from '../../../lib/outcome.js';
import {
  contextOf,
  encode,
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

export interface Chunk {
  id: string;
  object: string;
  created: number;
  model: string;
  choices: { index: number; delta: Delta; finish_reason: string | null }[];
  event?: { type: string; data: { description: string; done: boolean } };
  usage?: object | null;
  error?: { message: string; type: string; param: null; code: string };
}

export interface Delta {
  role?: string;
  content?: string;
  reasoning_content?: string;
}

/** A run with thinking, a tool and two turns of the model. */
export const conversation: readonly ClaudeMessage[] = [
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

export const failed = (code: ErrorCode, message = 'It failed.'): Outcome =>
  outcomeOf({ status: 'error', code, message });

export const withUsage: Partial<EncoderContext> = { request: requestOf({ includeUsage: true }) };

/** A request whose answer must meet a schema. */
export const withSchema: Partial<EncoderContext> = {
  request: requestOf({ turn: { content: 'Hello', schema: { type: 'object' } } }),
};

export const structured = (structuredOutput: unknown): Outcome =>
  outcomeOf({ status: 'success', result: '', stopReason: 'end_turn', structuredOutput });

/** What a client makes of a run's stream. */
export function read(
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  overrides: Partial<EncoderContext> = {},
) {
  const answered: string[] = [];
  const onAnswer = (text: string) => answered.push(text);
  const context = contextOf({ onAnswer, ...overrides });
  const datas = encode(openai, messages, outcome, context).map(({ data }) => data);
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
    /** What `onAnswer` was told. */
    answered: answered.join(''),
  };
}

/** The length of the longest line on the wire, in bytes. */
export function longestLine(datas: readonly string[]): number {
  return Math.max(...datas.map((data) => Buffer.byteLength(`data: ${data}\n`)));
}

/** The tool calls in a content, as Open WebUI reads them (0.10.2, `extension.ts`, `ToolCallDisplay.svelte`). */
export function toolCallsIn(content: string) {
  return [...content.matchAll(/^<details/gm)].map(({ index }) => {
    const block = content.slice(index);
    const [tag] = /^<details(\s+[^>]*)?>\n/.exec(block) ?? [];
    if (tag === undefined) throw new Error('The tag does not end its line.');
    const attributes = Object.fromEntries(
      [...tag.matchAll(/(\w+)="(.*?)"/g)].map(([, name = '', value = '']) => [name, value]),
    );
    return {
      attributes,
      /** What is left between the tag and the end of the block. */
      inside: block.slice(tag.length, block.indexOf('</details>')),
      arguments: unwrapped(decoded(attributes.arguments ?? '')),
      result: unwrapped(decoded(attributes.result ?? '')),
    };
  });
}

function decoded(attribute: string): string {
  return attribute
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#x27;', "'")
    .replaceAll('&amp;', '&');
}

/** JSON within JSON, as long as it is some. */
function unwrapped(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return unwrapped(JSON.parse(value));
  } catch {
    return value;
  }
}
