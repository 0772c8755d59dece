import { ClaudeStreamError } from '../../errors.js';
import type { ChatRequest, Headers } from '../format.js';
import { readSchema } from '../readSchema.js';
import { readBody, readFlag, readObject, readTurn } from '../readTurn.js';
import { withoutDisplay } from './answerText.js';
import { isBackgroundRequest } from './backgroundRequest.js';

/** OpenAI's efforts that Claude does not have; it cannot be told not to think at all. */
const effortNames = { none: 'low', minimal: 'low' } as const;

/**
 * Reads the body of POST /chat/completions. What OpenAI's servers ignore or Claude Code has no setting for
 * (`temperature`, `max_tokens`, `stop`, `tools` …) is ignored; what would change the shape of the answer is refused.
 *
 * @throws ClaudeStreamError with a status of 400, naming the field
 */
export function readCompletionRequest(body: unknown, headers: Headers): ChatRequest {
  const fields = readBody(body);
  refuseUnsupported(fields);
  const streamOptions = readObject(fields.stream_options, 'stream_options');
  const { turn, conversation, user } = readTurn(fields, {
    effortField: 'reasoning_effort',
    effortNames,
    cleanAnswer: withoutDisplay,
  });
  return {
    turn: { ...turn, schema: readResponseFormat(fields.response_format) },
    conversation,
    user,
    stream: readFlag(fields.stream, 'stream', false),
    includeUsage: readFlag(streamOptions.include_usage, 'stream_options.include_usage', false),
    modelName: turn.model,
    background: isBackgroundRequest(headers, conversation),
  };
}

function refuseUnsupported({
  n,
  modalities,
  audio,
  logprobs,
  top_logprobs,
}: Record<string, unknown>) {
  if (n != null && n !== 1) throw unsupported('n', 'only one choice is made, so it must be 1');
  if (Array.isArray(modalities) && modalities.some((modality) => modality !== 'text')) {
    throw unsupported('modalities', 'answers are text');
  }
  if (audio != null) throw unsupported('audio', 'answers are text');
  if (logprobs === true) throw unsupported('logprobs', 'Claude does not tell them');
  if (top_logprobs != null && top_logprobs !== 0) {
    throw unsupported('top_logprobs', 'Claude does not tell them');
  }
}

/** The JSON Schema that the answer must meet, if it has to meet one. */
function readResponseFormat(value: unknown): object | undefined {
  const { type, json_schema } = readObject(value, 'response_format');
  switch (type) {
    case undefined:
    case 'text':
      return undefined;
    case 'json_object':
      return { type: 'object' };
    case 'json_schema': {
      const { schema } = readObject(json_schema, 'response_format.json_schema');
      return readSchema(schema, 'response_format.json_schema.schema');
    }
    default:
      throw new ClaudeStreamError(
        'invalid_request',
        '"response_format.type" must be "text", "json_object" or "json_schema".',
        { field: 'response_format.type' },
      );
  }
}

function unsupported(field: string, reason: string): ClaudeStreamError {
  return new ClaudeStreamError('unsupported_parameter', `"${field}" is not supported: ${reason}.`, {
    field,
  });
}
