import { createParser, type EventSourceMessage, type ParseError } from 'eventsource-parser';
import { isEventStream } from '../sse/isEventStream.js';
import { ClientError } from './clientError.js';
import type { ClaudeEvent, ClientFormat, EventsByFormat } from './events.js';

export interface ReadOptions<Format extends ClientFormat> {
  /** The format that the server was asked for. Default `'claude'`. */
  readonly format?: Format | undefined;
  /**
   * Silence after which the connection counts as lost, in ms; the server breaks it every 15 s by default (`keepAlive`).
   * Default 60 000; `false`: none is too long.
   */
  readonly idleTimeout?: number | false | undefined;
  /**
   * Longest event, in characters. Default 2 ** 27, twice the longest line of the CLI that a server passes on by default
   * (`maxLineLength`).
   */
  readonly maxEventLength?: number | undefined;
  /** Called with everything that comes, keep-alive comments too: as long as it is called, the connection is alive. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Told how long to wait before coming back, in ms: there is something to come back to. */
  readonly onRetry?: ((ms: number) => void) | undefined;
  /**
   * Called once, when the end has come: the run is over, and nothing of it can be lost any more. That is right before the
   * last event is yielded, unless the end came later than that.
   */
  readonly onLast?: (() => void) | undefined;
}

const MAX_EVENT_LENGTH = 2 ** 27;

/** In ms. Four comments of a server with the default `keepAlive` are missing then. */
export const IDLE_TIMEOUT = 60_000;

/** Above it, timers fire at once: in ms, a month. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** What an event of a format is made of, and whether it is the last one; `undefined` for what only ends the stream. */
interface Reader<Event> {
  event(message: EventSourceMessage): Event | undefined;
  isLast(message: EventSourceMessage): boolean;
}

/** What ends a stream and is no event, in the formats of OpenAI and of the AI SDK. */
const DONE = '[DONE]';

const readers: { readonly [Format in ClientFormat]: Reader<EventsByFormat[Format]> } = {
  claude: {
    event: claudeEvent,
    isLast: ({ event }) => event === 'outcome',
  },
  openai: {
    event: ({ id, data }) => (data === DONE ? undefined : { id, chunk: objectOf(data) }),
    isLast: ({ data }) => data === DONE,
  },
  anthropic: {
    event: ({ id, data }) => ({ id, event: objectOf(data) }),
    isLast: ({ event }) => event === 'message_stop' || event === 'error',
  },
  'ui-message': {
    event: ({ id, data }) => (data === DONE ? undefined : { id, chunk: objectOf(data) }),
    isLast: ({ data }) => data === DONE,
  },
};

/** @throws TypeError for a format that there is not */
export function readerOf<Format extends ClientFormat>(
  format: Format = 'claude' as Format,
): Reader<EventsByFormat[Format]> {
  const reader: Reader<EventsByFormat[Format]> | undefined = readers[format];
  if (reader === undefined) throw new TypeError(`There is no format "${format}".`);
  return reader;
}

function claudeEvent({ id, event, data }: EventSourceMessage): ClaudeEvent {
  switch (event) {
    case 'queue':
    case 'gap':
    case 'failure':
      return { ...objectOf(data), id, kind: event } as ClaudeEvent;
    case 'outcome':
      return { id, kind: 'outcome', outcome: objectOf(data) };
    default:
      return { id, kind: 'message', message: objectOf(data) };
  }
}

/**
 * The events of a stream, one by one, until its last. Leaving the loop closes the connection.
 *
 * A failed run is no error here: its last event says so. An answer with the status 204 has no events.
 *
 * @throws ClientError `http_error`, `not_a_stream`, `malformed_event`, or `stream_cut` when the stream ends without its
 * last event or is silent for `idleTimeout`
 * @throws whatever the connection throws when it is lost
 */
export async function* readEvents<Format extends ClientFormat = 'claude'>(
  source: Response | ReadableStream<Uint8Array>,
  {
    format,
    idleTimeout = IDLE_TIMEOUT,
    maxEventLength = MAX_EVENT_LENGTH,
    onBytes,
    onRetry,
    onLast,
  }: ReadOptions<Format> = {},
): AsyncGenerator<EventsByFormat[Format], void, undefined> {
  const reader = readerOf(format);
  const body = 'body' in source ? await bodyOf(source, idleTimeout) : source;
  if (body === undefined) return;
  const messages: EventSourceMessage[] = [];
  let failure: ClientError | undefined;
  let isTold = false;
  const parser = createParser({
    maxBufferSize: maxEventLength,
    onEvent: (message) => messages.push(message),
    onRetry,
    onError: (error) => {
      // What else it finds amiss, it reads over, as the specification says.
      if (error.type === 'max-buffer-size-exceeded') failure = tooLong(maxEventLength, error);
    },
  });
  const decoder = new TextDecoder();
  const bytes = body.getReader();
  try {
    for (;;) {
      const { done, value } = await notLaterThan(idleTimeout, bytes.read());
      if (done) break;
      onBytes?.(value.byteLength);
      parser.feed(decoder.decode(value, { stream: true }));
      const come = messages.splice(0);
      for (const [index, message] of come.entries()) {
        const event = reader.event(message);
        const isLast = reader.isLast(message);
        if (!isTold && (isLast || come[index + 1]?.data === DONE)) {
          isTold = true;
          onLast?.();
        }
        if (event !== undefined) yield event;
        if (!isLast) continue;
        await endOf(bytes);
        return;
      }
      if (failure) throw failure;
    }
  } finally {
    // Also when the loop over the events is left: nobody reads the rest.
    await bytes.cancel().catch(() => {});
  }
  throw new ClientError('stream_cut', 'The stream has ended before its last event.');
}

function tooLong(maxEventLength: number, cause: ParseError): ClientError {
  return new ClientError(
    'malformed_event',
    `An event is longer than ${maxEventLength} characters (maxEventLength).`,
    { cause },
  );
}

/**
 * What it holds is as the server says: it is not looked into any further.
 *
 * @throws ClientError `malformed_event`
 */
function objectOf<Value extends object>(data: string): Value {
  let value: unknown;
  let cause: unknown;
  try {
    value = JSON.parse(data);
  } catch (error) {
    cause = error;
  }
  if (typeof value === 'object' && value !== null) return value as Value;
  const shown = data.slice(0, LONGEST_TEXT);
  throw new ClientError('malformed_event', `An event is no JSON object: ${shown}`, { cause });
}

/** A connection that has gone without a word never ends by itself. */
export function connectionLost(idleTimeout: number): ClientError {
  return new ClientError(
    'stream_cut',
    `Nothing has come for ${idleTimeout / 1_000} s, not even a keep-alive comment.`,
  );
}

/** @throws ClientError `stream_cut` */
async function notLaterThan<Value>(
  idleTimeout: number | false,
  value: Promise<Value>,
): Promise<Value> {
  if (idleTimeout === false) return value;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_resolve, reject) => {
    const silent = () => reject(connectionLost(idleTimeout));
    timer = setTimeout(silent, Math.min(idleTimeout, LONGEST_TIMER));
  });
  try {
    return await Promise.race([value, silence]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long the end of the response may follow the last event, in ms; the server sends both at once. */
const END_TIMEOUT = 1_000;

/** Lets a connection end that would look broken off, to the server and in a browser's log, if it was closed here. */
async function endOf(bytes: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, END_TIMEOUT);
  });
  const end = (async () => {
    while (!(await bytes.read()).done);
  })();
  // What happens to the connection now is of no interest any more.
  await Promise.race([end.catch(() => {}), late]);
  clearTimeout(timer);
}

/** @throws ClientError `http_error`, `not_a_stream` */
async function bodyOf(
  response: Response,
  idleTimeout: number | false,
): Promise<ReadableStream<Uint8Array> | undefined> {
  const { status, ok, body, headers } = response;
  if (!ok) throw await refusalOf(response, idleTimeout);
  if (status === 204) return undefined;
  const type = headers.get('content-type') ?? 'none';
  if (body === null || !isEventStream(type)) {
    await body?.cancel();
    throw new ClientError(
      'not_a_stream',
      `The answer is no event stream but has the content type ${type}. ` +
        'Is it the right URL, and did the body ask for "stream": true?',
      { status },
    );
  }
  return body;
}

/** Characters of what is no JSON, in an error's message. */
const LONGEST_TEXT = 300;

/** Characters of a refusal that are read. */
const LONGEST_REFUSAL = 64 * 1_024;

/** @returns ClientError `http_error`, in the server's own words where it has some */
export async function refusalOf(
  response: Response,
  idleTimeout: number | false,
): Promise<ClientError> {
  const { status, statusText } = response;
  const text = await beginningOf(response.body, idleTimeout);
  let { message, code }: { message?: unknown; code?: unknown } = {};
  try {
    ({ message, code } = JSON.parse(text).error ?? {});
  } catch {
    // A proxy answers in HTML.
  }
  const told = typeof message === 'string' ? message : text.trim().slice(0, LONGEST_TEXT);
  return new ClientError('http_error', told === '' ? `${status} ${statusText}` : told, {
    status,
    ...(typeof code === 'string' && { serverCode: code }),
  });
}

/** What can be had of a text, but no more than is of use; the rest is nobody's. */
export async function beginningOf(
  body: ReadableStream<Uint8Array> | null,
  idleTimeout: number | false,
): Promise<string> {
  if (body === null) return '';
  const bytes = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  const read = async () => {
    while (text.length < LONGEST_REFUSAL) {
      const { done, value } = await bytes.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  };
  // The refusal itself is the error; how much of its reason could be read is not.
  await notLaterThan(idleTimeout, read()).catch(() => {});
  await bytes.cancel().catch(() => {});
  return text;
}
