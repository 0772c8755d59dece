import type { ErrorCode } from '../../../lib/errors.js';
import { readCompletionRequest } from '../../../lib/formats/openai/readCompletionRequest.js';
import { errorOf } from '../support.js';

const messages = [{ role: 'user', content: 'Hi' }];

const read = (more: object = {}, headers = {}) =>
  readCompletionRequest({ messages, ...more }, headers);

const refused = (more: object, field: string, message: string, code: ErrorCode) =>
  expect(errorOf(() => read(more))).toEqual({ code, message, field });

it('is a turn and what the client wants of its answer', () => {
  expect(read({ model: 'opus', user: 'ann', stream: true })).toEqual({
    turn: {
      content: 'Hi',
      system: undefined,
      model: 'opus',
      effort: undefined,
      session: undefined,
      schema: undefined,
    },
    conversation: {
      earlier: [],
      answer: undefined,
      fresh: [{ role: 'user', blocks: [{ type: 'text', text: 'Hi' }] }],
      content: 'Hi',
    },
    user: 'ann',
    stream: true,
    includeUsage: false,
    modelName: 'opus',
    background: false,
  });
});

it('is an object', () => {
  expect(errorOf(() => readCompletionRequest(undefined, {})).code).toBe('body_not_parsed');
});

describe('a flag', () => {
  it('stream is off unless the client says so', () => {
    expect(read().stream).toBe(false);
    expect(read({ stream: null }).stream).toBe(false);
    expect(read({ stream: true }).stream).toBe(true);
  });

  it('include_usage is off unless the client says so', () => {
    expect(read().includeUsage).toBe(false);
    expect(read({ stream_options: null }).includeUsage).toBe(false);
    expect(read({ stream_options: {} }).includeUsage).toBe(false);
    expect(read({ stream_options: { include_usage: true } }).includeUsage).toBe(true);
  });

  it.each([
    [{ stream: 'true' }, 'stream', '"stream" must be true or false.'],
    [
      { stream_options: { include_usage: 1 } },
      'stream_options.include_usage',
      '"stream_options.include_usage" must be true or false.',
    ],
    [{ stream_options: 'usage' }, 'stream_options', '"stream_options" must be an object.'],
    [{ stream_options: [] }, 'stream_options', '"stream_options" must be an object.'],
  ])('of another type is refused: %j', (more, field, message) => {
    refused(more, field, message, 'invalid_request');
  });
});

describe('reasoning_effort', () => {
  it.each(['low', 'medium', 'high', 'xhigh', 'max'])('%s is Claude’s own', (effort) => {
    expect(read({ reasoning_effort: effort }).turn.effort).toBe(effort);
  });

  it.each(['none', 'minimal'])('%s is the lowest that Claude has', (effort) => {
    expect(read({ reasoning_effort: effort }).turn.effort).toBe('low');
  });

  it('is what counts, not the name that another format has for it', () => {
    expect(read({ reasoning_effort: 'high', effort: 'low' }).turn.effort).toBe('high');
    expect(read({ effort: 'low' }).turn.effort).toBeUndefined();
  });

  it.each(['huge', '', 5, 'toString'])('is not %j', (effort) => {
    refused(
      { reasoning_effort: effort },
      'reasoning_effort',
      '"reasoning_effort" must be one of none, minimal, low, medium, high, xhigh, max.',
      'invalid_request',
    );
  });
});

describe('response_format', () => {
  const schema = { type: 'object', properties: { answer: { type: 'number' } } };
  const schemaOf = (response_format: unknown) => read({ response_format }).turn.schema;

  it.each([undefined, null, {}, { type: 'text' }])('%j asks for words', (format) => {
    expect(schemaOf(format)).toBeUndefined();
  });

  it('json_object asks for any object', () => {
    expect(schemaOf({ type: 'json_object' })).toEqual({ type: 'object' });
  });

  it('json_schema asks for an object that meets the schema', () => {
    expect(
      schemaOf({ type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }),
    ).toEqual(schema);
  });

  it.each([{}, { type: 'array', items: {} }, { type: ['object', 'null'] }, undefined, null])(
    'json_schema is not met by an object if the schema is %j',
    (schema) => {
      const field = 'response_format.json_schema.schema';
      refused(
        { response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } },
        field,
        `"${field}" must be a JSON Schema of the type "object", and have at most 120000 characters.`,
        'invalid_request',
      );
    },
  );

  it.each([
    ['json', 'response_format', '"response_format" must be an object.'],
    [[], 'response_format', '"response_format" must be an object.'],
    [
      { type: 'json_schema', json_schema: 'x' },
      'response_format.json_schema',
      '"response_format.json_schema" must be an object.',
    ],
    [
      { type: 'json_schema', json_schema: { schema: '{}' } },
      'response_format.json_schema.schema',
      '"response_format.json_schema.schema" must be an object.',
    ],
    [
      { type: 'xml' },
      'response_format.type',
      '"response_format.type" must be "text", "json_object" or "json_schema".',
    ],
    [
      { type: null },
      'response_format.type',
      '"response_format.type" must be "text", "json_object" or "json_schema".',
    ],
  ])('is not %j', (response_format, field, message) => {
    refused({ response_format }, field, message, 'invalid_request');
  });
});

describe('what would change the shape of the answer', () => {
  it.each([
    [{ n: 2 }, 'n', '"n" is not supported: only one choice is made, so it must be 1.'],
    [{ n: '1' }, 'n', '"n" is not supported: only one choice is made, so it must be 1.'],
    [{ n: 0 }, 'n', '"n" is not supported: only one choice is made, so it must be 1.'],
    [
      { modalities: ['text', 'audio'] },
      'modalities',
      '"modalities" is not supported: answers are text.',
    ],
    [{ audio: { voice: 'x' } }, 'audio', '"audio" is not supported: answers are text.'],
    [{ logprobs: true }, 'logprobs', '"logprobs" is not supported: Claude does not tell them.'],
    [
      { top_logprobs: 3 },
      'top_logprobs',
      '"top_logprobs" is not supported: Claude does not tell them.',
    ],
  ])('is refused: %j', (more, field, message) => {
    refused(more, field, message, 'unsupported_parameter');
  });

  it.each([
    { n: 1 },
    { n: null },
    { modalities: ['text'] },
    { modalities: [] },
    { modalities: null },
    { audio: null },
    { logprobs: false },
    { logprobs: null },
    { top_logprobs: 0 },
    { top_logprobs: null },
  ])('is not refused when it asks for what comes anyway: %j', (more) => {
    expect(read(more)).toEqual(read());
  });
});

it('ignores what Claude Code has no setting for', () => {
  const more = {
    temperature: 0.5,
    top_p: 1,
    max_tokens: 5,
    max_completion_tokens: 5,
    stop: ['x'],
    seed: 1,
    presence_penalty: 1,
    logit_bias: {},
    tools: [{ type: 'function', function: { name: 'search' } }],
    tool_choice: 'auto',
    functions: [{}],
    parallel_tool_calls: true,
    store: true,
    metadata: { a: 'b' },
    service_tier: 'auto',
    prediction: {},
  };
  expect(read(more)).toEqual(read());
});

it('lets a client choose nothing of the process', () => {
  const more = { cwd: '/', args: ['-x'], env: {}, permissionMode: 'x', system: 'x', forkAt: 'x' };
  expect(read(more)).toEqual(read());
});

it('takes what was only shown out of an earlier answer', () => {
  const { conversation, turn } = readCompletionRequest(
    {
      messages: [
        ...messages,
        {
          role: 'assistant',
          content:
            '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> Hm.\n</details>\nHello!',
        },
        { role: 'user', content: 'And now?' },
      ],
    },
    {},
  );
  expect(conversation?.answer).toBe('Hello!');
  expect(turn.content).toContain('[assistant]\nHello!\n\n');
});

describe('a request of Open WebUI for itself', () => {
  const task = { messages: [{ role: 'user', content: '### Task:\nGenerate 1-3 broad tags' }] };

  it('is told by its prompt or by its header', () => {
    expect(read(task).background).toBe(true);
    expect(read({}, { 'x-openwebui-task': 'title_generation' }).background).toBe(true);
    expect(read().background).toBe(false);
  });

  it('may have system messages of an administrator', () => {
    const withSystem = [{ role: 'system', content: 'Be brief.' }, ...task.messages];
    expect(read({ messages: withSystem }).background).toBe(true);
  });

  it('may have its prompt in parts', () => {
    const [{ content } = { content: '' }] = task.messages;
    const parts = [{ role: 'user', content: [{ type: 'text', text: content }] }];
    expect(read({ messages: parts }).background).toBe(true);
  });
});
