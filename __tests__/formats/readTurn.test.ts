import type { ErrorCode } from '../../lib/errors.js';
import { readBody, readFlag, readTurn } from '../../lib/formats/readTurn.js';
import { errorOf } from './support.js';

const read = (body: Record<string, unknown>) => readTurn(body, { effortField: 'effort' }).turn;
const user = (content: unknown) => ({ role: 'user', content });

const SESSION = '9cc73ee5-4fbe-4652-912c-44680ab069b8';

const refused = (body: Record<string, unknown>, code: ErrorCode, message: string, field?: string) =>
  expect(errorOf(() => read(body))).toEqual({ code, message, field });

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
      field: undefined,
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
    refused({ prompt }, 'invalid_prompt', '"prompt" must be a string.', 'prompt');
  });

  it.each(['', ' \n\t'])('must not be empty, as %j is', (prompt) => {
    refused({ prompt }, 'invalid_prompt', '"prompt" must not be empty.', 'prompt');
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
    refused({ prompt: 'Hi', model }, 'invalid_request', '"model" must be a string.', 'model');
  });

  it.each(['huge', '', 5, 'High', ['low']])('has no effort like %j', (effort) => {
    refused(
      { prompt: 'Hi', effort },
      'invalid_request',
      '"effort" must be one of low, medium, high, xhigh, max.',
      'effort',
    );
  });

  it('finds the effort under the format’s own name', () => {
    const fields = { effortField: 'depth' };
    expect(readTurn({ prompt: 'Hi', depth: 'max', effort: 'low' }, fields).turn.effort).toBe('max');
    expect(errorOf(() => readTurn({ prompt: 'Hi', depth: 'x' }, fields))).toEqual({
      code: 'invalid_request',
      message: '"depth" must be one of low, medium, high, xhigh, max.',
      field: 'depth',
    });
  });

  it('knows the format’s own names of efforts', () => {
    const fields = { effortField: 'effort', effortNames: { none: 'low' } } as const;
    expect(readTurn({ prompt: 'Hi', effort: 'none' }, fields).turn.effort).toBe('low');
    expect(readTurn({ prompt: 'Hi', effort: 'max' }, fields).turn.effort).toBe('max');
    for (const effort of ['toString', '__proto__', 'constructor', 5]) {
      expect(errorOf(() => readTurn({ prompt: 'Hi', effort }, fields)).message).toBe(
        '"effort" must be one of none, low, medium, high, xhigh, max.',
      );
    }
  });

  it('says whose conversation it is, if the client does', () => {
    const userOf = (more: object) =>
      readTurn({ prompt: 'Hi', ...more }, { effortField: 'effort' }).user;
    expect(userOf({ user: 'ann' })).toBe('ann');
    expect(userOf({ user: null })).toBeUndefined();
    expect(userOf({})).toBeUndefined();
    refused({ prompt: 'Hi', user: 5 }, 'invalid_request', '"user" must be a string.', 'user');
  });

  it.each(['last', '', `${SESSION} `, `${SESSION}\n`, `--flag=${SESSION}`])(
    'has no session like %j',
    (session) => {
      refused(
        { prompt: 'Hi', session },
        'invalid_request',
        '"session" must be the UUID of a session.',
        'session',
      );
    },
  );

  it('has no session that is no string', () => {
    refused(
      { prompt: 'Hi', session: 5 },
      'invalid_request',
      '"session" must be a string.',
      'session',
    );
  });
});

describe('messages', () => {
  const messages = [
    { role: 'system', content: 'Be brief.' },
    user('Hi'),
    { role: 'assistant', content: '<shown>Hello!' },
    user('And now?'),
  ];

  it('become the turn and the conversation', () => {
    const { turn, conversation } = readTurn({ messages }, { effortField: 'effort' });

    expect(turn.content).toContain('[assistant]\n<shown>Hello!');
    expect(turn.system).toBe('Be brief.');
    expect(conversation).toMatchObject({ answer: '<shown>Hello!', content: 'And now?' });
  });

  it('lose what the format shows beside an answer', () => {
    const cleanAnswer = (text: string) => text.replace('<shown>', '');
    const { turn, conversation } = readTurn({ messages }, { effortField: 'effort', cleanAnswer });

    expect(turn.content).toContain('[assistant]\nHello!');
    expect(conversation?.answer).toBe('Hello!');
  });

  it('come with the session that the client names, and everything else it may choose', () => {
    expect(read({ messages, session: SESSION, model: 'opus', effort: 'low' })).toMatchObject({
      session: SESSION,
      model: 'opus',
      effort: 'low',
    });
  });

  it('that are null count as absent', () => {
    expect(read({ prompt: 'Hi', messages: null }).content).toBe('Hi');
  });

  it('stand above a prompt, whatever it is', () => {
    for (const prompt of ['Other', '', 5]) {
      const { turn, conversation } = readTurn({ prompt, messages }, { effortField: 'effort' });
      expect(turn.content).toContain('And now?');
      expect(turn.content).not.toContain('Other');
      expect(conversation).toMatchObject({ content: 'And now?' });
    }
  });

  it('that are wrong are not replaced by a prompt', () => {
    expect(errorOf(() => read({ prompt: 'Hi', messages: [] })).code).toBe('invalid_messages');
  });

  it('alone make a conversation: a prompt does not', () => {
    expect(readTurn({ prompt: 'Hi' }, { effortField: 'effort' }).conversation).toBeUndefined();
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
      field: 'stream',
    });
  });
});
