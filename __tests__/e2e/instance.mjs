// @ts-check
/**
 * One of several instances of an application, in a process of its own, with its runs in Redis. It says at which URL it
 * is.
 *
 * Arguments: which client for Redis it uses, the port of Redis, how long a silent owner is believed in, and the options
 * of `claudeStream` as JSON.
 */
import { claudeStream } from 'claude-stream';
import { redisStore } from 'claude-stream/redis';
import express from 'express';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const [client = '', redisPort = '', ownerTimeout = '', options = '{}'] = process.argv.slice(2);
const address = { host: '127.0.0.1', port: Number(redisPort) };
const ignore = () => {};

/** @type {Record<string, () => Promise<(command: string, ...args: string[]) => Promise<unknown>>>} */
const connections = {
  async redis() {
    const connection = createClient({ socket: address }).on('error', ignore);
    await connection.connect();
    return (...command) => connection.sendCommand(command);
  },
  async ioredis() {
    const connection = new Redis(address).on('error', ignore);
    return (command, ...args) => connection.call(command, ...args);
  },
};
const connect = connections[client];
if (connect === undefined) throw new Error(`There is no client "${client}".`);

const store = redisStore({
  sendCommand: await connect(),
  sendBlockingCommand: await connect(),
  ownerTimeout: Number(ownerTimeout),
});
const chat = claudeStream({ ...JSON.parse(options), store });
const app = express();
app.use(express.json());
app.post('/chat', chat);
app.get('/chat/:run', chat.replay);
app.delete('/chat/:run', chat.cancel);
const server = app.listen(0, '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  process.send?.({ url: `http://127.0.0.1:${port}/chat` });
});

// The test has gone, or asks for the end.
process.once('disconnect', async () => {
  await chat.close();
  process.exit(0);
});
