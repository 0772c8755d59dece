import { ClaudeStreamError } from '../../errors.js';
import type { ChatRequest } from '../format.js';
import { mapContent } from '../mapContent.js';
import { readSchema } from '../readSchema.js';
import { readBody, readFlag, readObject, readText, readTurn } from '../readTurn.js';

/**
 * Reads the body of POST /v1/messages. What Claude Code has no setting for (`max_tokens`, `temperature`,
 * `stop_sequences`, `thinking`, `tools` …) is ignored.
 *
 * @throws ClaudeStreamError with a status of 400, naming the field
 */
export function readMessagesRequest(body: unknown): ChatRequest {
  const fields = readBody(body);
  const { effort, format } = readObject(fields.output_config, 'output_config');
  const { turn, conversation } = readTurn(
    {
      ...fields,
      messages: mapContent(fields.messages, 'content', withoutWork),
      'output_config.effort': effort,
    },
    {
      effortField: 'output_config.effort',
      imagePart:
        '{"type": "image", "source": {"type": "base64", "media_type": string, "data": string}}',
    },
  );
  const { user_id } = readObject(fields.metadata, 'metadata');
  const system = [readSystem(fields.system), turn.system].filter(Boolean).join('\n\n');
  return {
    turn: {
      ...turn,
      system: system === '' ? undefined : system,
      schema: readOutputFormat(format),
    },
    conversation,
    user: readText({ 'metadata.user_id': user_id }, 'metadata.user_id'),
    stream: readFlag(fields.stream, 'stream', false),
    includeUsage: true,
    modelName: turn.model,
    background: false,
  };
}

function readSystem(value: unknown): string {
  if (value == null) return '';
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) throw wrongSystem('system');
  return value
    .map((block, index) => {
      const { text } = readObject(block, `system[${index}]`);
      if (typeof text !== 'string') throw wrongSystem(`system[${index}].text`);
      return text;
    })
    .join('\n\n');
}

function wrongSystem(field: string): ClaudeStreamError {
  return new ClaudeStreamError(
    'invalid_request',
    '"system" must be a string or an array of text blocks.',
    { field },
  );
}

function readOutputFormat(value: unknown): object | undefined {
  const { type, schema } = readObject(value, 'output_config.format');
  if (type === undefined) return undefined;
  if (type === 'json_schema') return readSchema(schema, 'output_config.format.schema');
  throw new ClaudeStreamError(
    'invalid_request',
    '"output_config.format.type" must be "json_schema".',
    {
      field: 'output_config.format.type',
    },
  );
}

/** Blocks of an earlier answer that say how it came about, and not what it was. */
const WORK = /^(?:redacted_)?thinking$|tool_use$|tool_result$/;

/** Leaves the words of a conversation. */
function withoutWork(block: unknown): unknown {
  const { type, content, source } = (block ?? {}) as Record<string, unknown>;
  if (type === 'tool_result' && typeof content === 'string') return found(content);
  if (type === 'tool_result' && Array.isArray(content)) {
    const texts = content.map((part) => (part as { text?: unknown } | null)?.text);
    return found(texts.filter((one) => typeof one === 'string').join('\n'));
  }
  if (typeof type === 'string' && WORK.test(type)) return { type: 'text', text: '' };
  const { type: sourceType, url } = (source ?? {}) as Record<string, unknown>;
  if (type === 'image' && sourceType === 'url') return { type: 'image_url', image_url: { url } };
  return block;
}

/** What a tool of the client has found is new to Claude. What follows it stands apart. */
function found(text: string): object {
  return { type: 'text', text: text === '' ? '' : `${text}\n\n` };
}
