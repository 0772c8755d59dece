import type { IncomingMessage } from 'node:http';
import { post, runIdOf } from './client';

/** Open WebUI reads with aiohttp, which gives up on a longer line; the rest of the answer is lost then. */
const LONGEST_LINE = 128 * 1_024;

/** What it takes for the beginning of hidden reasoning, or of code to be run, within an answer. */
const REASONING_TAG =
  /<(?:think|thinking|reason|reasoning|thought|Thought|code_interpreter)[\s>]|<\|begin_of_|◁think▷/;

export interface Status {
  readonly description: string;
  readonly done: boolean;
}

/** What a person in front of Open WebUI has got. */
export interface Shown {
  /** What is kept as the answer and sent back with the next request. */
  readonly content: string;
  readonly reasoning: string;
  readonly statuses: readonly Status[];
  /** All usages together: it adds them up. */
  readonly usage: Readonly<Record<string, number>>;
  readonly error:
    | { readonly message: string; readonly type: string; readonly code: string }
    | undefined;
  readonly finish: readonly string[];
  /** In bytes, `data: ` included. */
  readonly longestLine: number;
}

interface Chunk {
  readonly event?: { readonly type: string; readonly data: Status };
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string;
      readonly reasoning_content?: string;
      readonly tool_calls?: unknown;
    };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: Readonly<Record<string, unknown>> | null;
  readonly error?: Shown['error'];
}

/**
 * Reads an answer as Open WebUI 0.10.2 does: by lines; comments and everything else without `data:` are skipped; an
 * `event` is shown; usages are added up; an `error` counts only beside no `choices`; the end is the end of the body, and
 * not `[DONE]`. Stricter only where it would lose something in silence: what it cannot read fails.
 *
 * @param onContent called with the content so far
 */
export async function readAsOpenWebUI(
  response: IncomingMessage,
  onContent: (content: string) => void = () => {},
): Promise<Shown> {
  let content = '';
  let reasoning = '';
  const statuses: Status[] = [];
  const usage: Record<string, number> = {};
  const finish: string[] = [];
  let error: Shown['error'];
  let longestLine = 0;
  for await (const bytes of linesOf(response)) {
    if (bytes.length > LONGEST_LINE) throw new Error(`A line of ${bytes.length} bytes.`);
    const line = bytes.toString('utf8');
    if (!line.startsWith('data:')) continue;
    longestLine = Math.max(longestLine, bytes.length);
    const data = line.slice('data:'.length).trim();
    if (data === '[DONE]') continue;
    const chunk = JSON.parse(data, whole) as Chunk;
    if (chunk.event) statuses.push(chunk.event.data);
    for (const [name, count] of Object.entries(chunk.usage ?? {})) {
      if (typeof count === 'number') usage[name] = (usage[name] ?? 0) + count;
    }
    const [choice] = chunk.choices ?? [];
    if (choice === undefined) {
      if (chunk.error) error = chunk.error;
      continue;
    }
    if (choice.delta?.tool_calls) throw new Error('It would look for a tool, and call us again.');
    if (choice.finish_reason) finish.push(choice.finish_reason);
    reasoning += choice.delta?.reasoning_content ?? '';
    content += choice.delta?.content ?? '';
    const [tag] = REASONING_TAG.exec(content.slice(-10_100)) ?? [];
    if (tag !== undefined) throw new Error(`Everything after ${tag} would be hidden.`);
    onContent(content);
  }
  return { content, reasoning, statuses, usage, error, finish, longestLine };
}

/** Python reads half a pair of surrogates, but cannot write it into its database. */
function whole(_key: string, value: unknown): unknown {
  if (typeof value === 'string' && /\p{Surrogate}/u.test(value)) {
    throw new Error(`Half a character in ${JSON.stringify(value.slice(0, 100))}`);
  }
  return value;
}

/** The lines of a body until its end. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of response) {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      yield Buffer.concat([...rest, chunk.subarray(from, end)]);
      rest = [];
      from = end + 1;
    }
    rest.push(chunk.subarray(from));
  }
  if (rest.some(({ length }) => length > 0)) yield Buffer.concat(rest);
}

export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface Answered extends Shown {
  readonly runId: string;
}

/** A chat in Open WebUI: it sends its whole history with every question and keeps the answer as it was shown. */
export class OpenWebUIChat {
  messages: ChatMessage[] = [];
  readonly #baseURL: string;
  readonly #headers: Record<string, string>;
  readonly #fields: object;

  constructor(
    baseURL: string,
    { headers = {}, fields = {} }: { headers?: Record<string, string>; fields?: object } = {},
  ) {
    this.#baseURL = baseURL;
    this.#headers = headers;
    this.#fields = fields;
  }

  /** The same chat in another window, which from now on goes its own way. */
  copy(): OpenWebUIChat {
    const copy = new OpenWebUIChat(this.#baseURL, {
      headers: this.#headers,
      fields: this.#fields,
    });
    copy.messages = [...this.messages];
    return copy;
  }

  /** Asks; settles at the headers of the answer, which is not part of the chat yet. */
  async ask(content: string): Promise<IncomingMessage> {
    this.messages.push({ role: 'user', content });
    return this.send();
  }

  /** Sends the messages as they are. */
  send(): Promise<IncomingMessage> {
    const body = { model: 'default', stream: true, ...this.#fields, messages: this.messages };
    return post(`${this.#baseURL}/chat/completions`, body, this.#headers);
  }

  /** Asks, reads the answer and keeps it. */
  async say(content: string): Promise<Answered> {
    return this.keep(await this.ask(content));
  }

  /** Reads an answer and keeps it. */
  async keep(response: IncomingMessage): Promise<Answered> {
    expect(response.statusCode).toBe(200);
    const shown = await readAsOpenWebUI(response);
    this.messages.push({ role: 'assistant', content: shown.content });
    return { ...shown, runId: runIdOf(response) };
  }

  /** Another text in the place of the question of that number, from 1; what came after it is gone. */
  async edit(question: number, content: string): Promise<Answered> {
    const questions = this.messages.flatMap(({ role }, at) => (role === 'user' ? [at] : []));
    this.messages = this.messages.slice(0, questions[question - 1]);
    return this.say(content);
  }

  /** The last question once more. */
  async regenerate(): Promise<Answered> {
    const last = this.messages.findLastIndex(({ role }) => role === 'user');
    this.messages = this.messages.slice(0, last + 1);
    return this.keep(await this.send());
  }
}
