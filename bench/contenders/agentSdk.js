// @ts-check
import { importPeer } from '../peers.js';

/**
 * The Agent SDK as its documentation shows it, behind an Express handler that makes OpenAI's chunks of it.
 * @type {import('../server.js').Contender['createHandler']}
 */
export async function createHandler({ command, env }) {
  const { query } = await importPeer('@anthropic-ai/claude-agent-sdk/sdk.mjs');
  return async (_request, response) => {
    const id = `chatcmpl-${process.hrtime.bigint()}`;
    const created = Math.floor(Date.now() / 1000);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const options = {
      pathToClaudeCodeExecutable: command,
      includePartialMessages: true,
      env: { ...process.env, ...env },
    };
    for await (const message of query({ prompt: 'hi', options })) {
      if (message.type !== 'stream_event' || message.event.delta?.type !== 'text_delta') continue;
      const choices = [
        { index: 0, delta: { content: message.event.delta.text }, finish_reason: null },
      ];
      const chunk = { id, object: 'chat.completion.chunk', created, model: 'claude', choices };
      if (!response.write(`data: ${JSON.stringify(chunk)}\n\n`)) {
        await new Promise((resolve) => response.once('drain', resolve));
      }
    }
    response.end('data: [DONE]\n\n');
  };
}
