// @ts-check
/** The processes of the servers under test. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./server.js', import.meta.url));

/** How long a server may take to start or to answer, in ms. It may be busy with what is measured. */
const PATIENCE = 60_000;

/** How long a server may take to exit, in ms. */
const LAST_WORDS = 2_000;

/** Every server that was started and not stopped. */
export class Servers {
  /** @type {Set<ServerProcess>} */
  #servers = new Set();

  /**
   * Settles when the server listens.
   * @param {import('./contenders.js').Contender} contender
   * @param {{ command: string, env: Record<string, string>, options?: object }} setting
   */
  async start({ module, options }, setting) {
    const server = new ServerProcess(module, {
      ...setting,
      options: { ...options, ...setting.options },
    });
    this.#servers.add(server);
    void server.exited.then(() => this.#servers.delete(server));
    await server.listening();
    return server;
  }

  async stopAll() {
    await Promise.all([...this.#servers].map((server) => server.stop()));
  }
}

/** A server under test, which answers questions about itself. */
export class ServerProcess {
  port = 0;
  /** Settles when the process is gone. Never rejects. @type {Promise<void>} */
  exited;
  /** @type {import('node:child_process').ChildProcess} */
  #child;
  #questions = 0;
  /** @type {Map<number | 'port', { resolve: (answer: any) => void, reject: (error: Error) => void }>} */
  #waiting = new Map();
  /** @type {Error | undefined} */
  #failure;

  /** @param {string} module @param {import('./server.js').Setting} setting */
  constructor(module, setting) {
    this.#child = fork(script, [module, JSON.stringify(setting)], {
      execArgv: ['--expose-gc'],
      env: { ...process.env, ...setting.env },
      // Peers are talkative; failures come over IPC.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#fail(new Error(`The server "${module}" has ended (${signal ?? `code ${code}`}).`));
        resolve();
      });
    });
    this.#child.on('error', (error) => this.#fail(error));
    this.#child.on('message', (message) => this.#read(/** @type {any} */ (message)));
  }

  get pid() {
    return this.#child.pid;
  }

  async listening() {
    this.port = await this.#answer('port');
  }

  /** @returns {Promise<import('./server.js').Usage>} */
  usage() {
    return this.#ask('usage');
  }

  /** Collects garbage, so that no round pays for the one before it. */
  collect() {
    return this.#ask('collect');
  }

  watchPauses() {
    return this.#ask('watchPauses');
  }

  /** Ends the process, which takes the CLIs that it has started with it. */
  async stop() {
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LAST_WORDS);
    await this.exited;
    clearTimeout(timer);
  }

  /** @param {string} ask */
  async #ask(ask) {
    const id = this.#questions++;
    const answer = this.#answer(id);
    if (this.#child.connected) this.#child.send({ id, ask });
    return answer;
  }

  /** @param {number | 'port'} id @returns {Promise<any>} */
  #answer(id) {
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      const timer = setTimeout(
        () => reject(new Error(`The server ${this.pid} has not answered for ${PATIENCE} ms.`)),
        PATIENCE,
      );
      const settled = () => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      this.#waiting.set(id, {
        resolve: (answer) => {
          settled();
          resolve(answer);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
    });
  }

  /** @param {{ port?: number, id?: number, answer?: unknown, failure?: { message: string, code?: string } }} message */
  #read({ port, id, answer, failure }) {
    if (failure) this.#fail(Object.assign(new Error(failure.message), { code: failure.code }));
    else if (port !== undefined) this.#waiting.get('port')?.resolve(port);
    else if (id !== undefined) this.#waiting.get(id)?.resolve(answer);
  }

  /** @param {Error} error */
  #fail(error) {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
  }
}
