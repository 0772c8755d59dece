/** One entry of a stream in Redis. */
export interface StreamEntry {
  readonly id: string;
  /** The number before the dash of the id: of a frame its number, of the end that of the last frame. */
  readonly number: number;
  /** Field, value, field, value. */
  readonly fields: readonly string[];
}

/** The reply to XRANGE. */
export function rangeEntries(reply: unknown): StreamEntry[] {
  return listOf(reply).map((entry) => {
    const [id, fields] = listOf(entry);
    return { id: String(id), number: numberOf(String(id)), fields: listOf(fields).map(String) };
  });
}

/**
 * The reply to XREAD, by key. A client gives it as an object or a Map (RESP3, node-redis 6), as one flat list (RESP3,
 * ioredis 6), or as a list of pairs (RESP2).
 *
 * @param keys that were asked for: one that puts a prefix before every key (ioredis's `keyPrefix`) leaves it in the reply
 */
export function readEntries(reply: unknown, keys: readonly string[]): Map<string, StreamEntry[]> {
  return new Map(
    pairsOf(reply).map(([name, entries]) => {
      const key =
        keys.find((one) => one === name) ?? keys.find((one) => String(name).endsWith(one));
      return [key ?? String(name), rangeEntries(entries)];
    }),
  );
}

function pairsOf(reply: unknown): (readonly [unknown, unknown])[] {
  if (reply === null || reply === undefined) return [];
  if (reply instanceof Map) return [...reply];
  if (!Array.isArray(reply)) return Object.entries(reply);
  if (Array.isArray(reply[0])) return reply.map(([key, entries]) => [key, entries]);
  return reply.flatMap((key, index) => (index % 2 === 0 ? [[key, reply[index + 1]] as const] : []));
}

export function numberOf(id: string): number {
  return Number(id.slice(0, id.indexOf('-')));
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
