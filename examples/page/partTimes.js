// @ts-check
/**
 * How long the parts of an answer took, by when their events came: a page in the background draws nothing, and comes
 * back to times that are right.
 *
 * @typedef {import('claude-stream/client').Part} Part
 *
 * @typedef {object} Time
 * @property {'thinking' | 'writing' | 'running' | 'over'} state
 * @property {number} [since] when the state began, in ms since 1970; nobody knows what began while the page was away
 * @property {number} [took] ms
 */

const order = ['writing', 'running', 'over'];

/**
 * @param {Time[]} times which are brought up to date, by the index of their part
 * @param {() => boolean} isLate whether what comes has happened before
 * @returns {(parts: readonly Part[]) => void}
 */
export function timeParts(times, isLate) {
  /** @type {readonly Part[]} */
  let seen = [];
  return (parts) => {
    const now = isLate() ? undefined : Date.now();
    for (const [index, part] of parts.entries()) {
      if (part === seen[index] || part.type === 'text') continue;
      times[index] = nextTime(times[index], stateOf(part), now);
    }
    seen = parts;
  };
}

/** @param {Part} part @returns {Time['state']} */
function stateOf(part) {
  if (part.type !== 'tool') return 'thinking';
  return part.state === 'writing' || part.state === 'running' ? part.state : 'over';
}

/** @param {Time | undefined} known @param {Time['state']} state @param {number | undefined} now @returns {Time} */
function nextTime(known, state, now) {
  const since = known?.since;
  const took = now !== undefined && since !== undefined ? { since, took: now - since } : {};
  if (state === 'thinking' && known) return { ...known, ...took };
  // A page that was loaded anew is told everything again.
  if (known && order.indexOf(state) <= order.indexOf(known.state)) return known;
  if (state === 'over') return { state, ...took };
  return now === undefined ? { state } : { state, since: now };
}
