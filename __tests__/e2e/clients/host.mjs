// @ts-check
/**
 * The part that all client scripts share: a script runs in a Node of its own, and the test calls its operations over
 * the IPC channel, one or several at a time.
 *
 * @typedef {(args: any, context: { signal: AbortSignal, say: (news: unknown) => void }) => Promise<unknown>} Operation
 */

/** @param {Record<string, Operation>} operations */
export function serve(operations) {
  /** @type {Map<number, AbortController>} */
  const underWay = new Map();
  /** @param {object} message */
  const send = (message) => process.send?.(message);

  process.on('message', async (/** @type {any} */ { id, operation, args, abort }) => {
    if (abort) return underWay.get(id)?.abort();
    const leaving = new AbortController();
    underWay.set(id, leaving);
    const context = {
      signal: leaving.signal,
      say: (/** @type {unknown} */ news) => send({ id, news }),
    };
    try {
      const result = await operations[operation]?.(args, context);
      send({ id, result: result ?? null });
    } catch (error) {
      send({ id, thrown: described(error) });
    }
    underWay.delete(id);
  });
  process.once('disconnect', () => process.exit(0));
  send({ ready: process.version });
}

/**
 * What a program could tell of an error.
 * @param {any} error
 */
export function described(error) {
  const { message, status, code, type, param } = error ?? {};
  return { class: error?.constructor?.name, message: String(message), status, code, type, param };
}
