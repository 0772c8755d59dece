/** Recorded runs as the event streams of each format, and as a client gets them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAssistant, isResult, isSystem } from '../../lib/claude/messages.js';
import type { ClientFormat } from '../../lib/client.js';
import { anthropic } from '../../lib/formats/anthropic/anthropic.js';
import { claude } from '../../lib/formats/claude.js';
import type { Format } from '../../lib/formats/format.js';
import { openai } from '../../lib/formats/openai/openai.js';
import { uiMessage } from '../../lib/formats/uiMessage/uiMessage.js';
import { endingOf, usageOf } from '../../lib/outcome.js';
import { encodeFrame } from '../../lib/sse/frames.js';
import { contextOf, outcomeOf, requestOf } from '../formats/support.js';

export const formats: { readonly [Name in ClientFormat]: Format } = {
  claude,
  openai,
  anthropic,
  'ui-message': uiMessage,
};

export const formatNames = Object.keys(formats) as ClientFormat[];

/** The text of the event stream of a recording. */
export function streamOf(name: string, format: ClientFormat): string {
  const lines = readFileSync(join(__dirname, '../fixtures/transcripts', `${name}.jsonl`), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
  const messages = lines.map((line) => JSON.parse(line));
  const frames: string[] = [];
  const context = contextOf({ request: requestOf({ includeUsage: true }) });
  const encoder = formats[format].encoder(context, (data, event) =>
    frames.push(encodeFrame(`run:${frames.length + 1}`, data, event)),
  );
  for (const [index, message] of messages.entries()) encoder.message(message, lines[index] ?? '');
  const result = messages.findLast(isResult);
  if (result === undefined) throw new Error('The recording has no result.');
  const { error } = messages.findLast(isAssistant) ?? {};
  const { model } = messages.find((message) => isSystem(message) && message.subtype === 'init') ?? {
    model: undefined,
  };
  encoder.end(outcomeOf(endingOf(result, error), { model, usage: usageOf(result, model) }));
  return frames.join('');
}

/** An answer whose body comes in the given pieces. */
export function responseOf(pieces: readonly (string | Uint8Array)[], init: ResponseInit = {}) {
  const bytes = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece));
  const headers = { 'content-type': 'text/event-stream; charset=utf-8' };
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const piece of bytes) controller.enqueue(piece);
      controller.close();
    },
  });
  return new Response(body, { headers, ...init });
}

export async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = [];
  for await (const item of items) found.push(item);
  return found;
}
