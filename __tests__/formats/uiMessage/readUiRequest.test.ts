import { uiMessage } from '../../../lib/formats/uiMessage/uiMessage.js';
import { errorOf } from '../support.js';

const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const user = (...parts: object[]) => ({ id: 'u', role: 'user', parts });
const said = (text: string) => ({ type: 'text', text });
const read = (...messages: unknown[]) =>
  uiMessage.read({ id: 'chat-1', messages, trigger: 'submit-message' }, {});

describe('a request of the chat transport', () => {
  it('is the last message, and the chat that it belongs to', () => {
    expect(read(user(said('Hello')))).toMatchObject({
      turn: { content: 'Hello' },
      stream: true,
      chat: 'chat-1',
    });
  });

  it('tells the words of the conversation, and not how they came about', () => {
    const answer = {
      id: 'a',
      role: 'assistant',
      parts: [
        { type: 'step-start' },
        { type: 'reasoning', text: 'Hm.' },
        { type: 'dynamic-tool', toolName: 'Read', toolCallId: 't', state: 'output-available' },
        said('Two lines.'),
        { type: 'step-start' },
        said('I have counted.'),
      ],
    };
    const { turn, conversation } = read(user(said('How many?')), answer, user(said('Sure?')));
    expect(turn.content).toBe(
      "The conversation so far:\n\n[user]\nHow many?\n\n[assistant]\nTwo lines.\n\nI have counted.\n\nThe user's new message, to be answered now:\n\nSure?",
    );
    expect(conversation?.answer).toBe('Two lines.\n\nI have counted.');
  });

  it('has its system messages as the system prompt', () => {
    const system = { id: 's', role: 'system', parts: [said('Be brief.')] };
    expect(read(system, user(said('Hello'))).turn.system).toBe('Be brief.');
  });

  it('names the answer that it wants to go on, and no other', () => {
    const answer = (id: unknown) => ({ id, role: 'assistant', parts: [said('First half')] });
    expect(read(user(said('Hello')), answer('msg-1')).answer).toBe('msg-1');
    for (const id of ['', 5, undefined, 'x'.repeat(257)]) {
      expect(read(user(said('Hello')), answer(id)).answer).toBeUndefined();
    }
    expect(read(user(said('Hello')), answer('msg-1'), user(said('Go'))).answer).toBeUndefined();
  });

  it('may have images', () => {
    const image = { type: 'file', mediaType: 'image/png', url: PIXEL };
    expect(read(user(said('What is it?'), image)).turn.content).toEqual([
      { type: 'text', text: 'What is it?' },
      { type: 'image', source: expect.objectContaining({ media_type: 'image/png' }) },
    ]);
  });

  it('may choose what the application puts into its body', () => {
    const body = { id: 'c', messages: [user(said('Hi'))], model: 'opus', effort: 'high' };
    expect(uiMessage.read(body, {}).turn).toMatchObject({ model: 'opus', effort: 'high' });
  });

  it.each([
    [{ messages: [user()] }, 'messages[0].parts'],
    [{ messages: [{ id: 'u', role: 'user' }] }, 'messages[0].parts'],
    [{ messages: [{ role: 'robot', parts: [] }] }, 'messages[0].role'],
    [{ messages: [null] }, 'messages[0]'],
    [{ messages: 'Hi' }, 'messages'],
    [{ messages: [user(said('Hi'))], id: 5 }, 'id'],
    [
      { messages: [user(said('Hi'), { type: 'file', mediaType: 'text/csv', url: 'data:,a' })] },
      'messages[0].parts[1]',
    ],
    [
      {
        messages: [
          user({ type: 'file', mediaType: 'image/png', url: 'https://example.org/a.png' }),
        ],
      },
      'messages[0].parts[0].image_url',
    ],
  ])('is refused, and the field named: %j', (body, field) => {
    expect(errorOf(() => uiMessage.read(body, {})).field).toBe(field);
  });
});
