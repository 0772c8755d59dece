import { type Measurement, type ProbeOptions, probePath } from './probePath.js';

/** How much longer than its silence a stream may take, in ms. */
const MARGIN = 5_000;

const EVENTS = 2;

/** What the probe itself answers when it does not begin. */
const REFUSALS = [400, 405, 429];

function isWhole({ status, ending, events }: Measurement): boolean {
  return status === 200 && ending === 'complete' && events.length === EVENTS;
}

/** How exactly a limit is told that shows only by what does not come, in ms. */
const EXACT = 1_000;

/**
 * How long a connection may be silent, in ms; `undefined` when it survives `most`.
 *
 * Most hops close the connection, which tells the limit at once. One that drops it without a word leaves the client
 * waiting: then the limit is found by bisection, which takes as long as some streams of about that length.
 *
 * @throws Error when the probe refuses
 */
export async function measureSilence(
  url: string,
  most: number,
  headers?: ProbeOptions['headers'],
): Promise<number | undefined> {
  const tryFor = async (silence: number) => {
    const query = { events: EVENTS, interval: 100, padding: 0, silence };
    const tried = await probePath(url, { query, timeout: silence + MARGIN, headers });
    if (REFUSALS.includes(tried.status)) throw new Error(`The probe answers ${tried.status}.`);
    return tried;
  };
  const longest = await tryFor(most);
  if (isWhole(longest)) return undefined;
  // Also when it ended in order: a hop may end what another has cut off.
  const { ending, events, endedAt } = longest;
  if (ending !== 'timeout') return endedAt - (events.at(-1)?.arrivedAt ?? 0);
  let [survived, lost] = [0, most];
  while (lost - survived > EXACT) {
    const middle = Math.round((survived + lost) / 2);
    const tried = await tryFor(middle);
    if (isWhole(tried)) survived = middle;
    else lost = middle;
  }
  return lost;
}
