// @ts-check
/**
 * A server in a process of its own, which exits at once when it is told to, without closing anything. It says at which
 * URL it is.
 *
 * Argument: the options of `claudeStream` as JSON.
 */
import { claudeStream } from 'claude-stream';
import express from 'express';

const [options = '{}'] = process.argv.slice(2);
const app = express();
app.use(express.json());
app.post('/chat', claudeStream(JSON.parse(options)));
const server = app.listen(0, '127.0.0.1', () => {
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  process.send?.({ url: `http://127.0.0.1:${port}/chat` });
});

process.once('message', () => process.exit(1));
// The test has gone.
process.once('disconnect', () => process.exit(0));
