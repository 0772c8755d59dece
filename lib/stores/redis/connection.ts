import { StoreError } from '../store.js';

/**
 * Sends one command and settles with its reply. With node-redis `(...command) => client.sendCommand(command)`, with
 * ioredis `(command, ...args) => client.call(command, ...args)`.
 */
export type SendCommand = (command: string, ...args: string[]) => Promise<unknown>;

/** The application's connection, on which no command waits for ever: a client may queue it until Redis is back. */
export class Connection {
  readonly #send: SendCommand;
  readonly #timeout: number;

  constructor(send: SendCommand, timeout: number) {
    this.#send = send;
    this.#timeout = timeout;
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
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        reject(new StoreError(`Redis did not answer ${command} within ${ms} ms.`));
      }, ms).unref();
    });
    try {
      return await Promise.race([this.#send(command, ...args), late]);
    } catch (cause) {
      if (cause instanceof StoreError) throw cause;
      throw new StoreError(`Redis failed at ${command}: ${cause}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}
