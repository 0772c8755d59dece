// @ts-check
import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * Where an example listens: port 3000 on the loopback, unless said otherwise; port 0 takes any that is free.
 * @typedef {object} Address
 * @property {number | undefined} [port]
 * @property {string | undefined} [host]
 */

/**
 * The address that the environment asks for.
 * @returns {Address}
 */
export function chosenAddress() {
  const { PORT, HOST } = process.env;
  return { port: PORT === undefined ? undefined : Number(PORT), host: HOST };
}

/**
 * Starts the server of an example.
 * @param {import('express').Express} app
 * @param {() => Promise<void>} end what has to end before the connections do: the runs
 * @param {Address} [address]
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function listen(app, end, { port = 3000, host = '127.0.0.1' } = {}) {
  const server = createServer(app);
  // Longer than a proxy keeps an idle connection, or it will meet one that is being closed.
  server.keepAliveTimeout = 75_000;
  const close = async () => {
    await end();
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    // Every stream has ended; what is left are connections that are kept alive.
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
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`, close };
}
