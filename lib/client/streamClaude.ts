import { ClientError } from './clientError.js';
import type { ClientFormat, EventsByFormat } from './events.js';
import { connectionLost, IDLE_TIMEOUT, readEvents } from './readEvents.js';

export interface StreamOptions<Format extends ClientFormat> {
  /** The format that the server speaks at this URL. Default `'claude'`. */
  readonly format?: Format | undefined;
  /** The request's body, which is sent as JSON; not with `run`. */
  readonly body?: unknown;
  /** The run to go on with, by its id or by the id of the event that was seen last, instead of asking for a new one. */
  readonly run?: string | undefined;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Whether cookies are sent to another origin. Default: the `fetch` default. */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined;
  /** Stops the run, on the server too, and ends the loop with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Whether aborting `signal` cancels the run on the server. Default `true`. */
  readonly cancelOnAbort?: boolean | undefined;
  /** How often in a row one comes back in vain. Default 10, which is about three minutes; 0 never comes back. */
  readonly retries?: number | undefined;
  /**
   * Silence after which the connection counts as lost, in ms, be it before the answer begins; the server breaks it every
   * 15 s by default (`keepAlive`). Default 60 000; `false`: none is too long.
   */
  readonly idleTimeout?: number | false | undefined;
  /** Told the run's id, once it is known: with it another page can go on. */
  readonly onRun?: ((runId: string) => void) | undefined;
  /** Told that the line is cut, when it is tried again, in ms, and for what reason. */
  readonly onReconnect?: ((wait: number, reason: unknown) => void) | undefined;
  /** Called with everything that comes, keep-alive comments too. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Stands in the place of the global `fetch`. */
  readonly fetch?: typeof fetch | undefined;
}

/** Between two attempts, in ms; doubled with every further one in a row. */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/** How long the server may take to hear that a run is to be cancelled, in ms. */
const CANCEL_TIMEOUT = 10_000;

/**
 * Asks Claude, and yields the events of the run until its last, also across lost connections: it comes back with the id
 * of the last event, as an `EventSource` would, but for a request with a body. That needs the routes of `chat.replay` and
 * `chat.cancel` below `url`, `/chat/:run`, and a `store` on the server; without a store a cut is an error at once.
 *
 * The question itself is sent once: a server that cannot be reached, or refuses, is an error. To abort `signal` stops the
 * run; to leave the loop only closes the connection.
 *
 * @throws ClientError
 * @throws the reason of `signal`, or what `fetch` throws when the question cannot be sent
 */
export async function* streamClaude<Format extends ClientFormat = 'claude'>(
  url: string,
  options: StreamOptions<Format> = {},
): AsyncGenerator<EventsByFormat[Format], void, undefined> {
  const { signal, retries = 10, onReconnect } = options;
  const line = new Line(url, options);
  const cancel = () => line.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for (let inVain = 0; ; inVain++) {
      try {
        for await (const event of line.events()) {
          inVain = 0;
          yield event;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (!line.canComeBack(error) || inVain >= retries) throw error;
        // Not all the clients of a server that comes back at once.
        const wait = Math.min(line.wait * 2 ** inVain, LONGEST_WAIT) * (0.75 + Math.random() / 2);
        onReconnect?.(wait, error);
        await delay(wait, signal);
      }
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** The connections to one run, one after the other. */
class Line<Format extends ClientFormat> {
  wait = FIRST_WAIT;
  readonly #url: string;
  readonly #options: StreamOptions<Format>;
  #runId: string | undefined;
  #lastEventId: string | undefined;
  /** Whether the server keeps the run. */
  #isKept: boolean;

  constructor(url: string, options: StreamOptions<Format>) {
    this.#url = url;
    this.#options = options;
    const { run } = options;
    this.#isKept = run !== undefined;
    if (run === undefined) return;
    const [, runId, number] = /^(.+):(\d+)$/.exec(run) ?? [];
    this.#runId = runId ?? run;
    if (number !== undefined) this.#lastEventId = run;
  }

  async *events(): AsyncGenerator<EventsByFormat[Format], void, undefined> {
    const { format, onBytes, signal, idleTimeout = IDLE_TIMEOUT } = this.#options;
    signal?.throwIfAborted();
    const connection = new AbortController();
    const abort = () => connection.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await this.#answer(connection, idleTimeout);
      this.#learn(response.headers.get('claude-run-id'));
      const onRetry = (ms: number) => {
        this.wait = ms;
        this.#isKept = true;
      };
      const options = { format, onBytes, onRetry, idleTimeout };
      for await (const event of readEvents<Format>(response, options)) {
        if (event.id !== undefined) {
          this.#lastEventId = event.id;
          this.#learn(event.id.slice(0, event.id.lastIndexOf(':')));
        }
        yield event;
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      connection.abort();
    }
  }

  /** @throws ClientError `stream_cut` when its headers have not come in time */
  async #answer(connection: AbortController, idleTimeout: number | false): Promise<Response> {
    if (idleTimeout === false) return this.#request(connection.signal);
    const timer = setTimeout(() => connection.abort(connectionLost(idleTimeout)), idleTimeout);
    try {
      return await this.#request(connection.signal);
    } finally {
      clearTimeout(timer);
    }
  }

  canComeBack(error: unknown): boolean {
    if (this.#runId === undefined || !this.#isKept) return false;
    if (!(error instanceof ClientError)) return true;
    const { code, status = 0 } = error;
    return code === 'stream_cut' || (code === 'http_error' && (status >= 500 || status === 429));
  }

  cancel(): void {
    if (this.#runId === undefined || this.#options.cancelOnAbort === false) return;
    // Nobody waits for the answer, and a page that is being closed must not take the request with it.
    this.#fetch(this.#runUrl(this.#runId), {
      method: 'DELETE',
      keepalive: true,
      signal: AbortSignal.timeout(CANCEL_TIMEOUT),
    }).catch(() => {});
  }

  #learn(runId: string | null): void {
    if (runId === null || runId === '' || this.#runId === runId) return;
    this.#runId = runId;
    this.#options.onRun?.(runId);
  }

  #request(signal: AbortSignal): Promise<Response> {
    const { body } = this.#options;
    if (this.#runId !== undefined) {
      const headers: Record<string, string> =
        this.#lastEventId === undefined ? {} : { 'last-event-id': this.#lastEventId };
      return this.#fetch(this.#runUrl(this.#runId), { headers, signal });
    }
    return this.#fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
  }

  #fetch(url: string, init: RequestInit & { headers?: Record<string, string> }): Promise<Response> {
    const { fetch = globalThis.fetch, headers, credentials } = this.#options;
    return fetch(url, {
      ...init,
      headers: { accept: 'text/event-stream', ...headers, ...init.headers },
      ...(credentials && { credentials }),
    });
  }

  /** The query stays at the end: it may hold what the server knows its user by. */
  #runUrl(runId: string): string {
    const [path = '', query] = this.#url.split('?', 2);
    const ending = query === undefined ? '' : `?${query}`;
    return `${path.replace(/\/$/, '')}/${encodeURIComponent(runId)}${ending}`;
  }
}

/** @throws the reason of `signal` */
function delay(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
  });
}
