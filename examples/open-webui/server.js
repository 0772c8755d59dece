// @ts-check
/**
 * Claude Code for Open WebUI: started with `API_KEY=… node examples/open-webui/server.js`, then entered there as the
 * README beside this file says. Without a login of `claude` a scripted model answers.
 */
import { openaiRouter } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from '../listen.js';
import { main } from '../main.js';
import { chooseSetting } from '../setting.js';

/** @param {import('../listen.js').Address & { apiKey: string, workspace?: string | undefined }} options */
export async function startOpenWebUI({ apiKey, workspace, ...address }) {
  const setting = await chooseSetting();
  // Who has the key can read all of the workspace; what would change something is denied.
  const options = workspace === undefined ? {} : { cwd: workspace };
  const claude = openaiRouter({ ...setting.options, ...options, apiKey });
  const app = express();
  app.use('/v1', claude);
  return listen(
    app,
    async () => {
      await claude.close();
      await setting.close();
    },
    address,
  );
}

main(import.meta.url, async () => {
  const { API_KEY: apiKey, WORKSPACE: workspace } = process.env;
  if (!apiKey) throw new Error('Choose a key for Open WebUI to send: API_KEY=… node server.js');
  const server = await startOpenWebUI({ ...chosenAddress(), apiKey, workspace });
  console.log(`Listening on ${server.url}/v1`);
  return server;
});
