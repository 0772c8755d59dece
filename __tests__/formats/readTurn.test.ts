import { ClaudeStreamError, type ErrorCode } from '../../lib/errors.js';
import { readBody, readFlag, readTurn } from '../../lib/formats/readTurn.js';

const read = (body: Record<string, unknown>) => readTurn(body, 'effort');
const user = (content: unknown) => ({ role: 'user', content });
const readMessages = (...messages: unknown[]) => read({ messages });

const PNG = 'data:image/png;base64,iVBORw0KGgo=';
const SESSION = '9cc73ee5-4fbe-4652-912c-44680ab069b8';

/** The error that `act` throws: its code and its message, which a client may read. */
function errorOf(act: () => unknown) {
  try {
    act();
  } catch (error) {
    if (!(error instanceof ClaudeStreamError)) throw error;
    expect(error.status).toBe(400);
    expect(error.publicMessage).toBe(error.message);
    return { code: error.code, message: error.message };
  }
  throw new Error('Nothing was thrown.');
}

const refused = (body: Record<string, unknown>, code: ErrorCode, message: string) =>
  expect(errorOf(() => read(body))).toEqual({ code, message });

describe('the body', () => {
  it('is an object', () => {
    const body = { prompt: 'Hi' };
    expect(readBody(body)).toBe(body);
  });

  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a string', '{"prompt":"Hi"}'],
    ['an array', [{ prompt: 'Hi' }]],
    ['a Buffer', Buffer.from('{"prompt":"Hi"}')],
    ['a number', 5],
  ])('that is %s was not parsed, and the error says how to', (_, body) => {
    expect(errorOf(() => readBody(body))).toEqual({
      code: 'body_not_parsed',
      message:
        'The request has no parsed JSON object as its body. Send "Content-Type: application/json", and mount ' +
        'express.json() before claudeStream(): app.use(express.json()).',
    });
  });
});

describe('the prompt', () => {
  it('is the content', () => {
    expect(read({ prompt: ' Hi\n' })).toEqual({
      content: ' Hi\n',
      model: undefined,
      effort: undefined,
      session: undefined,
    });
  });

  it('stands above messages', () => {
    expect(read({ prompt: 'Hi', messages: [user('Other')] }).content).toBe('Hi');
  });

  it('that is null counts as absent', () => {
    expect(read({ prompt: null, messages: [user('Hi')] }).content).toBe('Hi');
  });

  it.each([{}, { prompt: null }, { prompt: undefined, messages: null }])(
    'is missing in %j',
    (body) => {
      refused(body, 'invalid_prompt', 'The request has neither "prompt" nor "messages".');
    },
  );

  it.each([5, true, ['Hi'], { text: 'Hi' }])('must be a string, not %j', (prompt) => {
    refused({ prompt }, 'invalid_prompt', '"prompt" must be a string.');
  });

  it.each(['', ' \n\t'])('must not be empty, as %j is', (prompt) => {
    refused({ prompt }, 'invalid_prompt', '"prompt" must not be empty.');
  });
});

describe('what a request may choose', () => {
  it('is model, effort and session', () => {
    expect(read({ prompt: 'Hi', model: 'opus', effort: 'high', session: SESSION })).toEqual({
      content: 'Hi',
      model: 'opus',
      effort: 'high',
      session: SESSION,
    });
  });

  it('is absent when it is null', () => {
    expect(read({ prompt: 'Hi', model: null, effort: null, session: null })).toEqual({
      content: 'Hi',
      model: undefined,
      effort: undefined,
      session: undefined,
    });
  });

  it('is nothing else', () => {
    const wish = {
      cwd: '/',
      args: ['-x'],
      env: {},
      tools: ['Bash'],
      permissionMode: 'x',
      system: 'x',
    };
    expect(Object.keys(read({ prompt: 'Hi', ...wish }))).toEqual([
      'content',
      'model',
      'effort',
      'session',
    ]);
  });

  it.each([5, {}, ['opus']])('has no model like %j', (model) => {
    refused({ prompt: 'Hi', model }, 'invalid_request', '"model" must be a string.');
  });

  it.each(['huge', '', 5, 'High', ['low']])('has no effort like %j', (effort) => {
    refused(
      { prompt: 'Hi', effort },
      'invalid_request',
      '"effort" must be one of low, medium, high, xhigh, max.',
    );
  });

  it('finds the effort under the format’s own name', () => {
    expect(readTurn({ prompt: 'Hi', depth: 'max' }, 'depth').effort).toBe('max');
    expect(errorOf(() => readTurn({ prompt: 'Hi', depth: 'x' }, 'depth')).message).toContain(
      '"depth" must be one of',
    );
  });

  it.each(['last', '', `${SESSION} `, `${SESSION}\n`, `--flag=${SESSION}`, 5])(
    'has no session like %j',
    (session) => {
      refused(
        { prompt: 'Hi', session },
        'invalid_request',
        '"session" must be the UUID of a session.',
      );
    },
  );
});

describe('messages', () => {
  it('of one user message are its text', () => {
    expect(readMessages(user('Hi'))).toMatchObject({ content: 'Hi', system: undefined });
    expect(
      readMessages(
        user([
          { type: 'text', text: 'Hi ' },
          { type: 'text', text: 'there' },
        ]),
      ),
    ).toMatchObject({
      content: 'Hi there',
    });
  });

  it('of system and developer are the system prompt, wherever they stand', () => {
    expect(
      readMessages({ role: 'system', content: 'Be brief.' }, user('Hi'), {
        role: 'developer',
        content: [{ type: 'text', text: 'Be kind.' }],
      }),
    ).toMatchObject({ content: 'Hi', system: 'Be brief.\n\nBe kind.' });
  });

  it('before the last are told as the conversation so far', () => {
    expect(
      readMessages(
        user('Hi'),
        { role: 'assistant', content: 'Hello!' },
        { role: 'assistant', content: null, tool_calls: [{}] },
        { role: 'tool', content: '42', tool_call_id: 'x' },
        user('And now?'),
      ).content,
    ).toBe(
      'The conversation so far:\n\n' +
        '[user]\nHi\n\n' +
        '[assistant]\nHello!\n\n' +
        '[assistant]\n\n\n' +
        '[tool]\n42\n\n' +
        "The user's new message, to be answered now:\n\nAnd now?",
    );
  });

  it('keep their images, in their place', () => {
    expect(
      readMessages(
        user([
          { type: 'text', text: 'What is ' },
          { type: 'image_url', image_url: { url: PNG, detail: 'low' } },
        ]),
        { role: 'assistant', content: 'A dot.' },
        user([{ type: 'image_url', image_url: PNG }]),
      ).content,
    ).toEqual([
      { type: 'text', text: 'The conversation so far:\n\n[user]\nWhat is ' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } },
      {
        type: 'text',
        text: "\n\n[assistant]\nA dot.\n\nThe user's new message, to be answered now:\n\n",
      },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' } },
    ]);
  });

  it('may hold the image blocks of the Messages API', () => {
    const image = {
      type: 'image',
      source: { type: 'base64', media_type: 'image/webp', data: 'AAAA' },
    };
    expect(readMessages(user([image])).content).toEqual([image]);
  });

  it('that are null count as absent', () => {
    expect(read({ prompt: 'Hi', messages: null }).content).toBe('Hi');
  });

  const invalid = (messages: unknown, message: string) =>
    refused({ messages }, 'invalid_messages', message);

  it.each([[], {}, 'Hi', 5])('must be an array with a message, not %j', (messages) => {
    invalid(messages, '"messages" must be an array with at least one message.');
  });

  it.each([null, 'Hi', 5])('must be objects, not %j', (message) => {
    invalid([user('Hi'), message], 'messages[1] must be an object.');
  });

  it.each([undefined, 'User', 'root', 5, ''])('have no role like %j', (role) => {
    invalid(
      [{ role, content: 'Hi' }],
      'messages[0].role must be one of system, developer, user, assistant, tool, function.',
    );
  });

  it.each([undefined, null, 5, { text: 'Hi' }])(
    'of the user have no content like %j',
    (content) => {
      invalid([user(content)], 'messages[0].content must be a string or an array of parts.');
    },
  );

  it('end with the user', () => {
    const message = 'The last of "messages" must be of the user.';
    invalid([user('Hi'), { role: 'assistant', content: 'Hello' }], message);
    invalid([{ role: 'system', content: 'Be brief.' }], message);
  });

  it.each(['', ' \n', [], [{ type: 'text', text: ' ' }]])(
    'do not end with a message as empty as %j',
    (content) => {
      invalid([user(content)], 'The last of "messages" must not be empty.');
    },
  );

  it.each([
    ['no object', 'Hi'],
    ['null', null],
    ['of an unknown type', { type: 'input_audio', input_audio: {} }],
    ['a text without text', { type: 'text' }],
    ['an image by URL in the Messages API', { type: 'image', source: { type: 'url', url: 'x' } }],
    ['an image without source', { type: 'image' }],
    [
      'an image of another type',
      { type: 'image', source: { type: 'base64', media_type: 'image/svg+xml', data: 'AAAA' } },
    ],
    [
      'an image that is not base64',
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: '"},{' } },
    ],
  ])('hold no part that is %s', (_, part) => {
    invalid(
      [user([{ type: 'text', text: 'Hi' }, part])],
      'messages[0].content[1] must be {"type": "text", "text": string} or {"type": "image_url", "image_url": {"url": data URL}}.',
    );
  });

  it.each([
    ['another type', { url: 'data:image/svg+xml;base64,AAAA' }],
    ['no image', { url: 'data:text/html;base64,AAAA' }],
    ['no base64', { url: 'data:image/png,AAAA' }],
    ['broken base64', { url: 'data:image/png;base64,AA!A' }],
    ['empty data', { url: 'data:image/png;base64,' }],
    ['a web address', { url: 'https://example.com/a.png' }],
    ['a file', 'file:///etc/passwd'],
    ['a number', 5],
    ['null', null],
    ['undefined', undefined],
  ])('hold no image_url of %s', (_, image_url) => {
    invalid(
      [user([{ type: 'image_url', image_url }])],
      'messages[0].content[0].image_url must be a base64 data URL of a JPEG, PNG, GIF or WebP image; other URLs are not fetched.',
    );
  });

  it.each(['jpeg', 'png', 'gif', 'webp'])('hold an image of the type %s', (type) => {
    const url = `data:image/${type};base64,AAAA`;
    expect(readMessages(user([{ type: 'image_url', image_url: { url } }])).content).toMatchObject([
      { source: { media_type: `image/${type}`, data: 'AAAA' } },
    ]);
  });
});

describe('a huge request', () => {
  const timeOf = (act: () => unknown) => {
    const start = performance.now();
    act();
    return performance.now() - start;
  };
  const image = (data: string) => user([{ type: 'image_url', image_url: { url: data } }]);

  it('with an image of 5 MB is read in linear time, valid or not', () => {
    const data = `data:image/png;base64,${'A'.repeat(5_000_000)}`;
    expect(timeOf(() => readMessages(image(data)))).toBeLessThan(500);
    expect(timeOf(() => errorOf(() => readMessages(image(`${data}!`))))).toBeLessThan(500);
  });

  it('with 100 000 messages is read in linear time', () => {
    const history = Array.from({ length: 100_000 }, () => user('x'.repeat(50)));
    expect(timeOf(() => readMessages(...history))).toBeLessThan(2_000);
  });
});

describe('a flag', () => {
  it('is what it says, or the fallback when it is absent', () => {
    expect(readFlag(false, 'stream', true)).toBe(false);
    expect(readFlag(undefined, 'stream', true)).toBe(true);
    expect(readFlag(null, 'stream', true)).toBe(true);
  });

  it.each([0, 'true', {}])('is not %j', (value) => {
    expect(errorOf(() => readFlag(value, 'stream', true))).toEqual({
      code: 'invalid_request',
      message: '"stream" must be true or false.',
    });
  });
});
