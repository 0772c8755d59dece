// @ts-check
/** HTTP clients on bare sockets: they cost little, and can read slowly or not at all. */
import { connect } from 'node:net';
import { MARK, now } from './transcript.js';

const HEADERS_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = Buffer.from('\r\n0\r\n\r\n');

/** How long an answer may take, in ms. */
const PATIENCE = 120_000;

/** @typedef {{ method?: 'GET' | 'POST', path?: string, body?: object, patience?: number }} Request */

/** One request and its answer as it comes. */
export class Answer {
  sentAt = 0;
  /** @type {number | undefined} */
  headersAt;
  /** @type {number | undefined} */
  firstByteAt;
  /** @type {number | undefined} */
  firstDeltaAt;
  endedAt = 0;
  /** The status line and the headers, as text. */
  head = '';
  /** Bytes of the body, its framing included. */
  bytes = 0;
  /** Deltas that have come; see `MARK`. */
  deltas = 0;
  /** Settles with the answer when all of it has come; rejects when it was cut or took too long. @type {Promise<Answer>} */
  whole;
  /** Settles when the headers have come. @type {Promise<Answer>} */
  headers;
  #socket;
  /** What has come before the headers were complete. @type {Buffer} */
  #start = Buffer.alloc(0);
  /** The last bytes of the body. @type {Buffer} */
  #tail = Buffer.alloc(0);
  /** @type {(answer: Answer) => void} */
  #resolveHeaders = () => {};
  /** @type {{ deltas: number, resolve: (answer: Answer) => void } | undefined} */
  #awaited;

  /**
   * @param {number} port @param {Request} request
   * @param {(bytes: Buffer) => void} [onBytes] called with the bytes of the body, framing included
   */
  constructor(port, { method = 'POST', path = '/chat', body = {}, patience = PATIENCE }, onBytes) {
    const socket = connect(port, '127.0.0.1').setNoDelay();
    this.#socket = socket;
    const json = JSON.stringify(body);
    socket.once('connect', () => {
      this.sentAt = now();
      socket.write(
        `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
      );
    });
    this.whole = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.destroy(new Error(`No answer within ${patience} ms; ${this.bytes} bytes came.`));
      }, patience);
      socket.on('data', (bytes) => {
        this.#read(bytes, onBytes);
        if (!this.#tail.equals(LAST_CHUNK)) return;
        this.endedAt = now();
        resolve(this);
        // A server that keeps the connection in spite of `Connection: close` is left alone.
        socket.destroy();
      });
      socket.once('error', reject);
      socket.once('close', () => {
        clearTimeout(timer);
        reject(new Error(`The answer was cut after ${this.bytes} bytes: ${this.head}`));
      });
    });
    // Whoever only waits for the headers, or leaves, need not hear of it.
    this.whole.catch(() => undefined);
    this.headers = Promise.race([
      new Promise((resolve) => {
        this.#resolveHeaders = resolve;
      }),
      this.whole,
    ]);
    this.headers.catch(() => undefined);
  }

  /** Settles when so many deltas have come; for one caller at a time. @param {number} deltas @returns {Promise<Answer>} */
  reached(deltas) {
    if (this.deltas >= deltas) return Promise.resolve(this);
    const reached = new Promise((resolve) => {
      this.#awaited = { deltas, resolve };
    });
    const tooFew = this.whole.then(() => {
      throw new Error(`The answer ended after ${this.deltas} of ${deltas} deltas.`);
    });
    return Promise.race([reached, tooFew]);
  }

  /** Reads nothing until `resume`. */
  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  /** Leaves. */
  destroy() {
    this.#socket.destroy();
  }

  /** The value of a header. @param {string} name in lower case */
  header(name) {
    const line = this.head.split('\r\n').find((one) => one.toLowerCase().startsWith(`${name}: `));
    return line?.slice(name.length + 2);
  }

  /** @param {Buffer} bytes @param {((bytes: Buffer) => void) | undefined} onBytes */
  #read(bytes, onBytes) {
    let body = bytes;
    if (this.headersAt === undefined) {
      const start = Buffer.concat([this.#start, bytes]);
      const end = start.indexOf(HEADERS_END);
      if (end < 0) {
        this.#start = start;
        return;
      }
      this.headersAt = now();
      this.head = start.toString('latin1', 0, end);
      body = start.subarray(end + HEADERS_END.length);
      this.#resolveHeaders(this);
    }
    if (body.length === 0) return;
    this.firstByteAt ??= now();
    this.bytes += body.length;
    for (let at = body.indexOf(MARK); at >= 0; at = body.indexOf(MARK, at + 1)) this.deltas += 1;
    if (this.deltas > 0) this.firstDeltaAt ??= now();
    if (this.#awaited && this.deltas >= this.#awaited.deltas) this.#awaited.resolve(this);
    this.#tail =
      body.length >= LAST_CHUNK.length
        ? body.subarray(-LAST_CHUNK.length)
        : Buffer.concat([this.#tail, body]).subarray(-LAST_CHUNK.length);
    onBytes?.(body);
  }
}
