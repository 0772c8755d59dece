// @ts-check
/** What a measure says: figures, and the targets that they are held against. */

/**
 * One figure of one contender: the median of several rounds.
 * @typedef {object} Figure
 * @property {string} name
 * @property {string} contender
 * @property {number} [x] where it stands in a series: how many streams, readers, deltas, megabytes
 * @property {string} unit
 * @property {number} median
 * @property {number} min
 * @property {number} max
 * @property {number[]} rounds
 */

/**
 * A target. The exit code looks at `tolerated`, which leaves room for the noise of a machine on which others work.
 * @typedef {object} Check
 * @property {string} name
 * @property {number} value
 * @property {string} unit
 * @property {number} most
 * @property {number} tolerated
 */

/**
 * @typedef {object} Result
 * @property {Figure[]} figures
 * @property {Check[]} checks
 * @property {string[]} notes
 */

/**
 * @param {{ name: string, contender: string, x?: number, unit: string }} what @param {number[]} rounds
 * @returns {Figure}
 */
export function figure(what, rounds) {
  const [min, max] = [Math.min(...rounds), Math.max(...rounds)];
  return { ...what, median: percentile(rounds, 50), min, max, rounds };
}

/**
 * The value below which `percent` of the values lie, between two of them where it falls there.
 * @param {readonly number[]} values @param {number} percent
 */
export function percentile(values, percent) {
  if (values.length === 0) throw new RangeError('There is no percentile of nothing.');
  const sorted = [...values].sort((a, b) => a - b);
  const place = ((sorted.length - 1) * percent) / 100;
  const [below, above] = [sorted[Math.floor(place)] ?? 0, sorted[Math.ceil(place)] ?? 0];
  return below + (above - below) * (place - Math.floor(place));
}

/**
 * Compares two contenders round by round, since what disturbs a machine disturbs neighbouring rounds alike.
 * @param {readonly number[]} rounds @param {readonly number[]} reference
 */
export function medianRatio(rounds, reference) {
  return percentile(
    rounds.map((value, round) => value / (reference[round] ?? Number.NaN)),
    50,
  );
}

/** The same for what is added. @param {readonly number[]} rounds @param {readonly number[]} reference */
export function medianDifference(rounds, reference) {
  return percentile(
    rounds.map((value, round) => value - (reference[round] ?? Number.NaN)),
    50,
  );
}

/** @param {Check} check @returns {'met' | 'missed, within noise' | 'missed'} */
export function verdict({ value, most, tolerated }) {
  if (value <= most) return 'met';
  return value <= tolerated ? 'missed, within noise' : 'missed';
}
