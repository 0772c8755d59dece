/**
 * What can go wrong for a client.
 *
 * - `http_error`: the server refused; `status` is the answer's, and `serverCode` one of the server's error codes.
 * - `not_a_stream`: the answer is no event stream: another server has answered, or a proxy.
 * - `malformed_event`: an event is no JSON: something on the way writes into the stream, or the format is another one.
 * - `stream_cut`: the connection ended before the last event, and the rest cannot be had.
 * - `run_unknown`: the run cannot be cancelled, since the server has not said which it is. To a page of another origin it
 *   has to expose the header `Claude-Run-Id`.
 */
export type ClientErrorCode =
  | 'http_error'
  | 'not_a_stream'
  | 'malformed_event'
  | 'stream_cut'
  | 'run_unknown';

/** An error of the connection. How a run ended is never one: it is an event. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: ClientErrorCode;
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;
  /** The `code` that the server has given, if it has. */
  readonly serverCode: string | undefined;

  constructor(
    code: ClientErrorCode,
    message: string,
    {
      status,
      serverCode,
      ...options
    }: ErrorOptions & { status?: number; serverCode?: string } = {},
  ) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.serverCode = serverCode;
  }
}
