import { errorCodes } from '../../../lib/errors.js';
import { type EncoderContext, toolDisplays } from '../../../lib/formats/format.js';
import { errorResponse } from '../../../lib/formats/openai/errorResponse.js';
import { openai } from '../../../lib/formats/openai/openai.js';
import { crash, type Outcome } from '../../../lib/outcome.js';
import {
  answered,
  apiRetry,
  collect,
  contextOf,
  outcomeOf,
  requestOf,
  success,
} from '../support.js';
import { conversation, failed, structured, withSchema } from './stream.js';

const usage = { inputTokens: 3, outputTokens: 7, cacheReadTokens: 900, cacheCreationTokens: 20 };

it('is one body with one choice and the usage', () => {
  expect(collect(openai, conversation, { ...success, usage })).toEqual({
    status: 200,
    body: {
      id: 'chatcmpl-run',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'claude-fixture',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'Let me look.\n\nTwo lines.',
            refusal: null,
            reasoning_content: 'Hm.',
          },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        prompt_tokens: 923,
        completion_tokens: 7,
        total_tokens: 930,
        prompt_tokens_details: { cached_tokens: 900 },
      },
    },
  });
});

it('has no reasoning_content without thinking', () => {
  expect(JSON.stringify(collect(openai, answered('Hi')).body)).not.toContain('reasoning_content');
});

it('finishes with "length" at the output limit', () => {
  const cut = outcomeOf({ status: 'success', result: 'Cut', stopReason: 'max_tokens' });
  expect(collect(openai, answered('Cut'), cut).body).toMatchObject({
    choices: [{ finish_reason: 'length' }],
  });
});

it('shows no tools and no notices, whatever the display', () => {
  for (const toolDisplay of toolDisplays) {
    const context = contextOf({ toolDisplay });
    expect(collect(openai, [apiRetry, ...conversation], success, context).body).toMatchObject({
      choices: [{ message: { content: 'Let me look.\n\nTwo lines.' } }],
    });
  }
});

it('makes literal reasoning tags harmless and loses nothing of the end', () => {
  expect(collect(openai, answered('<thi', 'nk> <rea')).body).toMatchObject({
    choices: [{ message: { content: '<\u200bthink> <rea' } }],
  });
});

it.each(errorCodes)('answers %s as an error before the first byte', (code) => {
  expect(collect(openai, conversation, failed(code))).toEqual(
    errorResponse({ code, message: 'It failed.' }),
  );
});

it('shows stderr only with exposeErrors', () => {
  const crashed = outcomeOf(crash('exit 1: /root/secret'));
  expect(JSON.stringify(collect(openai, [], crashed))).not.toContain('secret');
  expect(JSON.stringify(collect(openai, [], crashed, contextOf({ exposeErrors: true })))).toContain(
    'exit 1: /root/secret',
  );
});

it('names the model that the client chose', () => {
  const context = contextOf({ request: requestOf({ modelName: 'opus' }) });
  expect(collect(openai, conversation, success, context).body).toHaveProperty('model', 'opus');
});

describe('an answer that meets a schema', () => {
  const context = contextOf(withSchema);

  it('is its JSON and nothing else', () => {
    expect(collect(openai, conversation, structured({ answer: 42 }), context).body).toMatchObject({
      choices: [{ message: { content: '{"answer":42}' }, finish_reason: 'stop' }],
    });
  });

  it('with a literal reasoning tag is harmless, and still the same object', () => {
    const value = { text: 'Write <think> first.' };
    const { choices } = JSON.parse(
      JSON.stringify(collect(openai, conversation, structured(value), context).body),
    );

    expect(choices[0].message.content).not.toContain('<think>');
    expect(JSON.parse(choices[0].message.content)).toEqual(value);
  });

  it('is an error when the run failed', () => {
    expect(collect(openai, conversation, failed('schema_not_met'), context)).toMatchObject({
      status: 502,
      body: { error: { code: 'schema_not_met' } },
    });
  });
});

describe('onAnswer', () => {
  const answeredTo = (overrides: Partial<EncoderContext>, outcome: Outcome) => {
    const pieces: string[] = [];
    const context = contextOf({ onAnswer: (text) => pieces.push(text), ...overrides });
    const { body } = collect(openai, [...answered('One <thi'), ...conversation], outcome, context);
    return { told: pieces.join(''), body };
  };

  it('is told the content', () => {
    const { told, body } = answeredTo({}, success);
    expect(told).toBe('One <thi\n\nLet me look.\n\nTwo lines.');
    expect(body).toMatchObject({ choices: [{ message: { content: told } }] });
  });

  it('is told the JSON of an answer that meets a schema', () => {
    expect(answeredTo(withSchema, structured({ a: 1 })).told).toBe('{"a":1}');
  });
});
