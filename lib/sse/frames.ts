/**
 * The text of an event stream: WHATWG HTML, section 9.2 "Server-sent events".
 *
 * A frame is one event as text. It ends with the blank line that dispatches it, so whatever is written between two
 * frames stands between two events.
 */

/** A comment: it resets the idle clocks of proxies and clients and is ignored by every reader. */
export const KEEP_ALIVE_COMMENT = ': keep-alive\n\n';

/** Where a client is, and when to come back if the line is cut. */
export interface Position {
  /** The id of the event that it has had last, or one that stands for none. */
  readonly id: string;
  /** The reconnection time in ms: browsers wait 3 to 5 s on their own. */
  readonly retry: number;
}

/**
 * Tells a client its position. Without data no event is dispatched, but an EventSource that is cut off before the first
 * one sends this id.
 */
export function encodePosition({ id, retry }: Position): string {
  return `retry: ${retry}\nid: ${id}\n\n`;
}

/**
 * One event as text.
 *
 * @param id the event id, which a reconnecting client sends back as `Last-Event-ID`; checked by `FrameLog`, once;
 * without one the client stays where it was
 * @param data one line
 * @param event the event's name; without one a browser dispatches it as `message`
 * @throws TypeError when a part holds CR or LF: it would inject fields or whole events
 */
export function encodeFrame(id: string | undefined, data: string, event?: string): string {
  if (breaksLine(data)) throw new TypeError('The data of an event must be one line.');
  const named = id === undefined ? `data: ${data}\n\n` : `id: ${id}\ndata: ${data}\n\n`;
  if (event === undefined) return named;
  if (breaksLine(event)) throw new TypeError('The name of an event must be one line.');
  return `event: ${event}\n${named}`;
}

/**
 * Escapes the line separators that JSON leaves as they are: U+2028, U+2029 and U+0085 end a line for some readers
 * (Python's `splitlines` among them) in the middle of an event. The search costs a `memchr` when there are none.
 */
export function escapeLineSeparators(json: string): string {
  if (!json.includes('\u2028') && !json.includes('\u2029') && !json.includes('\u0085')) return json;
  return json.replace(
    /[\u2028\u2029\u0085]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function breaksLine(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}
