// @ts-check
/** Anthropic's SDK. */
import Anthropic from '@anthropic-ai/sdk';
import { serve } from './host.mjs';

/** @param {{ baseURL: string, [option: string]: unknown }} args */
const clientFor = ({ baseURL }) => new Anthropic({ baseURL, apiKey: 'dummy' });

serve({
  create: async (args) => clientFor(args).messages.create(args.body, args.options),

  /** The message in the end, the texts as they came, and the raw events' types. */
  stream: async (args, { signal, say }) => {
    const stream = clientFor(args).messages.stream(args.body, { signal, ...args.options });
    /** @type {string[]} */
    const texts = [];
    /** @type {string[]} */
    const types = [];
    stream.on('streamEvent', ({ type }) => {
      if (types.length === 0) say('begun');
      types.push(type);
    });
    stream.on('text', (text) => texts.push(text));
    return { message: await stream.finalMessage(), texts, types };
  },

  parse: async (args) => {
    const { parsed_output } = await clientFor(args).messages.parse(args.body);
    return parsed_output;
  },
});
