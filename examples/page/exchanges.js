// @ts-check
/**
 * The questions and answers of this page, as they outlive a reload of it.
 *
 * @typedef {import('claude-stream/client').Message} Message
 * @typedef {import('claude-stream/client').Part} Part
 *
 * @typedef {object} Exchange
 * @property {string} prompt
 * @property {string} [session] as soon as it is known
 * @property {string} [runId] while the answer is not complete here: the run is kept on the server
 * @property {Message} [message] once it is
 * @property {import('./partTimes.js').Time[]} times of its parts
 */

/** With its shape, or a page that is upgraded would stumble over what an older one has kept. */
const KEPT = 'claude-stream 2';

/** Characters of a tool's input and result that are kept when there is no room for all. */
const LONGEST_KEPT = 1_000;

/** @type {{ exchanges: Exchange[], session?: string }} */
const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? '{"exchanges":[]}');

/** @type {readonly Exchange[]} */
export let exchanges = kept.exchanges;

/** @param {string} prompt @returns {Exchange} */
export function addExchange(prompt) {
  const exchange = { prompt, times: [] };
  exchanges = [...exchanges, exchange];
  keepExchanges();
  return exchange;
}

export function clearExchanges() {
  exchanges = [];
  delete kept.session;
  keepExchanges();
}

/** What a browser has no room for is forgotten by the next page only: nothing is taken from this one. */
export function keepExchanges() {
  const session = lastSession();
  for (const some of shorterAndShorter()) {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ exchanges: some, session }));
      return;
    } catch {
      // It is full, at 5 MB.
    }
  }
}

/** @returns {Iterable<readonly Exchange[]>} */
function* shorterAndShorter() {
  yield exchanges;
  const short = exchanges.map(withoutLongTools);
  for (let oldest = 0; oldest <= short.length; oldest++) yield short.slice(oldest);
}

/** @param {Exchange} exchange @returns {Exchange} */
function withoutLongTools({ message, ...exchange }) {
  return message
    ? { ...exchange, message: { ...message, parts: message.parts.map(short) } }
    : exchange;
}

/** @param {Part} part @returns {Part} */
function short(part) {
  if (part.type !== 'tool') return part;
  const { inputJson, result } = part;
  const isLong = inputJson.length > LONGEST_KEPT;
  return {
    ...part,
    ...(isLong && { inputJson: inputJson.slice(0, LONGEST_KEPT), input: undefined }),
    result: result?.slice(0, LONGEST_KEPT),
  };
}

/** The session to go on with: that of the last answer, unless the server does not know it any more. */
export function lastSession() {
  const last = exchanges.findLast(({ session, message }) => session || isGone(message));
  if (isGone(last?.message)) return undefined;
  return last?.session ?? kept.session;
}

/** @param {Message | undefined} message */
function isGone(message) {
  return message?.outcome?.code === 'session_not_found';
}
