// @ts-check
/**
 * A server in a process of its own, so that its memory can be measured. It says on which port it listens, how each of
 * its runs ended and how many clients it still has.
 *
 * Arguments: the command that stands in for the CLI, and the options of `claudeStream` as JSON.
 */
import { claudeStream } from 'claude-stream';
import express from 'express';

const [command = '', options = '{}'] = process.argv.slice(2);
/** @param {object} message */
const say = (message) => process.send?.(message);

const chat = claudeStream({
  command,
  ...JSON.parse(options),
  request: ({ body }) => ({ env: { BYTES: String(body.bytes) } }),
  onEnd: (outcome) =>
    server.getConnections((_error, connections) => say({ ended: outcome, connections })),
});
const app = express();
app.use(express.json());
app.post('/chat', chat);
const server = app.listen(0, '127.0.0.1', () => {
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  say({ port: address.port });
});

// The test has gone, or asks for the end.
process.once('disconnect', async () => {
  await chat.close();
  process.exit(0);
});
