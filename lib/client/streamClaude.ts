import { ClientError } from './clientError.js';
import type { ClientFormat, EventsByFormat } from './events.js';
import {
  beginningOf,
  connectionLost,
  IDLE_TIMEOUT,
  LONGEST_TIMER,
  readEvents,
  readerOf,
  refusalOf,
} from './readEvents.js';

/** What to ask, or with which run to go on instead. */
export type StreamOptions<Format extends ClientFormat> = ConnectionOptions<Format> &
  (
    | {
        /** The request's body, which is sent as JSON. */
        readonly body: unknown;
        readonly run?: undefined;
      }
    | {
        /** The id of a run, or of the event of it that was seen last. */
        readonly run: string;
        readonly body?: undefined;
      }
  );

interface ConnectionOptions<Format extends ClientFormat> {
  /** The format that the server speaks at this URL. Default `'claude'`. */
  readonly format?: Format | undefined;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Whether cookies are sent to another origin. Default: the `fetch` default. */
  readonly credentials?: 'omit' | 'same-origin' | 'include' | undefined;
  /** Stops the run, on the server too, and ends the loop with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Whether aborting `signal` cancels the run on the server. Default `true`. */
  readonly cancelOnAbort?: boolean | undefined;
  /**
   * How often in a row one comes back in vain: without a new event, and for less than 5 s. Default 10, which is about
   * three minutes; 0 never comes back.
   */
  readonly retries?: number | undefined;
  /**
   * Silence after which the connection counts as lost, in ms, be it before the answer begins; the server breaks it every
   * 15 s by default (`keepAlive`). Default 60 000; `false`: none is too long.
   */
  readonly idleTimeout?: number | false | undefined;
  /** Longest event, in characters. Default 2 ** 27. */
  readonly maxEventLength?: number | undefined;
  /** Told the run's id, once it is known: with it another page can go on. */
  readonly onRun?: ((runId: string) => void) | undefined;
  /** Told that the connection is lost, when it is tried again, in ms, and for what reason. */
  readonly onReconnect?: ((wait: number, reason: unknown) => void) | undefined;
  /**
   * Called once after `signal` was aborted, without anything when the run is being stopped, was over or was never begun,
   * or else with why it may go on. The loop is over by then: what it throws is for nobody to catch.
   */
  readonly onCancel?: ((error?: unknown) => void) | undefined;
  /** Called with everything that comes, keep-alive comments too. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Stands in the place of the global `fetch`. */
  readonly fetch?: typeof fetch | undefined;
}

/** Between two attempts, in ms; doubled with every further one in a row. */
const FIRST_WAIT = 1_000;
const SHORTEST_WAIT = 100;
const LONGEST_WAIT = 30_000;

/** A connection that has lasted so long was not in vain, in ms: a long tool sends nothing but comments. */
const LASTING = 5_000;

/** How long it is tried to tell the server that a run is to be cancelled, in ms; it may itself take 10 s to answer. */
const CANCEL_TIMEOUT = 30_000;

/**
 * Asks Claude, and yields the events of the run until its last, also across lost connections: it comes back with the id
 * of the last event, as an `EventSource` would, but for a request with a body. That needs the routes of `chat.replay` and
 * `chat.cancel` below `url`, `/chat/:run`, and a `store` on the server; without a store a cut is an error at once.
 *
 * The question itself is sent once: a server that cannot be reached, or refuses, is an error. To abort `signal` stops the
 * run, unless its last event has come; to leave the loop only closes the connection.
 *
 * @throws ClientError; TypeError for a format that there is not, a body that asks for an answer that is no stream, a `run`
 * that is none, or a number that is none
 * @throws the reason of `signal`, what a function of the options throws, or what `fetch` does when the question cannot be
 * sent
 */
export async function* streamClaude<Format extends ClientFormat = 'claude'>(
  url: string,
  options: StreamOptions<Format>,
): AsyncGenerator<EventsByFormat[Format], void, undefined> {
  const { signal, retries = 10, onReconnect } = options;
  // Before anything is asked.
  readerOf(options.format);
  checkNumbers(options);
  if (options.run == null) refuseUnstreamed(options);
  const follower = new RunFollower(url, options);
  const cancel = () => follower.cancel();
  if (signal?.aborted) cancel();
  signal?.throwIfAborted();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for (let inVain = 0; ; inVain++) {
      try {
        for await (const event of follower.events()) {
          yield event;
          // Others may have come together with this one.
          if (!follower.isOver) signal?.throwIfAborted();
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (follower.hasProgressed) inVain = 0;
        if (!follower.canComeBack(error) || inVain >= retries) throw error;
        // Not all the clients of a server that comes back at once.
        const wait =
          Math.min(follower.wait * 2 ** inVain, LONGEST_WAIT) * (0.75 + Math.random() / 2);
        onReconnect?.(wait, error);
        await delay(wait, signal);
      }
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** Follows one run, over one connection after the other. */
class RunFollower<Format extends ClientFormat> {
  wait = FIRST_WAIT;
  readonly #url: string;
  readonly #options: StreamOptions<Format>;
  readonly #onRun: (runId: string) => void;
  readonly #onBytes: (bytes: number) => void;
  #runId: string | undefined;
  #lastEventId: string | undefined;
  /** Whether the server keeps the run, once it has said so by its first event. */
  #isKept: boolean | undefined;
  /** Whether the question may have reached the server. */
  #isAsked = false;
  /** Whether its headers have come. */
  #isAnswered = false;
  /** Whether an event has come. */
  #hasBegun = false;
  /** What a function of the application has thrown: no connection was lost. */
  #failure: { readonly error: unknown } | undefined;
  /** Of the last connection. */
  hasProgressed = false;
  /** Whether the last event has come. */
  isOver = false;

  constructor(url: string, options: StreamOptions<Format>) {
    this.#url = url;
    this.#options = options;
    const { run, onRun, onBytes } = options;
    this.#onRun = this.#guarded(onRun);
    this.#onBytes = this.#guarded(onBytes);
    if (run == null) return;
    this.#isKept = true;
    const [, runId, number] = /^([\w-]+)(?::(\d+))?$/.exec(run) ?? [];
    // It becomes a part of a path, and may have come from the address of a page.
    if (runId === undefined) throw new TypeError(`"${run}" is no id of a run or an event.`);
    this.#runId = runId;
    if (number !== undefined) this.#lastEventId = run;
  }

  /** The events of one connection. */
  async *events(): AsyncGenerator<EventsByFormat[Format], void, undefined> {
    const { format, signal, idleTimeout = IDLE_TIMEOUT, maxEventLength } = this.#options;
    this.hasProgressed = false;
    const connection = new AbortController();
    const response = await this.#answer(connection, idleTimeout);
    this.#isAnswered = true;
    const openedAt = Date.now();
    let lastByteAt = openedAt;
    const abort = () => connection.abort(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      this.#learn(response.headers.get('claude-run-id'));
      if (response.status === 204) this.#refuseNothing();
      const onRetry = (ms: number) => {
        this.wait = Math.max(ms, SHORTEST_WAIT);
        this.#isKept = true;
      };
      const onLast = () => {
        this.isOver = true;
      };
      const onBytes = (count: number) => {
        lastByteAt = Date.now();
        this.#onBytes(count);
      };
      const told = { onBytes, onRetry, onLast };
      const options = { format, idleTimeout, maxEventLength, ...told };
      for await (const event of readEvents<Format>(response, options)) {
        this.#hasBegun = true;
        this.#isKept ??= false;
        // An event without an id of its own bears that of the one before.
        if (event.id !== undefined && event.id !== this.#lastEventId) {
          this.#lastEventId = event.id;
          this.hasProgressed = true;
          this.#learn(event.id.slice(0, event.id.lastIndexOf(':')));
        }
        yield event;
      }
    } finally {
      this.hasProgressed ||= lastByteAt - openedAt >= LASTING;
      signal?.removeEventListener('abort', abort);
      connection.abort();
    }
  }

  canComeBack(error: unknown): boolean {
    if (this.#runId === undefined || !this.#isKept || this.#failure?.error === error) return false;
    if (!(error instanceof ClientError)) return true;
    const { code, status, serverCode } = error;
    if (status === NOTHING) return false;
    // Who has answered then is no claudeStream, but stands before it: a proxy while instances change, a captive portal.
    const isForeign = code === 'not_a_stream' || (status === 404 && serverCode === undefined);
    return code === 'stream_cut' || isForeign || isPassing(error);
  }

  cancel(): void {
    const { cancelOnAbort, onCancel } = this.#options;
    if (cancelOnAbort === false) return;
    const isBegun = this.#isAsked || this.#runId !== undefined;
    if (this.isOver || !isBegun) onCancel?.();
    // Before its headers there is somebody who waits for them.
    else if (this.#runId !== undefined) this.#tell(this.#cancelRun(this.#runUrl(this.#runId)));
    else if (this.#isAnswered) onCancel?.(runUnknown());
  }

  /** Nobody waits for it: the loop ends at once. */
  #tell(cancelled: Promise<void>): void {
    const { onCancel } = this.#options;
    cancelled.then(
      () => onCancel?.(),
      (error) => onCancel?.(error),
    );
  }

  /** The line may be down when one aborts: so it is tried again. */
  async #cancelRun(url: string): Promise<void> {
    const late = AbortSignal.timeout(CANCEL_TIMEOUT);
    for (let wait = FIRST_WAIT; ; wait *= 2) {
      try {
        // A page that is being closed must not take the request with it.
        const init = { method: 'DELETE', keepalive: true, signal: late };
        const response = await this.#fetch(url, init);
        if (!response.ok) throw await refusalOf(response, CANCEL_TIMEOUT);
        // To the end: a browser would log one that was left as failed.
        await beginningOf(response.body, CANCEL_TIMEOUT);
        const { status, headers } = response;
        if (!/^text\/html/i.test(headers.get('content-type') ?? '')) return;
        throw new ClientError('not_a_stream', 'Who has answered is no claudeStream.', { status });
      } catch (error) {
        if (this.#isGone(error)) return;
        const isForeign = error instanceof ClientError && error.code === 'not_a_stream';
        if (late.aborted || !(isForeign || isPassing(error))) throw error;
        await delay(wait, late).catch(() => {
          throw error;
        });
      }
    }
  }

  /** Whether a run that cannot be cancelled is over; one that is not kept ends with its connection. */
  #isGone(error: unknown): boolean {
    if (!(error instanceof ClientError)) return false;
    const { status, serverCode } = error;
    if (serverCode === 'run_not_found' || serverCode === 'run_expired') return true;
    return status === 404 && this.#isKept === false;
  }

  /** @throws the reason of `signal`; ClientError `stream_cut` when its headers have not come in time */
  async #answer(connection: AbortController, idleTimeout: number | false): Promise<Response> {
    const { signal } = this.#options;
    const answer = this.#request(connection.signal);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: (() => void) | undefined;
    const given = new Promise<never>((_resolve, reject) => {
      abort = () => reject(signal?.reason);
      signal?.addEventListener('abort', abort, { once: true });
      if (idleTimeout === false) return;
      const silent = () => reject(connectionLost(idleTimeout));
      timer = setTimeout(silent, Math.min(idleTimeout, LONGEST_TIMER));
    });
    try {
      return await Promise.race([answer, given]);
    } catch (error) {
      if (signal?.aborted) this.#abandon(answer, connection);
      else connection.abort(error);
      throw error;
    } finally {
      clearTimeout(timer);
      if (abort) signal?.removeEventListener('abort', abort);
    }
  }

  /** A question that has been sent cannot be called back: whoever aborts it waits, unseen, for the id by which to cancel. */
  #abandon(answer: Promise<Response>, connection: AbortController): void {
    const isAsking = this.#runId === undefined && this.#options.cancelOnAbort !== false;
    if (!isAsking) {
      answer.catch(() => {});
      connection.abort();
      return;
    }
    const late = () => connection.abort(connectionLost(CANCEL_TIMEOUT));
    const timer = setTimeout(late, CANCEL_TIMEOUT);
    const cancelled = answer
      .finally(() => clearTimeout(timer))
      .then(({ ok, headers }) => {
        connection.abort();
        const runId = runIdOf(headers.get('claude-run-id'));
        // Whoever refuses has begun nothing.
        if (!ok && runId === undefined) return;
        if (runId === undefined) throw runUnknown();
        return this.#cancelRun(this.#runUrl(runId));
      });
    this.#tell(cancelled);
  }

  /** @throws ClientError unless there may be nothing: the run that was asked for was over */
  #refuseNothing(): void {
    if (this.#options.run !== undefined && !this.#hasBegun) return;
    const code = this.#hasBegun ? 'stream_cut' : 'not_a_stream';
    throw new ClientError(code, 'The server has nothing more of this run, not even its end.', {
      status: NOTHING,
    });
  }

  #guarded<Value>(tell: ((value: Value) => void) | undefined): (value: Value) => void {
    return (value) => {
      try {
        tell?.(value);
      } catch (error) {
        this.#failure = { error };
        throw error;
      }
    };
  }

  #learn(runId: string | null): void {
    const known = runIdOf(runId);
    if (known === undefined || this.#runId === known) return;
    this.#runId = known;
    this.#onRun(known);
  }

  #request(signal: AbortSignal): Promise<Response> {
    if (this.#runId !== undefined) {
      const headers: Record<string, string> =
        this.#lastEventId === undefined ? {} : { 'last-event-id': this.#lastEventId };
      return this.#fetch(this.#runUrl(this.#runId), { headers, signal });
    }
    this.#isAsked = true;
    return this.#fetch(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(this.#options.body),
      signal,
    });
  }

  async #fetch(
    url: string,
    init: RequestInit & { headers?: Record<string, string> },
  ): Promise<Response> {
    const { fetch = globalThis.fetch, headers: own, credentials } = this.#options;
    const headers = new Headers({ accept: 'text/event-stream', ...init.headers });
    for (const [name, value] of Object.entries(own ?? {})) headers.set(name, value);
    return fetch(url, { ...init, headers, ...(credentials && { credentials }) });
  }

  /** The query stays at the end: it may hold what the server knows its user by. */
  #runUrl(runId: string): string {
    const [, path = '', query = ''] = /^([^?]*)(.*)$/s.exec(this.#url) ?? [];
    return `${path.replace(/\/$/, '')}/${runId}${query}`;
  }
}

/** It becomes a part of a path. `undefined` for what is none. */
function runIdOf(text: string | null): string | undefined {
  return text !== null && /^[\w-]+$/.test(text) ? text : undefined;
}

function runUnknown(): ClientError {
  return new ClientError(
    'run_unknown',
    'The server has not said which run it is: is its header Claude-Run-Id exposed to this origin?',
  );
}

/** The status of an answer without events. */
const NOTHING = 204;

/** Request Timeout, Too Early, Too Many Requests. */
const PASSING = [408, 425, 429];

/** Whether the same may go well a little later. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ClientError)) return true;
  const { code, status = 0 } = error;
  return code === 'http_error' && (status >= 500 || PASSING.includes(status));
}

/** @throws TypeError for what a comparison would take for nothing */
function checkNumbers(options: ConnectionOptions<ClientFormat>): void {
  for (const name of ['retries', 'idleTimeout', 'maxEventLength'] as const) {
    const { [name]: value } = options;
    if (value === undefined || (name === 'idleTimeout' && value === false)) continue;
    if (typeof value === 'number' && value >= 0) continue;
    throw new TypeError(`${name} must be a number that is not negative, not ${value}.`);
  }
}

/**
 * An answer that is no stream is paid for before it is known that nobody can read it.
 *
 * @throws TypeError
 */
function refuseUnstreamed({ format, body }: StreamOptions<ClientFormat>): void {
  const { stream } = (body ?? {}) as { stream?: unknown };
  const isStreamedUnasked = format !== 'openai' && format !== 'anthropic';
  if (stream === true || (stream == null && isStreamedUnasked)) return;
  throw new TypeError('The body has to say "stream": true.');
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
