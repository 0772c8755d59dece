import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import createDebug from 'debug';
import { encodePosition, KEEP_ALIVE_COMMENT, type Position } from './frames.js';
import { GuardedWriter } from './guard.js';
import { KeepAlive } from './keepAlive.js';

const debug = createDebug('claude-stream:sse');

/**
 * What an event stream needs from every hop: nginx and its kind must not hold bytes back (`X-Accel-Buffering`), and
 * `compression` must leave the stream alone (`no-transform`). HTTP/1.1 framing stays with Node: no Content-Length,
 * no Connection header, which HTTP/2 forbids.
 */
const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
};

export interface EventStreamOptions {
  /** ms after the last byte, or `false` for none. */
  readonly keepAlive: number | false;
  /** ms without `drain`, or `false` to wait for ever. */
  readonly stallTimeout: number | false;
  /** Headers beside those that every event stream has. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** For clients that have something to come back to: where they are. */
  readonly position?: Position | undefined;
}

/**
 * Sends the headers and a first comment at once, then the frames of `source` as the client takes them, and ends the
 * response right after the last. When the response closes first, `source` is destroyed.
 *
 * @param source frames as bytes; each chunk ends between two frames
 * @param onStall called when the client has read nothing for `stallTimeout`, just before it is cut off
 */
export function sendEventStream(
  response: ServerResponse,
  source: Readable,
  options: EventStreamOptions,
  onStall: () => void,
): void {
  if (response.destroyed) {
    // Its 'close' may be past, and nothing else would let go of the source.
    source.destroy();
    return;
  }
  response.writeHead(200, { ...options.headers, ...HEADERS });
  response.flushHeaders();

  const writer = new GuardedWriter(response, options.stallTimeout, {
    onDrain: () => source.resume(),
    onStall: () => {
      debug('client read nothing for %d ms', options.stallTimeout);
      onStall();
      response.destroy();
    },
  });
  const { position } = options;
  const start = KEEP_ALIVE_COMMENT + (position === undefined ? '' : encodePosition(position));
  writer.write(Buffer.from(start));
  const keepAlive =
    options.keepAlive === false ? undefined : new KeepAlive(writer, options.keepAlive);

  response.once('close', () => {
    keepAlive?.stop();
    writer.release();
    source.destroy();
  });
  response.on('error', (error) => debug('response: %o', error));
  source.on('error', (error) => {
    debug('source: %o', error);
    response.destroy();
  });
  source.on('data', (bytes: Buffer) => {
    writer.write(bytes);
    if (writer.blocked) source.pause();
  });
  source.once('end', () => {
    keepAlive?.stop();
    writer.end();
  });
}
