// @ts-check
import { StringDecoder } from 'node:string_decoder';
import { spawnCli } from './spawnCli.js';

/** @type {import('../server.js').Contender['createHandler']} */
export const createHandler = (setting) => (_request, response) => {
  const id = `chatcmpl-${process.hrtime.bigint()}`;
  const created = Math.floor(Date.now() / 1000);
  const model = 'claude';
  const decoder = new StringDecoder('utf8');
  const stdout = spawnCli(setting, response);
  let rest = '';
  stdout.on('data', (/** @type {Buffer} */ bytes) => {
    const lines = (rest + decoder.write(bytes)).split('\n');
    rest = lines.pop() ?? '';
    let text = '';
    for (const line of lines) {
      const { event } = JSON.parse(line);
      if (event?.type !== 'content_block_delta' || event.delta.type !== 'text_delta') continue;
      const choices = [{ index: 0, delta: { content: event.delta.text }, finish_reason: null }];
      const chunk = { id, object: 'chat.completion.chunk', created, model, choices };
      text += `data: ${JSON.stringify(chunk)}\n\n`;
    }
    if (text !== '' && !response.write(text)) stdout.pause();
  });
  response.on('drain', () => stdout.resume());
  stdout.on('end', () => response.end('data: [DONE]\n\n'));
};
