import { StoreError } from '../store.js';

/**
 * Sends one command and settles with its reply. With node-redis `(...command) => client.sendCommand(command)`, with
 * ioredis `(command, ...args) => client.call(command, ...args)`.
 */
export type SendCommand = (command: string, ...args: string[]) => Promise<unknown>;

/** How often one more is sent to a client that holds too many, in ms. */
const PROBE_INTERVAL = 60_000;

/** The application's connection, on which no command waits for ever: a client may queue it until Redis is back. */
export class Connection {
  readonly #send: SendCommand;
  readonly #timeout: number;
  readonly #mostOverdue: number;
  /** How many commands nobody waits for any more, which the client may still hold and send. */
  #overdue = 0;
  #lastSent = 0;

  /** @param mostOverdue commands that the client may hold; each costs memory, and time once Redis is back */
  constructor(send: SendCommand, timeout: number, mostOverdue: number) {
    this.#send = send;
    this.#timeout = timeout;
    this.#mostOverdue = mostOverdue;
  }

  /** @throws StoreError, with what the client has thrown as its cause */
  send(command: string, ...args: string[]): Promise<unknown> {
    return this.#sendWithin(this.#timeout, command, args);
  }

  /**
   * A command that waits in Redis.
   *
   * @param ms how long
   */
  sendBlocking(ms: number, command: string, ...args: string[]): Promise<unknown> {
    return this.#sendWithin(ms + this.#timeout, command, args);
  }

  async #sendWithin(ms: number, command: string, args: string[]): Promise<unknown> {
    const now = performance.now();
    // A client that has lost a command for good must not be given up for it.
    if (this.#overdue >= this.#mostOverdue && now - this.#lastSent < PROBE_INTERVAL) {
      throw new StoreError(`Redis has not answered ${this.#overdue} commands yet.`);
    }
    this.#lastSent = now;
    let timer: NodeJS.Timeout | undefined;
    let isOverdue = false;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        isOverdue = true;
        this.#overdue += 1;
        reject(new StoreError(`Redis did not answer ${command} within ${ms} ms.`));
      }, ms).unref();
    });
    try {
      const sent = this.#send(command, ...args).finally(() => {
        if (isOverdue) this.#overdue -= 1;
      });
      return await Promise.race([sent, late]);
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      throw new StoreError(`Redis failed at ${command}: ${cause}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}
