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

/**
 * A question and its answer, as they outlive a reload of the page.
 * @typedef {object} Exchange
 * @property {string} prompt
 * @property {string} [runId] while the answer is not complete: the run is kept on the server
 * @property {import('claude-stream/client').Message} [message] once it is
 * @property {string} [problem] why there is none
 */

const KEPT = 'claude-stream';

/** Silence after which the light goes out, in ms: a keep-alive comment comes every 5 s here. */
const SILENCE = 7_000;

/** Silence after which the connection counts as lost, in ms: four of these comments. */
const LOST = 20_000;

const TOO_EARLY =
  'The page was loaded anew before the server had named this answer. Please ask again.';

const line = element('line');
const lineText = element('line-text');
const chat = element('chat');
const welcome = element('welcome');
const said = element('said');
const stop = /** @type {HTMLButtonElement} */ (element('stop'));
const send = /** @type {HTMLButtonElement} */ (element('send'));
const prompt = /** @type {HTMLTextAreaElement} */ (element('prompt'));
const form = /** @type {HTMLFormElement} */ (element('ask'));

/** @type {Exchange[]} */
let exchanges = JSON.parse(sessionStorage.getItem(KEPT) ?? '[]');
/** @type {AbortController | undefined} */
let running;
let lastByteAt = 0;

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`The page has no element "${id}".`);
  return found;
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(exchanges));
  } catch {
    // A browser keeps 5 MB for a page: the oldest answer is forgotten first.
    exchanges.shift();
    if (exchanges.length > 0) keep();
  }
}

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
 * Follows a run from its question, or after a reload from its id, to its end.
 * @param {Exchange} exchange
 * @param {HTMLElement} answer
 */
async function follow(exchange, answer) {
  const abort = new AbortController();
  running = abort;
  setRunning(true);
  const reduce = messageReducer();
  const draw = drawMessage(answer, { isLive: exchange.runId === undefined });
  let message = emptyMessage;
  const asking = exchange.runId
    ? { run: exchange.runId }
    : { body: { prompt: exchange.prompt, session: lastSession() } };
  const show = oncePerFrame(() => {
    const isFollowed = isAtEnd();
    draw(message);
    if (isFollowed) scrollToEnd();
  });
  try {
    const events = streamClaude('/chat', {
      ...asking,
      signal: abort.signal,
      idleTimeout: LOST,
      onRun: (runId) => {
        exchange.runId = runId;
        keep();
      },
      onBytes: beat,
      onReconnect: (wait) =>
        showLine('lost', `Connection lost; trying again in ${Math.ceil(wait / 1_000)} s`),
    });
    for await (const event of events) {
      message = reduce(event);
      show.soon();
    }
    exchange.message = message;
    said.textContent = announcement(message);
  } catch (error) {
    exchange.problem = abort.signal.aborted ? 'You have stopped this answer.' : inWords(error);
    message = endMessage(message, { status: 'interrupted', message: exchange.problem });
    exchange.message = message;
    said.textContent = exchange.problem;
  } finally {
    delete exchange.runId;
    keep();
    running = undefined;
    setRunning(false);
    show.now();
  }
}

/** The session to go on with: that of the last answer, unless the server does not know it any more. */
function lastSession() {
  const outcomes = exchanges.map(({ message }) => message?.outcome);
  const last = outcomes.findLast((one) => one?.sessionId || one?.code === 'session_not_found');
  return last?.code === 'session_not_found' ? undefined : last?.sessionId;
}

/**
 * An answer may have thousands of events a second; a screen has sixty frames.
 * @param {() => void} draw
 */
function oncePerFrame(draw) {
  let frame = 0;
  const now = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    draw();
  };
  return {
    soon() {
      frame ||= requestAnimationFrame(now);
    },
    now,
  };
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
      return error.serverCode === 'run_expired' || error.serverCode === 'run_not_found'
        ? 'This answer is not kept any more. Please ask again.'
        : error.message;
    case 'not_a_stream':
    case 'malformed_event':
      return error.message;
    case 'stream_cut':
      return 'The connection was cut in the middle of the answer. Please ask again.';
  }
}

function beat() {
  lastByteAt = performance.now();
  // Restarts the animation.
  line.classList.remove('beat');
  void line.offsetWidth;
  line.classList.add('beat');
  showSilence();
}

function showSilence() {
  if (running === undefined) return;
  const silence = performance.now() - lastByteAt;
  showLine(silence > SILENCE ? 'quiet' : 'live', `Last byte ${(silence / 1_000).toFixed(1)} s ago`);
}

/** @param {'idle' | 'live' | 'quiet' | 'lost'} state @param {string} text */
function showLine(state, text) {
  line.dataset.state = state;
  lineText.textContent = text;
}

setInterval(() => {
  if (line.dataset.state === 'live' || line.dataset.state === 'quiet') showSilence();
}, 100);

/** @param {boolean} isRunning */
function setRunning(isRunning) {
  stop.hidden = !isRunning;
  send.disabled = isRunning;
  chat.setAttribute('aria-busy', String(isRunning));
  if (isRunning) {
    said.textContent = 'Claude is answering.';
    showLine('quiet', 'Waiting for the first byte');
  } else showLine('idle', 'Nothing is running');
}

/** @param {string} question */
function ask(question) {
  if (running || question.trim() === '') return;
  const exchange = { prompt: question };
  exchanges.push(exchange);
  keep();
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
  if (event.key === 'Escape') running?.abort();
});

stop.addEventListener('click', () => {
  running?.abort();
  prompt.focus();
});

element('clear').addEventListener('click', () => {
  running?.abort();
  exchanges = [];
  keep();
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
  if (exchange.message) drawMessage(answer, { isLive: false })(exchange.message);
  else if (exchange.runId) void follow(exchange, answer);
  else {
    const outcome = /** @type {const} */ ({ status: 'interrupted', message: TOO_EARLY });
    exchange.message = endMessage(emptyMessage, outcome);
    drawMessage(answer, { isLive: false })(exchange.message);
  }
}
scrollToEnd();
prompt.focus();
