// @ts-check
/**
 * Keeps a server up until the process is asked to end, and ends in order.
 * @param {{ close(): Promise<void> }} server
 */
export function untilSignal(server) {
  const stop = () => {
    // A second signal meets the default and ends the process, should closing take too long.
    process.off('SIGINT', stop).off('SIGTERM', stop);
    server.close().then(() => process.exit(0), failed);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
}

/** @param {unknown} error */
export function failed(error) {
  console.error(error);
  process.exit(1);
}
