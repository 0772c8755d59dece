import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ClaudeMessage,
  isAssistant,
  isResult,
  isStreamEvent,
  isSystem,
  type ResultMessage,
} from '../../lib/claude/messages.js';
import type { ErrorCode } from '../../lib/errors.js';
import { anthropic } from '../../lib/formats/anthropic/anthropic.js';
import { claude } from '../../lib/formats/claude.js';
import { type EncoderContext, type Format, toolDisplays } from '../../lib/formats/format.js';
import { withoutDisplay } from '../../lib/formats/openai/answerText.js';
import { openai } from '../../lib/formats/openai/openai.js';
import { uiMessage } from '../../lib/formats/uiMessage/uiMessage.js';
import { crash, endingOf, type Outcome, usageOf } from '../../lib/outcome.js';
import { encodeFrame } from '../../lib/sse/frames.js';
import { readEvents as readMessageEvents } from './anthropic/stream.js';
import { contextOf, type Event, encode, outcomeOf, requestOf } from './support.js';
import { readEvents as readChunks } from './uiMessage/stream.js';

const FOLDER = join(__dirname, '../fixtures/transcripts');

/** How each recorded run ended, as one reads it in the recording. */
const endings = {
  badrequest: 'prompt_too_long',
  bash: 'success',
  denied: 'success',
  hello: 'success',
  image: 'success',
  interrupted: 'interrupted',
  'json-schema': 'success',
  long: 'success',
  maxtokens: 'max_output_tokens',
  maxturns: 'max_turns',
  midfail: 'claude_error',
  'not-logged-in': 'not_logged_in',
  parallel: 'success',
  'permission-allowed': 'success',
  'permission-denied': 'success',
  read: 'success',
  refusal: 'refused',
  retry: 'success',
  sigint: 'interrupted',
  'slash-command': 'success',
  subagent: 'success',
  think: 'success',
  todo: 'success',
  'two-turns': 'success',
  'unknown-resume': 'session_not_found',
  write: 'success',
} as const satisfies Record<string, ErrorCode | 'success'>;

/** What OpenAI calls some of them. */
const openaiNames: Partial<Record<ErrorCode | 'success', string>> = {
  prompt_too_long: 'context_length_exceeded',
  refused: 'content_filter',
};

const openaiCode = (name: keyof typeof endings) => openaiNames[endings[name]] ?? endings[name];

const names = Object.keys(endings) as (keyof typeof endings)[];
const successes = names.filter((name) => endings[name] === 'success');
const failures = names.filter((name) => endings[name] !== 'success');

const context = contextOf({
  startedAt: 1_700_000_000_000,
  request: requestOf({ includeUsage: true }),
});

function linesOf(name: string): string[] {
  return readFileSync(join(FOLDER, `${name}.jsonl`), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

const messagesOf = (name: string) => linesOf(name).map((line): ClaudeMessage => JSON.parse(line));

/** What `run.ts` makes of a recording: the facts on the way, and the ending of the last result. */
function outcomeOfRecording(name: string, structured = false): Outcome {
  let model: string | undefined;
  let apiError: string | undefined;
  let turns = 0;
  let last: ResultMessage | undefined;
  for (const message of messagesOf(name)) {
    if (isSystem(message) && message.subtype === 'init') model = String(message.model);
    if (isAssistant(message) && message.parent_tool_use_id == null) apiError = message.error;
    if (isResult(message)) {
      last = message;
      turns += message.num_turns ?? 0;
    }
  }
  const ending = last ? endingOf(last, apiError, structured) : crash('There is no result.');
  return outcomeOf(ending, {
    sessionId: last?.session_id,
    model,
    turns,
    usage: last && usageOf(last, model),
    costUsd: last?.total_cost_usd,
  });
}

/** The recording as an event stream, and as one body. */
function replay(format: Format, name: string, overrides: Partial<EncoderContext> = {}) {
  const events: Event[] = [];
  const used = { ...context, ...overrides };
  const encoder = format.encoder(used, (data, event) => events.push({ data, event }));
  const collector = format.collector(used);
  for (const line of linesOf(name)) {
    const message = JSON.parse(line);
    encoder.message(message, line);
    collector.message(message);
  }
  const outcome = outcomeOfRecording(name, used.request.turn.schema !== undefined);
  encoder.end(outcome);
  return { events, outcome, response: collector.end(outcome) };
}

/** What was said in a recording, block by block, read without the code under test. */
function recorded(name: string) {
  const texts: string[] = [];
  const thoughts: string[] = [];
  for (const message of messagesOf(name)) {
    if (isStreamEvent(message) && message.parent_tool_use_id === null) {
      const { type, delta, content_block } = message.event;
      if (type === 'content_block_start' && content_block?.type === 'text') texts.push('');
      if (type === 'content_block_start' && content_block?.type === 'thinking') thoughts.push('');
      if (delta?.type === 'text_delta') texts.push(texts.pop() + String(delta.text));
      if (delta?.type === 'thinking_delta') thoughts.push(thoughts.pop() + String(delta.thinking));
    }
    if (isAssistant(message) && message.message.model === '<synthetic>' && !message.error) {
      texts.push(...message.message.content.map(({ text }) => String(text)));
    }
  }
  return { text: withoutGaps(texts.join('')), thinking: withoutGaps(thoughts.join('')) };
}

/** The blank lines between two blocks are tested by themselves, in answer.test.ts. */
const withoutGaps = (text: string) => text.replaceAll('\n\n', '');

interface Chunk {
  choices?: {
    delta: { role?: string; content?: string; reasoning_content?: string };
    finish_reason: string | null;
  }[];
  event?: { type: string; data: { description: string; done: boolean } };
  error?: { message: string; type: string; param: null; code: string };
  usage?: { total_tokens: number } | null;
}

const chunksOf = (events: readonly Event[]) =>
  events.slice(0, -1).map(({ data }): Chunk => JSON.parse(data));

function saidIn(chunks: readonly Chunk[], field: 'content' | 'reasoning_content') {
  const deltas = chunks.flatMap(({ choices = [] }) => choices.map(({ delta }) => delta[field]));
  return withoutGaps(deltas.join(''));
}

/** Every character that a client keeps. */
const contentOf = (chunks: readonly Chunk[]) =>
  chunks.flatMap(({ choices = [] }) => choices.map(({ delta }) => delta.content ?? '')).join('');

const finishReasons = (chunks: readonly Chunk[]) =>
  chunks.flatMap(({ choices = [] }) =>
    choices.map((choice) => choice.finish_reason).filter((reason) => reason !== null),
  );

it('knows the ending of every transcript', () => {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.jsonl'));
  expect(files.map((file) => file.replace('.jsonl', '')).sort()).toEqual([...names].sort());
});

it.each(names)('%s ends as it was recorded', (name) => {
  const outcome = outcomeOfRecording(name);
  const failed = messagesOf(name).findLast(isResult)?.is_error === true;

  expect('code' in outcome ? outcome.code : outcome.status).toBe(endings[name]);
  expect(outcome.status !== 'success').toBe(failed);
});

describe('openai, streamed', () => {
  it.each(names)('%s: says the recorded text and thinking exactly once', (name) => {
    const chunks = chunksOf(replay(openai, name).events);

    expect(saidIn(chunks, 'content')).toBe(recorded(name).text);
    expect(saidIn(chunks, 'reasoning_content')).toBe(recorded(name).thinking);
  });

  it.each(successes)('%s: ends with one finish_reason, the usage, [DONE]', (name) => {
    const { events } = replay(openai, name);
    const chunks = chunksOf(events);

    expect(events.at(-1)?.data).toBe('[DONE]');
    expect(finishReasons(chunks)).toEqual(['stop']);
    expect(chunks.at(-2)?.choices?.[0]?.finish_reason).toBe('stop');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: expect.any(Object) });
    expect(chunks.filter(({ error }) => error)).toEqual([]);
  });

  it.each(failures)('%s: ends with one error, [DONE], and no finish_reason', (name) => {
    const { events, outcome } = replay(openai, name);
    const chunks = chunksOf(events);

    expect(events.at(-1)?.data).toBe('[DONE]');
    expect(finishReasons(chunks)).toEqual([]);
    expect(chunks.filter(({ error }) => error)).toEqual([chunks.at(-1)]);
    expect(chunks.at(-1)).toEqual({
      error: {
        message: 'message' in outcome && outcome.message,
        type: expect.any(String),
        param: null,
        code: openaiCode(name),
      },
    });
    expect(chunks.filter(({ usage }) => usage)).toEqual([]);
  });

  it('subagent: says the answer that follows the first result too', () => {
    const content = saidIn(chunksOf(replay(openai, 'subagent').events), 'content');

    expect(content.match(/The subagent reported two lines\./g)).toHaveLength(2);
    expect(content).not.toContain('looked at the notes');
  });
});

describe('openai, streamed: what the client keeps', () => {
  // As `conversations.ts` compares them: a client trims, and joins parts in its own way.
  const condensed = (text: string) => text.replace(/\s+/g, '');

  it.each(toolDisplays.flatMap((toolDisplay) => names.map((name) => [toolDisplay, name] as const)))(
    'tools as %s, %s: is, without what was only shown, what was remembered',
    (toolDisplay, name) => {
      const remembered: string[] = [];
      const events = encode(openai, messagesOf(name), outcomeOfRecording(name), {
        ...context,
        toolDisplay,
        onAnswer: (text) => remembered.push(text),
      });
      const kept = contentOf(chunksOf(events));

      expect(condensed(withoutDisplay(kept))).toBe(condensed(remembered.join('')));
      expect(condensed(remembered.join(''))).toBe(condensed(recorded(name).text));
    },
  );
});

describe('openai, tools in a details block', () => {
  const content = (name: string) =>
    contentOf(chunksOf(replay(openai, name, { toolDisplay: 'details' }).events));

  it.each([
    ['read', 1],
    ['bash', 1],
    ['write', 2],
    ['parallel', 2],
    ['hello', 0],
    ['denied', 1],
  ])('%s: has as many blocks as calls: %i', (name, count) => {
    expect(content(name).match(/^<details type="tool_calls" done="true" /gm) ?? []).toHaveLength(
      count,
    );
    expect(content(name).match(/^<\/details>$/gm) ?? []).toHaveLength(count);
  });

  it('read: stands between the texts, apart from both', () => {
    expect(content('read').replace(/<details[\s\S]*<\/details>/, '(block)')).toMatch(
      /\S\n\n\(block\)\n\n\S/,
    );
  });
});

describe('openai, with a schema', () => {
  it('json-schema: a model that answered in words says nothing and has failed', () => {
    const request = requestOf({ turn: { content: 'Hello', schema: { type: 'object' } } });
    const { events, response } = replay(openai, 'json-schema', { request });
    const chunks = chunksOf(events);

    expect(saidIn(chunks, 'content')).toBe('');
    expect(chunks.at(-1)?.error?.code).toBe('schema_not_met');
    expect(finishReasons(chunks)).toEqual([]);
    expect(response).toMatchObject({ status: 502, body: { error: { code: 'schema_not_met' } } });
  });
});

describe('openai, a permission that is asked for', () => {
  it.each(['permission-allowed', 'permission-denied'])('%s: shows as status', (name) => {
    const statuses = chunksOf(replay(openai, name).events).flatMap(({ event }) => event ?? []);

    expect(statuses.map(({ data }) => data)).toContainEqual({
      description: 'Waiting for permission: Bash: touch /home/user/project/denied.txt',
      done: false,
    });
    expect(openAtTheEnd(statuses)).toEqual([]);
  });

  const openAtTheEnd = (statuses: readonly { data: { description: string; done: boolean } }[]) => {
    const open = new Set<string>();
    for (const { data } of statuses) {
      if (data.done) open.delete(data.description);
      else open.add(data.description);
    }
    return [...open];
  };
});

describe('openai, not streamed', () => {
  it.each(successes)('%s: answers with the recorded text and thinking', (name) => {
    const { status, body } = replay(openai, name).response;
    const { text, thinking } = recorded(name);
    const { choices, usage } = JSON.parse(JSON.stringify(body));

    expect(status).toBe(200);
    expect(choices).toHaveLength(1);
    expect(choices[0].finish_reason).toBe('stop');
    expect(withoutGaps(choices[0].message.content)).toBe(text);
    expect(withoutGaps(choices[0].message.reasoning_content ?? '')).toBe(thinking);
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  it.each(failures)('%s: answers with an error and its status', (name) => {
    const { status, body } = replay(openai, name).response;

    expect(status).toBeGreaterThanOrEqual(400);
    expect(body).toMatchObject({ error: { param: null, code: openaiCode(name) } });
    expect(body).not.toHaveProperty('choices');
  });
});

describe('anthropic, streamed', () => {
  it.each(successes)('%s: is one message that says all exactly once', async (name) => {
    const { events, outcome } = replay(anthropic, name);
    const { content, stop_reason, usage } = await readMessageEvents(events).finalMessage();

    const texts = content.map((block) => (block.type === 'text' ? block.text : ''));
    const thoughts = content.map((block) => (block.type === 'thinking' ? block.thinking : ''));
    expect(withoutGaps(texts.join(''))).toBe(recorded(name).text);
    expect(withoutGaps(thoughts.join(''))).toBe(recorded(name).thinking);
    expect(stop_reason).toBe('end_turn');
    expect(usage.output_tokens).toBe(outcome.usage?.outputTokens ?? 0);
  });

  it.each(failures)('%s: is an error that the SDK throws', async (name) => {
    const { events, outcome } = replay(anthropic, name);

    await expect(readMessageEvents(events).finalMessage()).rejects.toMatchObject({
      error: {
        error: { message: 'message' in outcome && outcome.message, code: endings[name] },
      },
    });
  });
});

describe('anthropic, not streamed', () => {
  it.each(successes)('%s: is the message that the stream adds up to', async (name) => {
    const { events, response } = replay(anthropic, name);

    expect(response.status).toBe(200);
    expect(await readMessageEvents(events).finalMessage()).toMatchObject(response.body);
  });

  it.each(failures)('%s: answers with an error and its status', (name) => {
    const { status, body } = replay(anthropic, name).response;

    expect(status).toBeGreaterThanOrEqual(400);
    expect(body).toMatchObject({ type: 'error', error: { code: endings[name] } });
  });
});

describe('ui-message, streamed', () => {
  const read = (name: string) => readChunks(replay(uiMessage, name).events.map(({ data }) => data));

  it.each(names)('%s: can be read, and says all exactly once', (name) => {
    const { text, reasoning } = read(name);

    expect(withoutGaps(text)).toBe(recorded(name).text);
    expect(withoutGaps(reasoning)).toBe(recorded(name).thinking);
  });

  it.each(names)('%s: ends as the run has', (name) => {
    const { outcome } = replay(uiMessage, name);
    const { last } = read(name);

    expect(last?.type).toBe(outcome.status === 'success' ? 'finish' : 'error');
    expect(last?.errorText).toBe('message' in outcome ? outcome.message : undefined);
  });

  it.each(names)('%s: has every tool of the conversation with its input and its end', (name) => {
    const used = messagesOf(name)
      .filter(isAssistant)
      .filter(({ parent_tool_use_id }) => parent_tool_use_id === null)
      .flatMap(({ message }) => message.content.filter(({ type }) => type === 'tool_use'))
      .filter((block) => block.name !== 'StructuredOutput');
    const tools = read(name).parts.filter(({ type }) => type === 'tool');

    expect(tools.map(({ toolName, input }) => [toolName, input])).toEqual(
      used.map((block) => [block.name, block.input]),
    );
    for (const { state } of tools) expect(state).toMatch(/^output-/);
  });
});

describe('ui-message, not streamed', () => {
  it.each(successes)('%s: is the message that the stream adds up to', (name) => {
    const { events, response } = replay(uiMessage, name);
    const { parts } = readChunks(events.map(({ data }) => data));
    const { status, body } = response;
    const collected = (body as { parts: { type: string; text?: string; output?: string }[] }).parts;

    expect(status).toBe(200);
    expect(
      collected.map(({ type, text, output }) => [type.replace('dynamic-', ''), text, output]),
    ).toEqual(
      parts.map(({ type, text, output }) => [type, type === 'tool' ? undefined : text, output]),
    );
  });
});

describe('claude, streamed', () => {
  it.each(names)('%s: passes every line on, under its type, and ends with the outcome', (name) => {
    const { events, outcome } = replay(claude, name);
    const lines = linesOf(name);

    expect(events.slice(0, -1).map(({ data }) => data)).toEqual(lines);
    expect(events.slice(0, -1).map(({ event }) => event)).toEqual(
      lines.map((line) => JSON.parse(line).type),
    );
    expect(events.at(-1)?.event).toBe('outcome');
    expect(JSON.parse(events.at(-1)?.data ?? '')).toMatchObject({ status: outcome.status });
  });
});

describe('claude, not streamed', () => {
  it.each(successes)('%s: answers with the last result, as it came', (name) => {
    const { status, body } = replay(claude, name).response;

    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: { status: 'success' } });
    expect(body).toHaveProperty('result', messagesOf(name).findLast(isResult));
  });

  it.each(failures)('%s: answers with an error and its status', (name) => {
    const { outcome, response } = replay(claude, name);

    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.body).toMatchObject({
      error: { code: endings[name], message: 'message' in outcome && outcome.message },
    });
  });
});

describe('on the wire', () => {
  const small = ['hello', 'think', 'read', 'refusal', 'not-logged-in'] as const;

  const frames = (events: readonly Event[]) =>
    events.map(({ data, event }, index) => encodeFrame(`run:${index + 1}`, data, event)).join('');

  it.each(small)('openai: %s', (name) => {
    expect(frames(replay(openai, name).events)).toMatchSnapshot();
  });

  // The data is the recorded line, as tested above: of a long one the beginning is enough to read.
  it.each(small)('claude: %s', (name) => {
    const { events } = replay(claude, name);
    const shortened = events.map(({ data, event }) => ({
      data: event !== 'outcome' && data.length > 120 ? `${data.slice(0, 120)}…` : data,
      event,
    }));

    expect(frames(shortened)).toMatchSnapshot();
  });
});
