import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const cache = join(__dirname, '../../node_modules/.cache/claude-stream');

/** The Nodes that clients run on; the tests' own is the oldest. */
export const nodes = {
  '20': process.execPath,
  '22': join(cache, 'node-22/node_modules/.bin/node'),
  '24': join(cache, 'node-24/node_modules/.bin/node'),
};

export type NodeVersion = keyof typeof nodes;

/** Where a script lies decides which packages it imports: here those of this project, in the cache the newest. */
export const folders = {
  ours: join(__dirname, 'clients'),
  newest: join(cache, 'clients'),
  ai5: join(cache, 'ai-5'),
  ai6: join(cache, 'ai-6'),
};

/** What a client has thrown. */
export interface Thrown {
  readonly class: string;
  readonly message: string;
  readonly status?: number;
  readonly code?: string;
  readonly type?: string;
  readonly param?: string;
}

export interface Call<Result> {
  /** Rejects with what the client has thrown, a `Thrown`. */
  readonly result: Promise<Result>;
  /** Settles when the client has got the first of its answer. */
  readonly begun: Promise<void>;
  /** Aborts it as a program that uses the client would. */
  abort(): void;
}

/** A client library in a process of its own. */
export class ClientHost {
  readonly #process: ChildProcess;
  readonly #calls = new Map<number, (message: Message) => void>();

  private constructor(child: ChildProcess) {
    this.#process = child;
    child.on('message', (message: Message) => this.#calls.get(message.id)?.(message));
  }

  static async start(script: string, folder: string, node: NodeVersion): Promise<ClientHost> {
    const child = fork(join(folder, script), {
      execPath: nodes[node],
      execArgv: [],
      // Jest's own settings are nobody else's, and a proxy would lead away from the loopback.
      env: { PATH: process.env.PATH, HOME: process.env.HOME, AI_SDK_LOG_WARNINGS: 'false' },
    });
    const [{ ready }] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`${script} exits with ${code} before it is ready.`);
      }),
    ]);
    if (!String(ready).startsWith(`v${node}.`)) throw new Error(`It runs on Node ${ready}.`);
    return new ClientHost(child);
  }

  call<Result>(operation: string, args: object = {}): Call<Result> {
    const id = this.#calls.size;
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const result = new Promise<Result>((resolve, reject) => {
      this.#calls.set(id, (message) => {
        if ('news' in message) begin();
        else if ('thrown' in message) reject(message.thrown);
        else resolve(message.result as Result);
      });
    });
    this.#process.send({ id, operation, args });
    return { result, begun, abort: () => this.#process.send({ id, abort: true }) };
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }
}

type Message = { readonly id: number } & (
  | { readonly news: unknown }
  | { readonly thrown: Thrown }
  | { readonly result: unknown }
);
