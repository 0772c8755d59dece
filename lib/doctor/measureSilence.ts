import { type ProbeOptions, probePath } from './probePath.js';

/** How much longer than its silence a stream may take, in ms. */
const MARGIN = 5_000;

/** How exactly a limit is told that shows only by what does not come, in ms. */
const EXACT = 1_000;

/**
 * How long a connection may be silent, in ms; `undefined` when it survives `most`.
 *
 * Most hops close the connection, which tells the limit at once. One that drops it without a word leaves the client
 * waiting: then the limit is found by bisection, which takes as long as some streams of about that length.
 */
export async function measureSilence(
  url: string,
  most: number,
  headers?: ProbeOptions['headers'],
): Promise<number | undefined> {
  const tryFor = async (silence: number) => {
    const query = { events: 2, interval: 100, padding: 0, silence };
    return probePath(url, { query, timeout: silence + MARGIN, headers });
  };
  const { ending, events, endedAt } = await tryFor(most);
  if (ending === 'complete') return undefined;
  if (ending === 'cut') return endedAt - (events.at(-1)?.arrivedAt ?? 0);
  let [survived, lost] = [0, most];
  while (lost - survived > EXACT) {
    const middle = Math.round((survived + lost) / 2);
    const tried = await tryFor(middle);
    if (tried.ending === 'complete') survived = middle;
    else lost = middle;
  }
  return lost;
}
