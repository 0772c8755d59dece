// @ts-check
/** The light that shows whether the line to the server is alive. */
import { element } from './element.js';
import { oncePerFrame } from './oncePerFrame.js';

/** Silence after which the light goes out, in ms: a keep-alive comment comes every 5 s here. */
const SILENCE = 7_000;

const line = element('line');
const text = element('line-text');
let lastByteAt = 0;

/** @param {'idle' | 'live' | 'quiet' | 'lost'} state @param {string} words */
export function showLine(state, words) {
  line.dataset.state = state;
  text.textContent = words;
}

/** Nothing has come yet. */
export function awaitByte() {
  lastByteAt = 0;
  showLine('quiet', 'Waiting for the first byte');
}

/** Something has come. */
export function beat() {
  lastByteAt = performance.now();
  // At once: a page in the background draws its frames much later, when this may not be true any more.
  if (line.dataset.state !== 'live') showSilence();
  drawBeat.soon();
}

const drawBeat = oncePerFrame(() => {
  // Restarts the animation.
  line.classList.remove('beat');
  void line.offsetWidth;
  line.classList.add('beat');
});

function showSilence() {
  const silence = performance.now() - lastByteAt;
  const words = `Last byte ${(silence / 1_000).toFixed(1)} s ago`;
  showLine(silence > SILENCE ? 'quiet' : 'live', words);
}

setInterval(() => {
  if (lastByteAt > 0 && (line.dataset.state === 'live' || line.dataset.state === 'quiet')) {
    showSilence();
  }
}, 100);
