// @ts-nocheck: its packages are installed for the tests only.
/** The AI SDK with its provider for servers that speak OpenAI's API. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, jsonSchema, Output, streamText } from 'ai';
import { described, serve } from './host.mjs';

function modelFor({ baseURL, apiKey = 'dummy', model = 'default' }) {
  const provider = createOpenAICompatible({
    name: 'claude',
    baseURL,
    apiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  return provider(model);
}

serve({
  /** All parts of a stream, and what the SDK makes of them in the end. */
  streamText: async (args, { signal, say }) => {
    const reported = [];
    const result = streamText({
      model: modelFor(args),
      messages: args.messages,
      abortSignal: signal,
      onError: ({ error }) => reported.push(described(error)),
    });
    const parts = [];
    for await (const part of result.fullStream) {
      if (parts.length === 0) say('begun');
      const { error } = part;
      parts.push(error === undefined ? part : { ...part, error: described(error) });
    }
    const settled = async (promise) => {
      try {
        return await promise;
      } catch (error) {
        return { thrown: described(error) };
      }
    };
    return {
      parts: parts.map(({ type, text, finishReason, error, totalUsage }) => ({
        type,
        text,
        finishReason,
        error,
        usage: totalUsage,
      })),
      text: await settled(result.text),
      reasoning: await settled(result.reasoningText),
      finishReason: await settled(result.finishReason),
      reported,
    };
  },

  generateText: async (args, { signal }) => {
    const { text, reasoningText, finishReason, usage } = await generateText({
      model: modelFor(args),
      messages: args.messages,
      maxRetries: args.maxRetries,
      abortSignal: signal,
    });
    return { text, reasoning: reasoningText, finishReason, usage };
  },

  object: async (args) => {
    const { output } = await generateText({
      model: modelFor(args),
      messages: args.messages,
      output: Output.object({ schema: jsonSchema(args.schema) }),
    });
    return output;
  },
});
