import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/** A server for one response, and a client that reads it raw and at its own pace. */
export interface Exchange {
  readonly response: ServerResponse;
  readonly client: Socket;
  /** Settles with all that the client has read, once it fits or the connection is closed. */
  read(fits: (text: string) => boolean): Promise<string>;
}

const open: (() => Promise<void>)[] = [];

/** Sends a request to a server of its own and hands out its response. */
export async function startExchange(): Promise<Exchange> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  open.push(async () => {
    client.destroy();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  client.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
  const [, response] = (await once(server, 'request')) as [unknown, ServerResponse];

  let text = '';
  const waiting = new Set<() => void>();
  client.setEncoding('utf8').once('close', () => {
    for (const look of waiting) look();
  });
  const receive = (more: string) => {
    text += more;
    for (const look of waiting) look();
  };
  return {
    response,
    client,
    read: (fits) =>
      new Promise((resolve) => {
        if (client.listenerCount('data') === 0) client.on('data', receive);
        client.resume();
        const look = () => {
          if (!fits(text) && !client.destroyed) return;
          waiting.delete(look);
          resolve(text);
        };
        waiting.add(look);
        look();
      }),
  };
}

/** Ends every exchange; for `afterEach`. */
export async function endExchanges(): Promise<void> {
  await Promise.all(open.splice(0).map((end) => end()));
}

/** The number of timers that keep the event loop busy. */
export function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}
