// @ts-check
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Servers } from './servers.js';
import { writeTranscript } from './transcript.js';

/** The fake CLI, under the name by which it is found on a PATH. */
const fakeCli = fileURLToPath(new URL('./fakeCli/claude', import.meta.url));

/** What every measure works with: servers, what the fake CLI is to say, and whether there is time. */
export class Workbench {
  servers = new Servers();
  /** What the reader of the figures has to know. @type {string[]} */
  notes = [];
  quick;
  /** Whether the peers are there to be measured. */
  peers = false;
  #directory;
  #files = 0;

  /** @param {string} directory for temporary files @param {{ quick: boolean }} options */
  constructor(directory, { quick }) {
    this.#directory = directory;
    this.quick = quick;
  }

  /**
   * Writes what the fake CLI is to say.
   * @param {Parameters<typeof writeTranscript>[1]} content
   * @param {'lines' | 'blocks'} [writes] what it writes at once
   * @returns {Record<string, string>} the environment that makes it say so
   */
  transcript(content, writes = 'lines') {
    const path = this.file(`${JSON.stringify(content).replace(/\W+/g, '-')}.jsonl`);
    if (!existsSync(path)) writeTranscript(path, content);
    return { BENCH_TRANSCRIPT: path, BENCH_WRITES: writes };
  }

  /** A fifo that holds the fake CLI up until a line is written into it. */
  gate() {
    const path = this.file(`gate-${this.#files++}`);
    execFileSync('mkfifo', [path]);
    return path;
  }

  /** The path of a temporary file. @param {string} name */
  file(name) {
    return join(this.#directory, name);
  }

  /**
   * Starts a server for each contender. One whose options this version does not know is left out with a note, and so is
   * a peer that does not start.
   * @param {import('./contenders.js').Contender[]} contenders
   * @param {{ command?: string, env?: Record<string, string>, options?: object }} setting
   */
  async startAll(contenders, { command = fakeCli, env = {}, options = {} }) {
    const started = [];
    for (const contender of contenders) {
      try {
        const server = await this.servers.start(contender, { command, env, options });
        started.push({ contender, server });
      } catch (error) {
        const { code, message } = /** @type {Error & { code?: string }} */ (error);
        if (code !== 'invalid_option' && !contender.isPeer) throw error;
        this.note(`${contender.name} is left out: ${message}`);
      }
    }
    return started;
  }

  /** @param {string} text */
  note(text) {
    if (!this.notes.includes(text)) this.notes.push(text);
  }
}
