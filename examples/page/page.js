// @ts-check
/**
 * The chat page: sends a question, draws the answer while it comes, and goes on with it after a reload. What is drawn is
 * the message that `claude-stream/client` puts together; nothing here knows the format of the stream.
 */
import {
  ClientError,
  emptyMessage,
  endMessage,
  messageReducer,
  streamClaude,
  wordsOf,
} from 'claude-stream/client';
import { drawMessage } from './drawMessage.js';
import { element } from './element.js';
import { addExchange, clearExchanges, exchanges, keepExchanges, lastSession } from './exchanges.js';
import { awaitByte, beat, showLine } from './line.js';
import { oncePerFrame } from './oncePerFrame.js';
import { timeParts } from './partTimes.js';

/** @typedef {import('./exchanges.js').Exchange} Exchange */

/** Silence after which the connection counts as lost, in ms: four keep-alive comments, one of which comes every 5 s here. */
const LOST = 20_000;

/** What comes within so many ms of a run that one comes back to has happened before. */
const CATCHING_UP = 1_000;

const STOPPED = 'You have stopped this answer.';

const TOO_EARLY =
  'The page was loaded anew before the server had named this answer. Please ask again.';

const chat = element('chat');
const welcome = element('welcome');
const said = element('said');
const stop = /** @type {HTMLButtonElement} */ (element('stop'));
const send = /** @type {HTMLButtonElement} */ (element('send'));
const prompt = /** @type {HTMLTextAreaElement} */ (element('prompt'));
const form = /** @type {HTMLFormElement} */ (element('ask'));

/** @type {AbortController | undefined} */
let running;

/**
 * The place of an exchange on the page.
 * @param {Exchange} exchange
 */
function article({ prompt: question }) {
  welcome.hidden = true;
  const whole = document.createElement('article');
  const asked = document.createElement('p');
  asked.className = 'question';
  asked.textContent = question;
  const answer = document.createElement('div');
  answer.className = 'answer';
  whole.append(asked, answer);
  chat.append(whole);
  return answer;
}

/**
 * Follows a run from its question, or from its id when one comes back to it, to its end.
 * @param {Exchange} exchange
 * @param {HTMLElement} answer
 */
async function follow(exchange, answer) {
  const abort = new AbortController();
  running = abort;
  setRunning(true);
  answer.replaceChildren();
  const isBack = exchange.runId !== undefined;
  /** @type {number | undefined} */
  let began;
  const isLate = () => {
    began ??= performance.now();
    return isBack && performance.now() - began < CATCHING_UP;
  };
  const time = timeParts(exchange.times, isLate);
  const reduce = messageReducer();
  const draw = drawMessage(answer, exchange.times);
  let message = emptyMessage;
  const show = oncePerFrame(() => {
    const isFollowed = isAtEnd();
    draw(message);
    if (isFollowed) scrollToEnd();
  });
  /** @param {import('claude-stream/client').Message} next */
  const set = (next) => {
    message = next;
    time(message.parts);
    if (message.sessionId) exchange.session = message.sessionId;
  };
  /** @param {string} words */
  const giveUp = (words) => {
    set(endMessage(message, { status: 'interrupted', message: words }));
    exchange.message = message;
    said.textContent = words;
  };
  /** What runs on the server may still be running. @param {string} words */
  const interrupt = (words) => {
    message = { ...message, outcome: { status: 'interrupted', message: words } };
    said.textContent = words;
  };
  const asking = exchange.runId
    ? { run: exchange.runId }
    : { body: { prompt: exchange.prompt, session: lastSession() } };
  try {
    const events = streamClaude('/chat', {
      ...asking,
      signal: abort.signal,
      idleTimeout: LOST,
      onRun: (runId) => {
        exchange.runId = runId;
        keepExchanges();
      },
      onBytes: beat,
      onReconnect: (wait) =>
        showLine('lost', `Connection lost; trying again in ${Math.ceil(wait / 1_000)} s`),
      onCancel: (error) => {
        if (error === undefined) return;
        giveUp(`${STOPPED} The server could not be told: it may still be running there.`);
        keepExchanges();
        show.soon();
      },
    });
    for await (const event of events) {
      set(reduce(event));
      show.soon();
    }
    exchange.message = message;
    said.textContent = announcement(message);
  } catch (error) {
    if (abort.signal.aborted) giveUp(STOPPED);
    else if (isKept(exchange, error)) interrupt(inWords(error));
    else giveUp(inWords(error));
  }
  if (exchange.message) delete exchange.runId;
  keepExchanges();
  running = undefined;
  setRunning(false);
  show.now();
  if (!exchange.message) offerToGoOn(exchange, answer);
}

/**
 * Whether the server may still have the answer, however little can be heard of it now.
 * @param {Exchange} exchange @param {unknown} error
 */
function isKept({ runId }, error) {
  if (runId === undefined) return false;
  return !(error instanceof ClientError && (error.status === 204 || isGone(error)));
}

/** @param {ClientError} error */
function isGone({ serverCode }) {
  return serverCode === 'run_expired' || serverCode === 'run_not_found';
}

/**
 * By a button, or by itself once the network is back.
 * @param {Exchange} exchange @param {HTMLElement} answer
 */
function offerToGoOn(exchange, answer) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Go on with this answer';
  const goOn = () => {
    if (running) return;
    removeEventListener('online', goOn);
    if (answer.isConnected) void follow(exchange, answer);
  };
  addEventListener('online', goOn);
  button.addEventListener('click', goOn);
  answer.append(button);
}

/** What scrolls: the conversation, or on a screen that is not high the whole page. */
function scroller() {
  const isOwn = getComputedStyle(chat).overflowY === 'auto';
  return isOwn ? chat : (document.scrollingElement ?? chat);
}

function isAtEnd() {
  const { scrollHeight, scrollTop, clientHeight } = scroller();
  return scrollHeight - scrollTop - clientHeight < 60;
}

function scrollToEnd() {
  const place = scroller();
  place.scrollTop = place.scrollHeight;
}

/** @param {import('claude-stream/client').Message} message */
function announcement(message) {
  const { outcome } = message;
  if (outcome?.status !== 'success') return `The answer failed. ${outcome?.message ?? ''}`;
  return `Claude has answered: ${wordsOf(message, 'text').slice(0, 500)}`;
}

/**
 * What went wrong with the connection, and what one can do about it.
 * @param {unknown} error
 */
function inWords(error) {
  if (!(error instanceof ClientError))
    return `The server cannot be reached. Is it still running? (${error})`;
  switch (error.code) {
    case 'http_error':
      return isGone(error) ? 'This answer is not kept any more. Please ask again.' : error.message;
    case 'not_a_stream':
    case 'malformed_event':
    case 'run_unknown':
      return error.message;
    case 'stream_cut':
      return 'The connection was cut in the middle of the answer.';
  }
}

/** @param {boolean} isRunning */
function setRunning(isRunning) {
  stop.hidden = !isRunning;
  send.disabled = isRunning;
  chat.setAttribute('aria-busy', String(isRunning));
  if (isRunning) {
    said.textContent = 'Claude is answering.';
    awaitByte();
  } else showLine('idle', 'Nothing is running');
}

/** @param {string} question */
function ask(question) {
  if (running || question.trim() === '') return;
  const exchange = addExchange(question);
  prompt.value = '';
  const answer = article(exchange);
  scrollToEnd();
  void follow(exchange, answer);
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  ask(prompt.value);
});

prompt.addEventListener('keydown', (event) => {
  // While a word is being composed, Enter is the editor's.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask(prompt.value);
});

document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !event.isComposing) running?.abort();
});

stop.addEventListener('click', () => {
  running?.abort();
  prompt.focus();
});

element('clear').addEventListener('click', () => {
  running?.abort();
  clearExchanges();
  for (const one of chat.querySelectorAll('article')) one.remove();
  welcome.hidden = false;
  prompt.focus();
});

async function showSetting() {
  const { description, prompts } = await (await fetch('/setting')).json();
  element('setting').textContent = description;
  for (const text of prompts) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = text;
    button.addEventListener('click', () => ask(text));
    const item = document.createElement('li');
    item.append(button);
    element('prompts').append(item);
  }
}

void showSetting();
for (const exchange of exchanges) {
  const answer = article(exchange);
  if (exchange.message) drawMessage(answer, exchange.times)(exchange.message);
  else if (exchange.runId && running) offerToGoOn(exchange, answer);
  else if (exchange.runId) void follow(exchange, answer);
  else {
    const outcome = /** @type {const} */ ({ status: 'interrupted', message: TOO_EARLY });
    exchange.message = endMessage(emptyMessage, outcome);
    drawMessage(answer, exchange.times)(exchange.message);
  }
}
scrollToEnd();
prompt.focus();
