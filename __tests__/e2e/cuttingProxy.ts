import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterTest } from './afterTest';

export interface CuttingProxy {
  readonly origin: string;
  /** How many connections it has cut so far. */
  readonly cuts: number;
}

/**
 * A network that loses connections, on the loopback in front of a server: of each event stream that is fetched with GET
 * it lets so many bytes of the body pass, then the connection is gone, for both sides. Every other time it is reset.
 *
 * @param lengths how many bytes, one for each cut; what comes after the last is left alone
 */
export async function startCuttingProxy(
  upstreamPort: number,
  lengths: readonly number[],
): Promise<CuttingProxy> {
  let cuts = 0;
  let streams = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, '127.0.0.1');
    /** How many bytes may pass; `undefined` until the head of the answer has. */
    let left: number | undefined;
    let isGet = false;
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroySoon();
      });
    }
    client.on('data', (chunk) => {
      isGet = chunk.toString('latin1', 0, 4) === 'GET ';
      left = undefined;
      upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      let body = 0;
      if (left === undefined) {
        const head = chunk.toString('latin1').split('\r\n\r\n', 1).join('');
        const isCut = isGet && head.includes('text/event-stream') && streams < lengths.length;
        left = isCut ? lengths[streams++] : Number.POSITIVE_INFINITY;
        body = head.length + 4;
      }
      left = Number(left) - (chunk.length - body);
      if (left > 0) {
        client.write(chunk);
        return;
      }
      const passes = chunk.subarray(0, chunk.length + left);
      left = Number.POSITIVE_INFINITY;
      upstream.removeAllListeners('data').destroy();
      const isReset = cuts++ % 2 === 1;
      client.write(passes, () => (isReset ? client.resetAndDestroy() : client.end()));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterTest(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    get cuts() {
      return cuts;
    },
  };
}
