import type { ErrorCode } from '../../lib/errors.js';
import { readMessages } from '../../lib/formats/readMessages.js';
import { errorOf, timeOf } from './support.js';

const read = (...messages: unknown[]) => readMessages(messages, (text) => text);

const user = (content: unknown, more: object = {}) => ({ role: 'user', content, ...more });
const assistant = (content: unknown, more: object = {}) => ({
  role: 'assistant',
  content,
  ...more,
});
const system = (content: unknown) => ({ role: 'system', content });
const tool = (content: unknown) => ({ role: 'tool', content, tool_call_id: 'call_1' });

const textPart = (text: string) => ({ type: 'text', text });
const said = (role: string, text: string) => ({ role, blocks: [textPart(text)] });

const PNG = 'iVBORw0KGgo=';
const imagePart = { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } };
const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } };

const CONTINUE = 'Continue your last answer exactly where it stopped.';

describe('the last message', () => {
  it('alone is the content', () => {
    expect(read(user('Hi')).content).toBe('Hi');
  });

  it('in parts is put together', () => {
    expect(read(user([textPart('Hi '), textPart('there')])).content).toBe('Hi there');
  });

  it('with images keeps them in their place', () => {
    expect(read(user([textPart('What is '), imagePart, textPart('?')])).content).toEqual([
      textPart('What is '),
      image,
      textPart('?'),
    ]);
  });

  it('may be an image alone', () => {
    expect(read(user([imagePart])).content).toEqual([image]);
    expect(read(user([textPart(' '), imagePart])).content).toEqual([image]);
  });

  it('may hold an image as Open WebUI, LangChain or the Messages API write it', () => {
    const url = `data:image/png;base64,${PNG}`;
    const parts = [
      { type: 'image_url', image_url: { url, detail: 'low' } },
      { type: 'image_url', image_url: url },
      { type: 'image', source: { type: 'base64', media_type: 'image/webp', data: PNG } },
    ];
    for (const part of parts) expect(read(user([part])).content).toEqual([image]);
  });
});

describe('system and developer messages', () => {
  it('are the system prompt, wherever they stand', () => {
    expect(
      read(system('Be brief.'), user('Hi'), {
        role: 'developer',
        content: [textPart('Be '), textPart('kind.')],
      }),
    ).toMatchObject({ content: 'Hi', system: 'Be brief.\n\nBe kind.' });
  });

  it('are no part of the conversation', () => {
    expect(read(system('Be brief.'), user('Hi')).conversation).toEqual({
      earlier: [],
      answer: undefined,
      fresh: [said('user', 'Hi')],
      content: 'Hi',
    });
  });

  it.each(['', ' \n'])('as empty as %j are none', (content) => {
    expect(read(system(content), user('Hi')).system).toBeUndefined();
  });

  it('may be absent', () => {
    expect(read(user('Hi')).system).toBeUndefined();
  });
});

describe('messages before the last', () => {
  it('are told as the conversation so far', () => {
    expect(read(user('Hi'), assistant('Hello!'), tool('42'), user('And now?')).content).toBe(
      'The conversation so far:\n\n' +
        '[user]\nHi\n\n' +
        '[assistant]\nHello!\n\n' +
        '[tool]\n42\n\n' +
        "The user's new message, to be answered now:\n\nAnd now?",
    );
  });

  it('keep their images, in their place', () => {
    expect(
      read(user([textPart('What is '), imagePart]), assistant('A dot.'), user([imagePart])).content,
    ).toEqual([
      textPart('The conversation so far:\n\n[user]\nWhat is '),
      image,
      textPart("\n\n[assistant]\nA dot.\n\nThe user's new message, to be answered now:\n\n"),
      image,
    ]);
  });

  it('of several people are told apart by their names', () => {
    const { content, conversation } = read(
      user('Hi', { name: 'Ann' }),
      assistant('Hello!', { name: 'Claude' }),
      user('Me too', { name: 'Bob' }),
      user('And I', { name: null }),
    );
    expect(content).toContain('[user]\nAnn: Hi\n\n[assistant]\nHello!\n\n[user]\nBob: Me too\n\n');
    expect(conversation.content).toBe('Bob: Me too\n\nAnd I');
  });

  it('that a model refused are told in its words', () => {
    expect(
      read(user('Hi'), assistant([{ type: 'refusal', refusal: 'I will not.' }]), user('Why?'))
        .content,
    ).toContain('[assistant]\nI will not.\n\n');
  });

  it.each([
    ['null', null],
    ['absent', undefined],
    ['empty', ''],
    ['blank', ' \n'],
    ['no part', []],
    ['an empty part', [textPart('')]],
  ])('of the assistant whose content is %s are left out', (_, content) => {
    const { content: whole, conversation } = read(
      user('Hi'),
      assistant(content, { tool_calls: [{}] }),
      user('And now?'),
    );
    expect(whole).not.toContain('[assistant]');
    expect(conversation).toEqual({
      earlier: [],
      answer: undefined,
      fresh: [said('user', 'Hi'), said('user', 'And now?')],
      content: 'Hi\n\nAnd now?',
    });
  });

  it('lose what was only shown beside an answer, and nothing else does', () => {
    const messages = [system('<x>'), user('<x>Hi'), assistant('<x>Hello!'), user('<x>And now?')];
    const {
      content,
      system: prompt,
      conversation,
    } = readMessages(messages, (text) => text.replace('<x>', ''));
    expect(content).toContain('[user]\n<x>Hi\n\n[assistant]\nHello!\n\n');
    expect(content).toMatch(/<x>And now\?$/);
    expect(prompt).toBe('<x>');
    expect(conversation.answer).toBe('Hello!');
  });

  it('of the assistant that held nothing else are left out', () => {
    const messages = [user('Hi'), assistant('<x>'), user('And now?')];
    const { conversation } = readMessages(messages, (text) => text.replace('<x>', ''));
    expect(conversation).toMatchObject({ answer: undefined, content: 'Hi\n\nAnd now?' });
  });
});

describe('a conversation', () => {
  const first = [user('Hi'), assistant('Hello!')];
  const second = [user('Who?'), assistant('Claude.')];

  it('begins with what the user says', () => {
    expect(read(user('Hi')).conversation).toEqual({
      earlier: [],
      answer: undefined,
      fresh: [said('user', 'Hi')],
      content: 'Hi',
    });
  });

  it('is what came up to the last answer, the answer, and what is new', () => {
    expect(read(system('Be brief.'), ...first, ...second, user('Why?')).conversation).toEqual({
      earlier: [said('user', 'Hi'), said('assistant', 'Hello!'), said('user', 'Who?')],
      answer: 'Claude.',
      fresh: [said('user', 'Why?')],
      content: 'Why?',
    });
  });

  it('is the same for the next request as it was for the last, with its answer', () => {
    const before = read(...first, user('Who?')).conversation;
    const after = read(...first, ...second, user('Why?')).conversation;

    expect(after.earlier).toEqual([
      ...before.earlier,
      said('assistant', before.answer ?? ''),
      ...before.fresh,
    ]);
  });

  it('has several messages of the user as one content', () => {
    const { conversation } = read(...first, user('Who?'), user([imagePart]), user('Well?'));
    expect(conversation.fresh).toHaveLength(3);
    expect(conversation.content).toEqual([textPart('Who?\n\n'), image, textPart('\n\nWell?')]);
  });

  it('has several messages of the assistant as one answer', () => {
    expect(
      read(user('Hi'), assistant('One.'), tool('42'), assistant('Two.'), user('Why?')).conversation,
    ).toMatchObject({ earlier: [said('user', 'Hi')], answer: 'One.\n\nTwo.', content: 'Why?' });
  });

  it('in which only a tool has spoken has an empty answer', () => {
    expect(
      read(user('Hi'), assistant(null, { tool_calls: [{}] }), tool('42'), user('Why?'))
        .conversation,
    ).toMatchObject({ earlier: [said('user', 'Hi')], answer: '', content: 'Why?' });
  });

  it('whose last answer is to go on is continued by a prompt of our own', () => {
    const { content, conversation } = read(user('Hi'), assistant('Hel'));

    expect(content).toBe(
      'The conversation so far:\n\n[user]\nHi\n\n[assistant]\nHel\n\n' +
        `The user's new message, to be answered now:\n\n${CONTINUE}`,
    );
    expect(conversation).toEqual({
      earlier: [said('user', 'Hi')],
      answer: 'Hel',
      fresh: [said('user', CONTINUE)],
      content: CONTINUE,
    });
  });

  it('whose last answer is empty is the question again', () => {
    expect(read(user('Hi'), assistant('')).conversation).toMatchObject({
      answer: undefined,
      content: 'Hi',
    });
    expect(read(user('Hi'), assistant('')).content).toBe('Hi');
  });
});

describe('an error', () => {
  const refused = (
    messages: unknown,
    field: string,
    message: string,
    code: ErrorCode = 'invalid_messages',
  ) =>
    expect(errorOf(() => readMessages(messages, (text) => text))).toEqual({ code, message, field });

  it.each([[], {}, 'Hi', 5, null])('names messages that are %j', (messages) => {
    refused(messages, 'messages', 'messages must be an array with at least one message.');
  });

  it.each([null, 'Hi', 5])('names a message that is %j', (message) => {
    refused([user('Hi'), message], 'messages[1]', 'messages[1] must be an object.');
  });

  it.each([undefined, 'User', 'root', 5, '', 'toString'])('names the role %j', (role) => {
    refused(
      [user('Hi'), { role, content: 'Hi' }],
      'messages[1].role',
      'messages[1].role must be one of system, developer, user, assistant, tool, function.',
    );
  });

  it.each([undefined, null, 5, { text: 'Hi' }])('names the content %j of the user', (content) => {
    refused(
      [user(content)],
      'messages[0].content',
      'messages[0].content must be a string or an array of parts.',
    );
  });

  it.each([5, true, { text: 'Hi' }])('names the content %j of the assistant', (content) => {
    refused(
      [user('Hi'), assistant(content), user('Hi')],
      'messages[1].content',
      'messages[1].content must be a string or an array of parts.',
    );
  });

  it.each([5, {}, true])('names the name %j', (name) => {
    refused([user('Hi', { name })], 'messages[0].name', 'messages[0].name must be a string.');
  });

  it.each([
    ['a system message', [system('Be brief.')]],
    ['a tool’s result', [user('Hi'), assistant('Hello'), tool('42')]],
  ])('names messages that end with %s', (_, messages) => {
    refused(messages, 'messages', 'The last of "messages" must be of the user.');
  });

  it.each(['', ' \n', [], [textPart(' ')]])('names a last message as empty as %j', (content) => {
    const message = 'The last of "messages" must not be empty.';
    refused([user(content)], 'messages[0].content', message);
    refused(
      [user(''), assistant('Hello'), user(content), system('Be brief.')],
      'messages[2].content',
      message,
    );
  });

  it('names a last message as empty as that, also when its author has a name', () => {
    refused(
      [user(' ', { name: 'Ann' })],
      'messages[0].content',
      'The last of "messages" must not be empty.',
    );
  });

  it.each([
    ['no object', 'Hi'],
    ['null', null],
    ['of an unknown type', { type: 'hologram' }],
    ['a text without text', { type: 'text' }],
    ['a refusal without words', { type: 'refusal' }],
    ['an image by URL in the Messages API', { type: 'image', source: { type: 'url', url: 'x' } }],
    ['an image without source', { type: 'image' }],
  ])('names a part that is %s', (_, part) => {
    refused(
      [user([textPart('Hi'), part])],
      'messages[0].content[1]',
      'messages[0].content[1] must be {"type": "text", "text": string} or {"type": "image_url", "image_url": {"url": data URL}}.',
    );
  });

  it.each(['input_audio', 'file', 'video_url'])('names a part of the type %s', (type) => {
    refused(
      [user([textPart('Hi'), { type }])],
      'messages[0].content[1]',
      `messages[0].content[1] is of the type "${type}", which is not supported. Send text or images.`,
      'unsupported_parameter',
    );
  });

  it.each([
    [
      'https://example.com/a.png',
      'must be a base64 data URL of a JPEG, PNG, GIF or WebP image; other URLs are not fetched.',
    ],
    ['data:image/png;base64,AA!A', 'is not base64.'],
    ['data:image/png;base64,AAAA', 'is not a JPEG, PNG, GIF or WebP image.'],
  ])('names an image_url like %s', (url, problem) => {
    refused(
      [
        user('Hi'),
        assistant('Hello'),
        user([textPart('Hi'), { type: 'image_url', image_url: { url } }]),
      ],
      'messages[2].content[1].image_url',
      `messages[2].content[1].image_url ${problem}`,
    );
  });

  it.each([null, undefined, 5, {}])('names an image_url of %j', (image_url) => {
    expect(errorOf(() => read(user([{ type: 'image_url', image_url }]))).field).toBe(
      'messages[0].content[0].image_url',
    );
  });

  it('names the source of an image of the Messages API', () => {
    refused(
      [
        user([
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: '"},{' } },
        ]),
      ],
      'messages[0].content[0].source',
      'messages[0].content[0].source is not base64.',
    );
  });
});

describe('a huge request', () => {
  it('of 100 000 messages is read in linear time', () => {
    const history = Array.from({ length: 50_000 }, () => [
      user('x'.repeat(50)),
      assistant('y'.repeat(50)),
    ]).flat();
    expect(timeOf(() => read(...history, user('Hi')))).toBeLessThan(2_000);
  });

  it('of 100 000 parts is read in linear time', () => {
    const parts = Array.from({ length: 100_000 }, () => textPart('x'.repeat(50)));
    expect(timeOf(() => read(user(parts)))).toBeLessThan(2_000);
  });
});
