import { ClaudeStreamError } from '../errors.js';

/** Of one option that is a whole number: its default, its unit, and what it must lie between. */
export type Limit = readonly [fallback: number, unit: string, min: number, max: number];

/** The longest duration that Node's timers can hold, in ms. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * The options of a store with every default in place.
 *
 * @throws ClaudeStreamError `invalid_option`
 */
export function readLimits<Name extends string>(
  store: string,
  limits: Readonly<Record<Name, Limit>>,
  options: object,
): Record<Name, number> {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(limits, name));
  if (unknown !== undefined) {
    throw new ClaudeStreamError('invalid_option', `${store} has no option "${unknown}".`);
  }
  const given = options as Partial<Record<string, unknown>>;
  const entries = Object.entries<Limit>(limits).map(([name, [fallback, unit, min, max]]) => {
    const value = given[name] === undefined ? fallback : given[name];
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
      return [name, value] as const;
    }
    throw new ClaudeStreamError(
      'invalid_option',
      `"${name}" must be a whole number of ${unit} from ${min} to ${max}.`,
    );
  });
  return Object.fromEntries(entries) as Record<Name, number>;
}
