// @ts-check
import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * Where an example listens; port 0 takes any that is free.
 * @typedef {object} Address
 * @property {number} [port]
 * @property {string} [host]
 */

/**
 * Starts the server of an example.
 * @param {import('express').Express} app
 * @param {() => Promise<void>} end what has to end before the connections do: the runs
 * @param {Address} [address]
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function listen(app, end, { port = 3000, host = '127.0.0.1' } = {}) {
  const server = createServer(app);
  const close = async () => {
    await end();
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { url: `http://${host}:${address.port}`, close };
}
