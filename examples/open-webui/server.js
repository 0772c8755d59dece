// @ts-check
/**
 * Claude Code for Open WebUI: started with `API_KEY=… node examples/open-webui/server.js`, then entered there as the
 * README beside this file says. Without a login of `claude` a scripted model answers.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { openaiRouter } from 'claude-stream';
import express from 'express';
import { chooseSetting } from '../setting.js';
import { failed, untilSignal } from '../untilSignal.js';

/**
 * @param {{ apiKey: string, port?: number, host?: string | undefined, workspace?: string | undefined }} options
 * @returns {Promise<{ url: string, close(): Promise<void> }>}
 */
export async function startServer({ apiKey, port = 3000, host = '127.0.0.1', workspace }) {
  const setting = await chooseSetting();
  const app = express();
  // Who has the key can read all of the workspace; what would change something is denied.
  const options = workspace === undefined ? {} : { cwd: workspace };
  const claude = openaiRouter({ ...setting.options, ...options, apiKey });
  app.use('/v1', claude);

  const server = createServer(app);
  // Longer than what a proxy keeps an idle connection for, or it will meet one that is being closed.
  server.keepAliveTimeout = 75_000;
  const close = async () => {
    await claude.close();
    if (server.listening) {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    }
    await setting.close();
  };
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { url: `http://${host}:${address.port}/v1`, close };
}

async function main() {
  const { API_KEY: apiKey, PORT = '3000', HOST: host, WORKSPACE: workspace } = process.env;
  if (!apiKey) throw new Error('Choose a key for Open WebUI to send: API_KEY=… node server.js');
  const server = await startServer({ apiKey, port: Number(PORT), host, workspace });
  console.log(`Listening on ${server.url}`);
  untilSignal(server);
}

const require = createRequire(import.meta.url);
if (process.argv[1] && require.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch(failed);
}
