import type { ChatRequest } from '../format.js';
import { mapContent } from '../mapContent.js';
import { readBody, readFlag, readText, readTurn } from '../readTurn.js';

/**
 * Reads what the AI SDK's chat transport posts: `{id, messages, trigger, messageId}` and whatever the application has
 * added to its `body`, of which `model`, `effort`, `session`, `stream` and `user` count.
 *
 * @throws ClaudeStreamError with a status of 400, naming the field
 */
export function readUiRequest(body: unknown): ChatRequest {
  const fields = readBody(body);
  const { turn, conversation, user } = readTurn(
    { ...fields, messages: mapContent(fields.messages, 'parts', withoutWork) },
    {
      effortField: 'effort',
      contentField: 'parts',
      imagePart: '{"type": "file", "mediaType": "image/…", "url": data URL}',
    },
  );
  return {
    turn,
    conversation,
    user,
    stream: readFlag(fields.stream, 'stream', true),
    includeUsage: true,
    modelName: turn.model,
    chat: readText(fields, 'id'),
    answer: readAnswer(fields.messages),
    background: false,
  };
}

/** Longest name of an answer that is given back, in characters: it must fit into a line. */
const LONGEST_ID = 256;

/** When the last message is an answer the AI SDK has it go on, if the stream bears its name; else it shows it twice. */
function readAnswer(messages: unknown): string | undefined {
  const { role, id } = (Array.isArray(messages) ? (messages.at(-1) ?? {}) : {}) as Record<
    string,
    unknown
  >;
  const isAnswer = role === 'assistant' && typeof id === 'string' && id !== '';
  return isAnswer && id.length <= LONGEST_ID ? id : undefined;
}

/** Leaves the words and the files of a conversation. */
function withoutWork(part: unknown): unknown {
  const { type, mediaType, url } = (part ?? {}) as Record<string, unknown>;
  if (type === 'text') return part;
  if (type !== 'file') return { type: 'text', text: '' };
  const isImage = typeof mediaType === 'string' && mediaType.startsWith('image/');
  return isImage ? { type: 'image_url', image_url: { url } } : part;
}
