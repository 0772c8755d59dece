// @ts-nocheck: its packages are installed for the tests only.
/** LangChain's ChatOpenAI. */
import { ChatOpenAI } from '@langchain/openai';
import { serve } from './host.mjs';

function chatFor({ baseURL, apiKey = 'dummy', model = 'default', ...options }) {
  return new ChatOpenAI({ model, apiKey, ...options, configuration: { baseURL } });
}

const shown = ({ content, tool_calls, usage_metadata, response_metadata, additional_kwargs }) => ({
  content,
  toolCalls: tool_calls?.length ?? 0,
  usage: usage_metadata,
  metadata: response_metadata,
  more: additional_kwargs,
});

serve({
  invoke: async ({ messages, ...args }, { signal }) =>
    shown(await chatFor(args).invoke(messages, { signal })),

  stream: async ({ messages, ...args }, { signal, say }) => {
    const chunks = [];
    for await (const chunk of await chatFor(args).stream(messages, { signal })) {
      if (chunks.length === 0) say('begun');
      chunks.push(chunk);
    }
    const whole = chunks.slice(1).reduce((sum, chunk) => sum.concat(chunk), chunks[0]);
    return { ...shown(whole), chunks: chunks.length };
  },

  structured: async ({ messages, schema, ...args }) =>
    chatFor(args)
      .withStructuredOutput(schema, { name: 'answer', method: 'jsonSchema' })
      .invoke(messages),
});
