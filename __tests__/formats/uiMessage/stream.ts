/** What the AI SDK's reader makes of a UI message stream; it throws where the strictest of v5, v6 and v7 does. */
import type { ClaudeMessage } from '../../../lib/claude/messages.js';
import type { EncoderContext } from '../../../lib/formats/format.js';
import { uiMessage } from '../../../lib/formats/uiMessage/uiMessage.js';
import type { Outcome } from '../../../lib/outcome.js';
import { contextOf, encode, success } from '../support.js';

export interface Chunk {
  readonly type: string;
  readonly id?: string;
  readonly delta?: string;
  readonly messageId?: string;
  readonly messageMetadata?: object;
  readonly toolCallId?: string;
  readonly toolName?: string;
  readonly input?: unknown;
  readonly inputTextDelta?: string;
  readonly output?: unknown;
  readonly errorText?: string;
  readonly data?: { readonly description: string; readonly done: boolean };
}

export interface Part {
  readonly type: string;
  text?: string;
  state?: string;
  toolName?: string;
  input?: unknown;
  output?: unknown;
  errorText?: string;
}

/** The fields that the first release of v5 allows, beside `type`; it refuses a chunk that has others. */
const fields: Record<string, readonly string[]> = {
  start: ['messageId', 'messageMetadata'],
  'start-step': [],
  'text-start': ['id'],
  'text-delta': ['id', 'delta'],
  'text-end': ['id'],
  'reasoning-start': ['id'],
  'reasoning-delta': ['id', 'delta'],
  'reasoning-end': ['id'],
  'tool-input-start': ['toolCallId', 'toolName', 'providerExecuted', 'dynamic'],
  'tool-input-delta': ['toolCallId', 'inputTextDelta'],
  'tool-input-available': ['toolCallId', 'toolName', 'input', 'providerExecuted', 'dynamic'],
  'tool-output-available': ['toolCallId', 'output', 'providerExecuted', 'dynamic'],
  'tool-output-error': ['toolCallId', 'providerExecuted', 'dynamic', 'errorText'],
  'data-status': ['data', 'transient'],
  'finish-step': [],
  finish: ['messageMetadata'],
  error: ['errorText'],
  abort: [],
};

/** The message that some chunks add up to. */
export function messageOf(chunks: readonly Chunk[]) {
  const parts: Part[] = [];
  const open = new Map<string, Part>();
  const tools = new Map<string, Part>();
  /** The tools of the current step: only there does the reader find the one whose input goes on. */
  let step = new Map<string, Part>();
  const opened = (key: string) => {
    const part = open.get(key);
    if (part === undefined) throw new Error(`${key} has not begun, or is over.`);
    return part;
  };
  const tool = (id = '') => {
    const part = tools.get(id);
    if (part === undefined) throw new Error(`There is no tool ${id}.`);
    return part;
  };
  const add = (part: Part) => {
    parts.push(part);
    return part;
  };
  const begin = (id: string, part: Part) => {
    if (tools.has(id)) throw new Error(`The tool ${id} begins twice.`);
    tools.set(id, add(part));
    step.set(id, part);
  };
  const writing = (id: string) => {
    const part = step.get(id);
    if (part?.state !== 'input-streaming') throw new Error(`No input of ${id} is being written.`);
    return part;
  };
  for (const chunk of chunks) {
    const { type, id = '', toolCallId = '' } = chunk;
    const known = fields[type];
    const strange = Object.keys(chunk).filter((name) => name !== 'type' && !known?.includes(name));
    if (known === undefined || strange.length > 0) throw new Error(`${type} has ${strange}.`);
    const [kind = '', change] = /^(text|reasoning)-(\w+)$/.exec(type)?.slice(1) ?? [];
    if (change === 'start') open.set(`${kind} ${id}`, add({ type: kind, text: '' }));
    if (change === 'delta') opened(`${kind} ${id}`).text += String(chunk.delta);
    if (change === 'end' && opened(`${kind} ${id}`)) open.delete(`${kind} ${id}`);
    switch (type) {
      case 'start-step':
        add({ type: 'step-start' });
        step = new Map();
        break;
      case 'tool-input-start': {
        const { toolName = '' } = chunk;
        begin(toolCallId, { type: 'tool', toolName, state: 'input-streaming', text: '' });
        break;
      }
      case 'tool-input-delta':
        writing(toolCallId).text += String(chunk.inputTextDelta);
        break;
      case 'tool-input-available': {
        const { toolName = '', input } = chunk;
        if (!step.has(toolCallId)) begin(toolCallId, { type: 'tool', state: 'input-streaming' });
        Object.assign(writing(toolCallId), { toolName, input, state: 'input-available' });
        break;
      }
      case 'tool-output-error':
        Object.assign(tool(toolCallId), { state: 'output-error', errorText: chunk.errorText });
        break;
      case 'tool-output-available':
        if (tool(toolCallId).state !== 'input-available') throw new Error('An output too many.');
        Object.assign(tool(toolCallId), { state: 'output-available', output: chunk.output });
        break;
    }
  }
  const unfinished = [...tools].filter(([, { state }]) => !state?.startsWith('output'));
  if (unfinished.length > 0) throw new Error(`${unfinished.map(([id]) => id)} has no output.`);
  if (open.size > 0) throw new Error(`${[...open.keys()]} has not been ended.`);
  return parts;
}

/** What a client makes of a run's stream. */
export function read(
  messages: readonly ClaudeMessage[],
  outcome: Outcome = success,
  overrides: Partial<EncoderContext> = {},
) {
  const answered: string[] = [];
  const onAnswer = (text: string) => answered.push(text);
  const events = encode(uiMessage, messages, outcome, contextOf({ onAnswer, ...overrides }));
  return { ...readEvents(events.map(({ data }) => data)), answered: answered.join('') };
}

export function readEvents(datas: readonly string[]) {
  expect(datas.filter((data) => data === '[DONE]')).toEqual([datas.at(-1)]);
  const chunks = datas.slice(0, -1).map((data): Chunk => JSON.parse(data));
  const texts = (type: string) =>
    chunks.flatMap((chunk) => (chunk.type === `${type}-delta` ? chunk.delta : [])).join('');
  return {
    datas,
    chunks,
    types: chunks.map(({ type }) => type),
    parts: messageOf(chunks),
    text: texts('text'),
    reasoning: texts('reasoning'),
    statuses: chunks.flatMap(({ data }) => data ?? []),
    last: chunks.at(-1),
  };
}
