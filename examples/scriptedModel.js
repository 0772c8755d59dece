// @ts-check
/**
 * A scripted Anthropic Messages API on the loopback: it lets the real `claude` CLI run without an
 * account, at no cost, and answer the same way every time. A keyword in the prompt chooses what
 * the "model" does; `scenarios` below is the whole list.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Text in the pieces in which it is sent: a string is one delta, a number is a silence in ms.
 * @typedef {{ type: 'text' | 'thinking', pieces: Iterable<string | number> }} Prose
 * @typedef {{ type: 'tool_use', name: string, input: Record<string, unknown> }} ToolUse
 * @typedef {Prose | ToolUse} Block
 *
 * `dies` destroys the socket after the last piece, in mid-message.
 * @typedef {{ blocks: Block[], stop?: string, dies?: boolean }} Message
 * @typedef {{ error: { status: number, type: string, message: string } }} Failure
 *
 * What a scenario may look at. `results` are the tool results that came after the prompt,
 * `notified` says that the CLI has reported a finished background agent since, `failures` counts
 * the answers to this prompt that have failed so far, and `tools` are the ones on offer.
 * @typedef {object} Turn
 * @property {string} prompt
 * @property {string[]} results
 * @property {boolean} notified
 * @property {number} failures
 * @property {string} cwd
 * @property {any[]} tools
 *
 * @typedef {{ keyword: RegExp, play: (turn: Turn, match: RegExpMatchArray) => Message | Failure }} Scenario
 */

const wordPause = 40;
const toolInputPieceLength = 16;
const longPieceLength = 1000;
const rememberedRequests = 1000;

/** @type {Scenario[]} */
const scenarios = [
  { keyword: /\bthink\b/, play: playThinking },
  { keyword: /\btool\b/, play: playNotes },
  { keyword: /\bread: *(\S+)/, play: playRead },
  { keyword: /\bbash\b(?:: *(.+))?/, play: playBash },
  { keyword: /\bbackground: *(.+)/, play: playBackground },
  { keyword: /\bslow\b(?: (\d+(?:\.\d+)?))?/, play: playSlow },
  { keyword: /\btick (\d+) (\d+)/, play: playTicks },
  { keyword: /\blong (\d+)/, play: playLong },
  { keyword: /\bhuge (\d+)/, play: playHuge },
  { keyword: /\bstructured\b(?:: *(\{.*\}))?/, play: playStructured },
  { keyword: /\bunstructured\b/, play: () => ({ blocks: [text('I use no tool for it.')] }) },
  { keyword: /\bfail\b/, play: playFailure },
  { keyword: /\boverloaded\b/, play: playOverloaded },
  { keyword: /\bmidfail\b(?: (once))?/, play: playMidFailure },
  { keyword: /\brefuse\b/, play: () => ({ blocks: [], stop: 'refusal' }) },
  {
    keyword: /\bmaxtokens\b/,
    play: () => ({ blocks: [text('This answer is cut')], stop: 'max_tokens' }),
  },
  { keyword: /\[\[sub\]\](?: slow (\d+(?:\.\d+)?))?/, play: playSubagent },
  { keyword: /\bagent reading\b/, play: playReadingAgent },
  { keyword: /\bagent\b(?: (slow)(?: (\d+(?:\.\d+)?))?)?/, play: playAgent },
];

function playText() {
  return { blocks: [text('Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.')] };
}

/** @returns {Message} */
function playThinking() {
  const { pieces } = text('The user wants me to think. I have thought.');
  return {
    blocks: [{ type: 'thinking', pieces }, text('I have thought about it: the answer is 42.')],
  };
}

/** @param {Turn} turn */
function playNotes({ cwd, results }) {
  if (results.length === 0) {
    const path = cwd === '' ? 'notes.md' : `${cwd}/notes.md`;
    return calls('Let me read the notes.', 'Read', { file_path: path });
  }
  return { blocks: [text(`The file notes.md says: ${results.join('\n').trim()}`)] };
}

/**
 * A file of any size, which the answer does not repeat.
 * @param {Turn} turn @param {RegExpMatchArray} match
 */
function playRead({ cwd, results }, [, file]) {
  if (results.length > 0) return { blocks: [text(`I have read ${file}.`)] };
  // Without a limit the CLI reads no file of more than 256 KB.
  const input = { file_path: `${cwd}/${file}`, limit: 1_000_000 };
  return calls(`Let me read ${file}.`, 'Read', input);
}

/** @param {Turn} turn @param {RegExpMatchArray} match */
function playBash({ results }, [, command = 'printf "one\\ntwo\\n"']) {
  if (results.length === 0) {
    return calls('I will run a command.', 'Bash', { command, description: 'Run the command' });
  }
  return { blocks: [text(`The command printed: ${results.join('\n').trim()}`)] };
}

/** @param {Turn} turn @param {RegExpMatchArray} match */
function playBackground({ results, notified }, [, command]) {
  if (notified) return { blocks: [text('The command in the background has ended.')] };
  if (results.length > 0) return { blocks: [text('The command runs in the background.')] };
  const input = { command, description: 'Run it in the background', run_in_background: true };
  return calls('I will start a command.', 'Bash', input);
}

/** @param {Turn} _turn @param {RegExpMatchArray} match */
function playSlow(_turn, [, seconds = '8']) {
  return { blocks: [slowText(seconds)] };
}

/** @param {Turn} _turn @param {RegExpMatchArray} match @returns {Message} */
function playTicks(_turn, [, count, pause]) {
  return { blocks: [{ type: 'text', pieces: ticks(Number(count), Number(pause)) }] };
}

/** @param {Turn} _turn @param {RegExpMatchArray} match @returns {Message} */
function playLong(_turn, [, length]) {
  return { blocks: [{ type: 'text', pieces: longPieces(Number(length)) }] };
}

/** @param {Turn} _turn @param {RegExpMatchArray} match @returns {Message} */
function playHuge(_turn, [, length]) {
  return { blocks: [{ type: 'text', pieces: [hugeText(Number(length))] }] };
}

/**
 * An answer that must meet a schema is the input of a tool that the CLI has for it.
 * @param {Turn} turn @param {RegExpMatchArray} match
 */
function playStructured({ tools, results }, [, json]) {
  const tool = tools.find(({ name }) => name === 'StructuredOutput');
  if (tool === undefined) return { blocks: [text('There is no tool for a structured answer.')] };
  if (results.length > 0) return { blocks: [text('That is my structured answer.')] };
  const input = json === undefined ? sampleOf(tool.input_schema) : JSON.parse(json);
  return calls('I will answer in the form that was asked for.', 'StructuredOutput', input);
}

/**
 * A value that meets a JSON Schema, if that is a plain one.
 * @param {any} schema @returns {any}
 */
function sampleOf({ type, const: constant, enum: values, properties = {}, items = {} } = {}) {
  if (constant !== undefined) return constant;
  if (values !== undefined) return values[0];
  switch ([type].flat()[0]) {
    case 'string':
      return 'scripted';
    case 'integer':
    case 'number':
      return 42;
    case 'boolean':
      return true;
    case 'null':
      return null;
    case 'array':
      return [sampleOf(items)];
    default: {
      const fields = Object.entries(properties);
      return Object.fromEntries(fields.map(([name, field]) => [name, sampleOf(field)]));
    }
  }
}

function playFailure() {
  const message = 'prompt is too long: 213462 tokens > 200000 maximum';
  return { error: { status: 400, type: 'invalid_request_error', message } };
}

/** @param {Turn} turn */
function playOverloaded({ failures }) {
  if (failures < 2) {
    return { error: { status: 529, type: 'overloaded_error', message: 'Overloaded' } };
  }
  return { blocks: [text('The model was overloaded twice and then had time.')] };
}

/** @param {Turn} turn @param {RegExpMatchArray} match @returns {Message | Failure} */
function playMidFailure({ failures }, [, once]) {
  if (failures === 0) {
    // The last silence lets the text leave before the socket dies.
    const pieces = ['This sentence ', 'will never be ', 100];
    return { blocks: [{ type: 'text', pieces }], dies: true };
  }
  // The CLI asks again, ten times in three minutes if the socket kept dying.
  return once === undefined ? playFailure() : { blocks: [text('This sentence is complete.')] };
}

/** @param {Turn} turn @param {RegExpMatchArray} match */
function playAgent({ results, notified }, [, slow, seconds = '8']) {
  if (notified) return { blocks: [text('The agent has reported: there are two notes.')] };
  if (results.length > 0) {
    const waiting = 'The agent is working in the background.';
    return { blocks: [slow === undefined ? text(waiting) : slowText(seconds)] };
  }
  return calls('I will ask an agent.', 'Agent', {
    description: 'Look at notes',
    // Which of the two ends first decides whether the parent's turn ends with a task outstanding.
    prompt: slow === undefined ? '[[sub]] slow 1.5' : '[[sub]]',
    subagent_type: 'general-purpose',
    run_in_background: true,
  });
}

/** Two agents at once, each of which uses a tool, and an answer that waits for them. @param {Turn} turn @returns {Message} */
function playReadingAgent({ results }) {
  if (results.length > 0) return { blocks: [text('Both have read the notes.')] };
  const first = calls('I will ask two agents.', 'Agent', reading('Look at notes'));
  const second = /** @type {const} */ ({
    type: 'tool_use',
    name: 'Agent',
    input: reading('Check them'),
  });
  return { ...first, blocks: [...first.blocks, second] };
}

/** @param {string} description */
function reading(description) {
  const prompt = 'Use the tool to read the notes.';
  return { description, prompt, subagent_type: 'general-purpose', run_in_background: false };
}

/** @param {Turn} _turn @param {RegExpMatchArray} match */
function playSubagent(_turn, [, seconds]) {
  if (seconds === undefined) return { blocks: [text('There are two notes.')] };
  return { blocks: [slowText(seconds)] };
}

/** @param {string} words @returns {Prose} */
function text(words) {
  const pieces = words.split(/(?<= )/).flatMap((word, i) => (i === 0 ? [word] : [wordPause, word]));
  return { type: 'text', pieces };
}

/** @param {string} seconds @returns {Prose} */
function slowText(seconds) {
  const pieces = ['This answer ', Number(seconds) * 1000, 'took ', `${seconds} `, 'seconds.'];
  return { type: 'text', pieces };
}

/** @param {number} count @param {number} pause */
function* ticks(count, pause) {
  for (let n = 1; n <= count; n++) {
    if (n > 1) yield pause;
    yield `tick ${n} `;
  }
}

/**
 * Numbered lines of plain ASCII, so that a test can tell a missing piece from a reordered one.
 * @param {number} length
 */
function* longPieces(length) {
  for (let sent = 0, n = 1; sent < length; sent += longPieceLength, n++) {
    const line = `${n} `.padEnd(longPieceLength - 1, 'abcdefghi ').concat('\n');
    yield line.slice(0, length - sent);
  }
}

/**
 * Exactly what the model sends for `long <length>`.
 * @param {number} length
 */
export function longText(length) {
  return [...longPieces(length)].join('');
}

/**
 * What the model sends for `huge <length>`, in one delta: characters of one to four bytes, pairs of
 * surrogates at even and odd places, and the line separators that JavaScript knows and JSON does not.
 * @param {number} length in UTF-16 units
 */
export function hugeText(length) {
  let whole = '';
  for (let n = 1; whole.length < length; n++) {
    whole += `${n} Grüße 👋 \u2028 ${'x'.repeat(n % 7)}👩‍👩‍👧‍👦 \u2029 \u0085 "\\\t\n`;
  }
  // No half of a pair at the end.
  return whole.slice(0, length).replace(/[\ud800-\udbff]$/, '.');
}

/**
 * @param {string} words @param {string} name @param {Record<string, unknown>} input
 * @returns {Message}
 */
function calls(words, name, input) {
  return { blocks: [text(words), { type: 'tool_use', name, input }], stop: 'tool_use' };
}

/** @param {Turn} turn @returns {Message | Failure} */
function play(turn) {
  const [first] = scenarios
    .flatMap(({ keyword, play }) => {
      const match = turn.prompt.match(keyword);
      return match ? [{ play, match, at: match.index ?? 0 }] : [];
    })
    // The first keyword counts, so that `bash: echo slow` is a command and not a silence.
    .sort((a, b) => a.at - b.at);
  return first ? first.play(turn, first.match) : playText();
}

// What the CLI says in the user's name. None of it is a prompt, and each must leave the last real
// prompt in force: a `maxtokens` turn, for one, is continued by the CLI with a text of its own.
const systemReminder = /<system-reminder>[\s\S]*?<\/system-reminder>/g;
const cliAside =
  /^(?:Output token limit hit|Your response above was stopped|\[Image: source|\[structured-output-enforce)/;

// claude-stream tells a chat client's earlier messages before the new one, in the same text.
const earlierMessages = /^[\s\S]*to be answered now:\s*/;

/**
 * @param {any} body a request to /v1/messages
 * @returns {Omit<Turn, 'failures'>}
 */
function readTurn(body) {
  const turn = { prompt: '', results: /** @type {string[]} */ ([]), notified: false };
  const setting = [contentText(body.system)];
  for (const message of body.messages ?? []) {
    // The CLI also sends system messages between the user's: the environment is in one of them.
    if (message.role === 'system') setting.push(contentText(message.content));
    if (message.role !== 'user') continue;
    for (const block of contentBlocks(message.content)) {
      if (block.type === 'tool_result') turn.results.push(contentText(block.content));
      if (block.type !== 'text') continue;
      const words = block.text.replace(systemReminder, '').trim();
      // Inside a reminder or not, as the version of the CLI has it.
      if (block.text.includes('<task-notification>')) turn.notified = true;
      else if (words !== '' && !cliAside.test(words)) {
        const prompt = words.replace(earlierMessages, '');
        Object.assign(turn, { prompt, results: [], notified: false });
      }
    }
  }
  const [, cwd = ''] = setting.join('\n').match(/working directory: (.+)/i) ?? [];
  return { ...turn, cwd: cwd.trim(), tools: body.tools ?? [] };
}

/** @param {any} content a string, or an array of content blocks @returns {any[]} */
function contentBlocks(content) {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? []);
}

/** @param {any} content */
function contentText(content) {
  return contentBlocks(content)
    .map((block) => block.text ?? '')
    .join('\n')
    .replace(systemReminder, '');
}

/**
 * Titles, summaries and quota checks: they quote the user's prompt, so its keyword must not count.
 * @param {any} body
 */
function isSideCall(body) {
  return body.max_tokens === 1 || (!body.tools?.length && /haiku/.test(body.model));
}

/**
 * The events of one content block; a number is a silence in between.
 * @param {Block} block @param {number} index @param {string} id
 */
function* blockEvents(block, index, id) {
  /** @param {object} delta */
  const delta = (delta) => ({ type: 'content_block_delta', index, delta });
  const start = { type: 'content_block_start', index };
  if (block.type === 'tool_use') {
    const { name, input } = block;
    yield {
      ...start,
      content_block: { type: 'tool_use', id: toolUseId(id, index), name, input: {} },
    };
    const json = JSON.stringify(input);
    for (let at = 0; at < json.length; at += toolInputPieceLength) {
      const partial = json.slice(at, at + toolInputPieceLength);
      yield delta({ type: 'input_json_delta', partial_json: partial });
    }
  } else if (block.type === 'thinking') {
    yield { ...start, content_block: { type: 'thinking', thinking: '', signature: '' } };
    for (const piece of block.pieces) {
      yield typeof piece === 'number' ? piece : delta({ type: 'thinking_delta', thinking: piece });
    }
    yield delta({ type: 'signature_delta', signature: 'c2NyaXB0ZWQ=' });
  } else {
    yield { ...start, content_block: { type: 'text', text: '' } };
    for (const piece of block.pieces) {
      yield typeof piece === 'number' ? piece : delta({ type: 'text_delta', text: piece });
    }
  }
  yield { type: 'content_block_stop', index };
}

/** @param {Block} block @param {number} index @param {string} id */
function wholeBlock(block, index, id) {
  if (block.type === 'tool_use') return { ...block, id: toolUseId(id, index) };
  const words = [...block.pieces].filter((piece) => typeof piece === 'string').join('');
  if (block.type === 'text') return { type: 'text', text: words };
  return { type: 'thinking', thinking: words, signature: 'c2NyaXB0ZWQ=' };
}

/** @param {string} messageId @param {number} index */
function toolUseId(messageId, index) {
  return `${messageId.replace('msg', 'toolu')}_${index}`;
}

/** @param {string} id @param {string} model */
function emptyMessage(id, model) {
  const usage = { input_tokens: 100, cache_read_input_tokens: 900, output_tokens: 1 };
  const ending = { stop_reason: null, stop_sequence: null };
  return { id, type: 'message', role: 'assistant', model, content: [], ...ending, usage };
}

/**
 * @param {Message} message @param {string} id @param {string} model
 * @returns {Generator<number | { type: string, [key: string]: unknown }>}
 */
function* messageEvents({ blocks, stop = 'end_turn', dies }, id, model) {
  yield { type: 'message_start', message: emptyMessage(id, model) };
  yield { type: 'ping' };
  for (const [index, block] of blocks.entries()) {
    for (const event of blockEvents(block, index, id)) {
      if (dies && typeof event === 'object' && event.type === 'content_block_stop') return;
      yield event;
    }
  }
  const ending = { stop_reason: stop, stop_sequence: null };
  yield { type: 'message_delta', delta: ending, usage: { output_tokens: 20 } };
  yield { type: 'message_stop' };
}

/**
 * @param {import('node:http').ServerResponse} res @param {Message} message
 * @param {string} id @param {string} model @param {AbortSignal} signal
 */
async function stream(res, message, id, model, signal) {
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  for (const event of messageEvents(message, id, model)) {
    signal.throwIfAborted();
    if (typeof event === 'number') await sleep(event, undefined, { signal });
    else if (!res.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)) {
      await once(res, 'drain', { signal });
    }
  }
  if (message.dies) res.destroy();
  else res.end();
}

/**
 * @param {import('node:http').ServerResponse} res @param {number} status @param {unknown} body
 */
function sendJson(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/**
 * @param {import('node:http').ServerResponse} res
 * @param {number} status @param {string} type @param {string} message
 */
function sendError(res, status, type, message) {
  sendJson(res, status, { type: 'error', error: { type, message } });
}

/** @param {import('node:http').IncomingMessage} req @returns {Promise<any>} */
async function readJson(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/**
 * Starts the scripted model. `requests` holds the bodies the CLI has posted, oldest first.
 * @param {{ port?: number, host?: string }} [options]
 * @returns {Promise<{ url: string, requests: any[], close(): Promise<void> }>}
 */
export async function startScriptedModel({ port = 0, host = '127.0.0.1' } = {}) {
  /** @type {any[]} */
  const requests = [];
  /** @type {Map<string, number>} */
  const failures = new Map();
  let messageCount = 0;

  /** @param {any} body @returns {Message | Failure} */
  function answer(body) {
    if (isSideCall(body)) return { blocks: [text('A scripted answer')] };
    const turn = readTurn(body);
    // The user id contains the session, so that two of them with one prompt do not mix.
    const key = JSON.stringify([body.metadata?.user_id, turn.prompt]);
    const failed = failures.get(key) ?? 0;
    const reply = play({ ...turn, failures: failed });
    failures.delete(key);
    if ('error' in reply || reply.dies) failures.set(key, failed + 1);
    return reply;
  }

  /**
   * @param {import('node:http').IncomingMessage} req @param {import('node:http').ServerResponse} res
   * @param {AbortSignal} signal
   */
  async function serve(req, res, signal) {
    const path = new URL(req.url ?? '/', 'http://localhost').pathname;
    if (req.method === 'HEAD' && path === '/') return void res.writeHead(200).end();
    if (req.method !== 'POST' || path !== '/v1/messages') {
      req.resume();
      return sendError(res, 404, 'not_found_error', `There is no ${req.method} ${path} here`);
    }
    let body;
    try {
      body = await readJson(req);
    } catch (cause) {
      return sendError(res, 400, 'invalid_request_error', `The body cannot be read: ${cause}`);
    }
    requests.push(body);
    // A long-lived server must not keep every conversation it has seen.
    if (requests.length > rememberedRequests) requests.shift();

    const reply = answer(body);
    if ('error' in reply) {
      const { status, type, message } = reply.error;
      return sendError(res, status, type, message);
    }
    const id = `msg_scripted_${++messageCount}`;
    if (body.stream) return stream(res, reply, id, body.model, signal);
    if (reply.dies) return void res.destroy();
    const content = reply.blocks.map((block, index) => wholeBlock(block, index, id));
    const message = emptyMessage(id, body.model);
    sendJson(res, 200, { ...message, content, stop_reason: reply.stop ?? 'end_turn' });
  }

  const server = createServer((req, res) => {
    // One signal per answer ends its silences and its waits for `drain`, whoever leaves first.
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    serve(req, res, gone.signal).catch((error) => {
      // An aborted answer has nobody left to tell; anything else is a fault in a scenario.
      if (!gone.signal.aborted) res.destroy(error);
    });
  });
  server.listen(port, host);
  await once(server, 'listening');

  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    requests,
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
