// @ts-check
import { pipeline, Transform } from 'node:stream';
import split from 'split2';
import { spawnCli } from './spawnCli.js';

/** @type {import('../server.js').Contender['createHandler']} */
export const createHandler = (setting) => (_request, response) => {
  const id = `chatcmpl-${process.hrtime.bigint()}`;
  const created = Math.floor(Date.now() / 1000);
  const chunks = new Transform({
    writableObjectMode: true,
    transform(message, _encoding, callback) {
      const content = message.event?.delta?.text;
      if (typeof content !== 'string') return callback();
      const choices = [{ index: 0, delta: { content }, finish_reason: null }];
      const chunk = { id, object: 'chat.completion.chunk', created, model: 'claude', choices };
      callback(null, `data: ${JSON.stringify(chunk)}\n\n`);
    },
    flush(callback) {
      callback(null, 'data: [DONE]\n\n');
    },
  });
  pipeline(spawnCli(setting, response), split(JSON.parse), chunks, response, () => undefined);
};
