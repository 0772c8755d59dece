// @ts-check
/** The openai SDK, in the version that lies nearest to this script. */
import OpenAI from 'openai';
import { VERSION } from 'openai/version';
import { serve } from './host.mjs';

/** @param {{ baseURL: string, apiKey?: string, [option: string]: unknown }} args */
const clientFor = ({ baseURL, apiKey = 'dummy' }) => new OpenAI({ baseURL, apiKey });

serve({
  version: async () => VERSION,

  models: async (args) => (await clientFor(args).models.list()).data,

  model: async (args) => clientFor(args).models.retrieve(args.id),

  create: async (args, { signal }) =>
    clientFor(args).chat.completions.create(args.body, { signal, ...args.options }),

  /** The abort is the stream's own. */
  stream: async (args, { signal, say }) => {
    /** @type {import('openai/resources').ChatCompletionCreateParamsStreaming} */
    const body = { ...args.body, stream: true };
    const stream = await clientFor(args).chat.completions.create(body, args.options);
    signal.addEventListener('abort', () => stream.controller.abort());
    const chunks = [];
    for await (const chunk of stream) {
      if (chunks.length === 0) say('begun');
      chunks.push(chunk);
    }
    return chunks;
  },

  finalChatCompletion: async (args) =>
    clientFor(args).chat.completions.stream(args.body).finalChatCompletion(),

  /** The helper that parses an answer which meets a schema. */
  parse: async (args) => clientFor(args).chat.completions.parse(args.body),
});
