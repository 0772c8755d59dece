import { ClaudeStreamError } from '../errors.js';
import { readObject } from './readTurn.js';

/** Characters of JSON; OpenAI takes no more, and the CLI computes for seconds on an enumeration of that size. */
const LONGEST_SCHEMA = 120_000;

/**
 * The JSON Schema that an answer must meet. It becomes the input of a tool, which is always an object; OpenAI demands
 * the same.
 *
 * @throws ClaudeStreamError `invalid_request`
 */
export function readSchema(value: unknown, field: string): object {
  const schema = readObject(value, field);
  if (schema.type === 'object' && isReasonable(schema)) return schema;
  throw new ClaudeStreamError(
    'invalid_request',
    `"${field}" must be a JSON Schema of the type "object", and have at most ${LONGEST_SCHEMA} characters.`,
    { field },
  );
}

/** JSON of a hundred thousand levels can be read, but not be written again. */
function isReasonable(schema: object): boolean {
  try {
    return JSON.stringify(schema).length <= LONGEST_SCHEMA;
  } catch {
    return false;
  }
}
