import { anthropic } from '../../../lib/formats/anthropic/anthropic.js';
import { errorOf } from '../support.js';

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const hello = { role: 'user', content: 'Hello' };
const read = (fields: object) =>
  anthropic.read({ model: 'claude-opus', max_tokens: 1_024, messages: [hello], ...fields }, {});

describe('a request of the Messages API', () => {
  it('is the last message, by the model that it names', () => {
    expect(read({})).toMatchObject({
      turn: { content: 'Hello', model: 'claude-opus', system: undefined, schema: undefined },
      modelName: 'claude-opus',
      stream: false,
    });
    expect(read({ stream: true }).stream).toBe(true);
  });

  it('has its system prompt as a text or as blocks', () => {
    expect(read({ system: 'Be brief.' }).turn.system).toBe('Be brief.');
    const blocks = [
      { type: 'text', text: 'Be brief.' },
      { type: 'text', text: 'Be kind.', cache_control: { type: 'ephemeral' } },
    ];
    expect(read({ system: blocks }).turn.system).toBe('Be brief.\n\nBe kind.');
  });

  it('may choose the effort and a schema', () => {
    const schema = { type: 'object', properties: { city: { type: 'string' } } };
    const output_config = { effort: 'high', format: { type: 'json_schema', schema } };
    expect(read({ output_config }).turn).toMatchObject({ effort: 'high', schema });
  });

  it('says whose it is', () => {
    expect(read({ metadata: { user_id: 'ada' } }).user).toBe('ada');
  });

  it('passes over what Claude Code has no setting for', () => {
    const fields = {
      temperature: 0,
      top_p: 1,
      stop_sequences: ['x'],
      thinking: { type: 'enabled', budget_tokens: 1_024 },
      tools: [{ name: 'get_weather', input_schema: { type: 'object' } }],
      tool_choice: { type: 'auto' },
    };
    expect(read(fields).turn).toEqual(read({}).turn);
  });

  it('tells the words of the conversation, and not how they came about', () => {
    const messages = [
      { role: 'user', content: 'How many?' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Hm.', signature: 'x' },
          { type: 'redacted_thinking', data: 'x' },
          { type: 'text', text: 'Two.' },
          { type: 'server_tool_use', id: 's', name: 'web_search', input: {} },
          { type: 'web_search_tool_result', tool_use_id: 's', content: [] },
        ],
      },
      { role: 'user', content: [{ type: 'text', text: 'Sure?' }] },
    ];
    const { turn, conversation } = read({ messages });
    expect(turn.content).toContain('[assistant]\nTwo.\n\n');
    expect(turn.content).not.toContain('Hm.');
    expect(conversation?.answer).toBe('Two.');
  });

  it('tells what a tool of the client has found', () => {
    const messages = [
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'weather', input: {} }] },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'Rain.' }] },
        ],
      },
    ];
    expect(read({ messages }).turn.content).toContain('Rain.');
  });

  it('sets apart what were blocks of their own', () => {
    const said = (text: string) => ({ type: 'text', text });
    const result = (content: unknown) => ({ type: 'tool_result', tool_use_id: 't', content });
    const { turn, conversation } = read({
      messages: [
        { role: 'user', content: 'Weather?' },
        {
          role: 'assistant',
          content: [said('Let me look.'), { type: 'tool_use', id: 't' }, said('It rains.')],
        },
        {
          role: 'user',
          content: [result('Rain.'), result([said('Wind,'), said('too.')]), said('So?')],
        },
      ],
    });
    expect(conversation?.answer).toBe('Let me look.\n\nIt rains.');
    expect(turn.content).toMatch(/Rain\.\n\nWind,\ntoo\.\n\nSo\?$/);
  });

  it('may have images', () => {
    const image = {
      type: 'image',
      source: { type: 'base64', media_type: 'image/png', data: PIXEL },
    };
    const messages = [{ role: 'user', content: [image, { type: 'text', text: 'What is it?' }] }];
    expect(read({ messages }).turn.content).toEqual([
      { type: 'image', source: expect.objectContaining({ media_type: 'image/png' }) },
      { type: 'text', text: 'What is it?' },
    ]);
  });

  it.each([
    [{ system: 5 }, 'system'],
    [{ system: [{ type: 'text' }] }, 'system[0].text'],
    [{ system: ['Be brief.'] }, 'system[0]'],
    [{ metadata: 'ada' }, 'metadata'],
    [{ metadata: { user_id: 5 } }, 'metadata.user_id'],
    [{ output_config: [] }, 'output_config'],
    [{ output_config: { effort: 'much' } }, 'output_config.effort'],
    [{ output_config: { format: { type: 'xml' } } }, 'output_config.format.type'],
    [{ output_config: { format: { type: 'json_schema' } } }, 'output_config.format.schema'],
    [{ messages: [null] }, 'messages[0]'],
    [{ messages: [{ role: 'user', content: [null] }] }, 'messages[0].content[0]'],
    [
      { messages: [{ role: 'user', content: [{ type: 'document', source: {} }] }] },
      'messages[0].content[0]',
    ],
    [
      {
        messages: [
          {
            role: 'user',
            content: [{ type: 'image', source: { type: 'url', url: 'https://example.org/a.png' } }],
          },
        ],
      },
      'messages[0].content[0].image_url',
    ],
    [{ stream: 'yes' }, 'stream'],
  ])('is refused, and the field named: %j', (fields, field) => {
    expect(errorOf(() => read(fields)).field).toBe(field);
  });
});
