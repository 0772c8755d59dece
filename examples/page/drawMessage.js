// @ts-check
/**
 * Draws the message so far: each part once, and again only when it has changed, so that an answer of any length stays
 * quick, and what a reader has opened stays open.
 *
 * @typedef {import('claude-stream/client').Message} Message
 * @typedef {import('claude-stream/client').Part} Part
 * @typedef {import('claude-stream/client').ToolPart} ToolPart
 * @typedef {import('claude-stream/client').Activity} Activity
 * @typedef {import('./partTimes.js').Time} Time
 */

/** Most activities that are shown in one place; the latest say what is going on. */
const SHOWN_ACTIVITIES = 6;

/**
 * @param {HTMLElement} place
 * @param {readonly Time[]} times of the parts, by their index
 * @returns {(message: Message) => void}
 */
export function drawMessage(place, times) {
  const parts = document.createElement('div');
  place.append(parts);
  const activities = listOfActivities(place);
  const ending = document.createElement('div');
  place.append(ending);

  /** @type {{ part: Part, draw: (part: Part) => void }[]} */
  const drawn = [];
  /** What subagents do, below the tools that have them do it. @type {Map<string, HTMLElement>} */
  const subagents = new Map();
  /** @type {readonly Activity[] | undefined} */
  let shown;
  return (message) => {
    for (const [index, part] of message.parts.entries()) {
      const known = drawn[index];
      if (known?.part === part) continue;
      const draw = known?.draw ?? drawerOf(part, parts, () => times[index]);
      draw(part);
      drawn[index] = { part, draw };
      if (part.type === 'tool' && !subagents.has(part.id)) {
        subagents.set(part.id, listOfActivities(parts));
      }
    }
    if (message.activities !== shown) {
      for (const [id, list] of subagents) {
        list.replaceChildren(...items(message.activities.filter(({ toolId }) => toolId === id)));
      }
      shown = message.activities;
    }
    const others = message.activities.filter(({ toolId = '' }) => !subagents.has(toolId));
    activities.replaceChildren(...waiting(message), ...items(others));
    ending.replaceChildren(...endingOf(message));
  };
}

/** @param {HTMLElement} place */
function listOfActivities(place) {
  const list = document.createElement('ul');
  list.className = 'activities';
  place.append(list);
  return list;
}

/**
 * @param {Part} part @param {HTMLElement} place @param {() => Time | undefined} time
 * @returns {(part: Part) => void}
 */
function drawerOf(part, place, time) {
  switch (part.type) {
    case 'text':
      return drawText(place);
    case 'thinking':
      return drawThinking(place, time);
    case 'tool':
      return drawTool(place, time);
  }
}

/** @param {HTMLElement} place @returns {(part: Part) => void} */
function drawText(place) {
  const words = paragraph('words');
  place.append(words);
  return writer(words);
}

/** @param {HTMLElement} place @param {() => Time | undefined} timeOf @returns {(part: Part) => void} */
function drawThinking(place, timeOf) {
  const { details, name, time } = folded(place);
  const words = paragraph('words');
  details.append(words);
  name.textContent = 'Thinking';
  const write = writer(words);
  return (part) => {
    write(part);
    const took = timeOf()?.took;
    time.textContent = took === undefined ? '' : seconds(took);
  };
}

/** @param {HTMLElement} place @param {() => Time | undefined} timeOf @returns {(part: Part) => void} */
function drawTool(place, timeOf) {
  const { details, name, detail, time } = folded(place);
  const list = document.createElement('dl');
  const input = described(list, 'Input');
  const result = described(list, 'Result');
  details.append(list);
  /** @type {number | undefined} */
  let timer;
  return (part) => {
    if (part.type !== 'tool') return;
    details.dataset.state = part.state;
    name.textContent = part.name;
    detail.textContent = detailOf(part);
    input.textContent =
      part.input === undefined ? part.inputJson : JSON.stringify(part.input, null, 2);
    result.textContent = part.result ?? (part.state === 'unfinished' ? 'There is none.' : '…');
    const tell = () => {
      const { state, since, took } = timeOf() ?? {};
      const isGoingOn = state !== 'over' && since !== undefined;
      const ms = isGoingOn ? Date.now() - since : took;
      time.textContent =
        ms === undefined ? part.state : `${timedStates[part.state]} ${seconds(ms)}`;
      // A chat may be cleared while a tool of it goes on, behind an outage.
      if (!isGoingOn || !details.isConnected) clearInterval(timer);
    };
    clearInterval(timer);
    timer = setInterval(tell, 100);
    tell();
  };
}

/** @type {Record<ToolPart['state'], string>} */
const timedStates = {
  writing: 'being asked',
  running: 'running',
  done: 'took',
  failed: 'failed after',
  unfinished: 'broken off after',
};

/** @param {HTMLElement} place */
function folded(place) {
  const details = document.createElement('details');
  const summary = document.createElement('summary');
  const [name, detail, time] = ['name', 'detail', 'time'].map((kind) => {
    const span = document.createElement('span');
    span.className = kind;
    return span;
  });
  if (!name || !detail || !time) throw new Error('A summary has three parts.');
  summary.append(name, detail, time);
  details.append(summary);
  place.append(details);
  return { details, name, detail, time };
}

/** @param {HTMLElement} list @param {string} term */
function described(list, term) {
  const title = document.createElement('dt');
  title.textContent = term;
  const description = document.createElement('dd');
  const text = document.createElement('pre');
  // A scrollable box must be reachable by keyboard.
  text.tabIndex = 0;
  description.append(text);
  list.append(title, description);
  return text;
}

/** @param {string} kind */
function paragraph(kind) {
  const words = document.createElement('p');
  words.className = kind;
  return words;
}

/**
 * Appends what is new: what a reader has selected stays selected.
 * @param {HTMLElement} place @returns {(part: Part) => void}
 */
function writer(place) {
  const shown = document.createTextNode('');
  place.append(shown);
  return (part) => {
    if (part.type === 'tool') return;
    if (part.text.startsWith(shown.data)) shown.appendData(part.text.slice(shown.length));
    else shown.data = part.text;
  };
}

/** Fields of an input that say what a call is about, in the order in which they are looked for. */
const TELLING = ['file_path', 'command', 'pattern', 'query', 'url', 'description'];

/** @param {ToolPart} part */
function detailOf({ input }) {
  const fields = /** @type {Record<string, unknown>} */ (input ?? {});
  const telling = TELLING.map((name) => fields[name]).find((value) => typeof value === 'string');
  return typeof telling === 'string' ? telling : '';
}

/** @param {Message} message */
function waiting({ position }) {
  if (position === undefined) return [];
  return items([{ description: `Waiting: number ${position} in the queue`, done: false }]);
}

/** @param {readonly Activity[]} activities */
function items(activities) {
  return activities.slice(-SHOWN_ACTIVITIES).map(({ description, done }) => {
    const item = document.createElement('li');
    item.textContent = description;
    if (done) item.className = 'done';
    return item;
  });
}

/** @param {Message} message */
function endingOf({ outcome, usage, model, gaps }) {
  if (outcome === undefined) return [];
  const missing = gaps.length === 0 ? [] : [paragraph('ending')];
  for (const one of missing) one.textContent = 'Some of this answer was not kept by the server.';
  if (outcome.status !== 'success') {
    const failure = paragraph('failure');
    failure.setAttribute('role', 'alert');
    failure.textContent = `${outcome.message ?? 'The answer failed.'}${outcome.code ? ` (${outcome.code})` : ''}`;
    return [...missing, failure];
  }
  const facts = [
    model,
    outcome.durationMs && seconds(outcome.durationMs),
    usage && `${usage.outputTokens} tokens`,
    outcome.costUsd && `$${outcome.costUsd.toFixed(4)}`,
  ];
  const ending = paragraph('ending');
  ending.textContent = facts.filter(Boolean).join(' · ');
  return [...missing, ending];
}

/** @param {number} ms */
function seconds(ms) {
  return ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
