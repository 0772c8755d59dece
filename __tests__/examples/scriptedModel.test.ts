import { hugeText, longText, startScriptedModel } from '../../examples/scriptedModel.js';

type Model = Awaited<ReturnType<typeof startScriptedModel>>;
type WireEvent = {
  type: string;
  content_block?: { type: string; name?: string; id?: string };
  delta?: { [key: string]: string };
};

let model: Model;

beforeEach(async () => {
  model = await startScriptedModel();
});

afterEach(() => model.close());

const tools = [{ name: 'Bash' }];
const user = (content: unknown) => ({ role: 'user', content });
const toolResult = (content: unknown) =>
  user([{ type: 'tool_result', tool_use_id: 'toolu_1', content }]);

function post(messages: unknown[], more: object = {}) {
  return fetch(`${model.url}/v1/messages?beta=true`, {
    method: 'POST',
    body: JSON.stringify({ model: 'claude-opus', stream: true, tools, messages, ...more }),
  });
}

async function ask(messages: unknown[], more: object = {}): Promise<WireEvent[]> {
  const response = await post(messages, more);
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const frames = (await response.text()).split('\n\n').slice(0, -1);
  return frames.map((frame) => {
    const [event, data] = frame.split('\n');
    const parsed = JSON.parse(data?.replace(/^data: /, '') ?? '');
    expect(event).toBe(`event: ${parsed.type}`);
    return parsed;
  });
}

function joined(events: WireEvent[], key = 'text') {
  return events.map((event) => event.delta?.[key] ?? '').join('');
}

function stopReason(events: WireEvent[]) {
  return events.find((event) => event.type === 'message_delta')?.delta?.stop_reason;
}

type Block = { type: string; text: string; name: string; input: { [key: string]: string } };

// Without `stream` there are no silences: for what is said, not how.
async function answer(messages: unknown[], more: object = {}): Promise<Block> {
  const response = await post(messages, { stream: false, ...more });
  const { content } = (await response.json()) as { content: Block[] };
  return content.at(-1) as Block;
}

function toolCall(events: WireEvent[]) {
  const block = events.find((event) => event.content_block?.type === 'tool_use')?.content_block;
  return { name: block?.name, input: JSON.parse(joined(events, 'partial_json')) };
}

describe('the shape of an answer', () => {
  test('a text is streamed one word at a time', async () => {
    const events = await ask([user('hello')]);
    const deltas = events.filter((event) => event.type === 'content_block_delta');
    expect(joined(events)).toBe('Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.');
    expect(deltas).toHaveLength(11);
    expect(events.map((event) => event.type)).toEqual([
      'message_start',
      'ping',
      'content_block_start',
      ...deltas.map(() => 'content_block_delta'),
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    expect(stopReason(events)).toBe('end_turn');
  });

  test('a request without `stream` gets the message as JSON', async () => {
    const response = await post([user('bash: ls')], { stream: false });
    expect(await response.json()).toMatchObject({
      type: 'message',
      role: 'assistant',
      stop_reason: 'tool_use',
      content: [{ type: 'text' }, { type: 'tool_use', name: 'Bash', input: { command: 'ls' } }],
    });
  });

  test('HEAD / is 200, everything else is a 404 in the shape of the API', async () => {
    expect((await fetch(model.url, { method: 'HEAD' })).status).toBe(200);
    const response = await fetch(`${model.url}/v1/messages/count_tokens`, {
      method: 'POST',
      body: '{}',
    });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { type: 'not_found_error' },
    });
  });

  test('a body that is not JSON is a 400', async () => {
    const response = await fetch(`${model.url}/v1/messages`, { method: 'POST', body: '{' });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
  });

  test('`requests` holds the bodies in their order', async () => {
    await answer([user('one')]);
    await answer([user('two')]);
    expect(model.requests.map((body) => body.messages[0].content)).toEqual(['one', 'two']);
  });
});

describe('which prompt counts', () => {
  test('the last one, without what the CLI adds to it', async () => {
    const { text } = await answer([
      user('bash'),
      { role: 'assistant', content: 'done' },
      user([
        { type: 'text', text: '<system-reminder>fail\nfail</system-reminder>' },
        { type: 'text', text: 'hello' },
        { type: 'text', text: '<system-reminder>fail</system-reminder>\n' },
      ]),
    ]);
    expect(text).toContain('Grüße');
  });

  test('not the conversation so far, which claude-stream tells in the same text', async () => {
    const told = "[user]\nbash\n\nThe user's new message, to be answered now:\n\ntool";
    expect((await answer([user(told)])).name).toBe('Read');
  });

  test('not what the CLI says about an image', async () => {
    const source = { type: 'text', text: '[Image: source: /tmp/images/1.png]' };
    const { name } = await answer([
      user([{ type: 'image' }, { type: 'text', text: 'tool' }, source]),
    ]);
    expect(name).toBe('Read');
  });

  test('the first keyword in it', async () => {
    expect((await answer([user('bash: echo slow 60')])).input.command).toBe('echo slow 60');
  });

  test('none in a side call, which quotes the prompt', async () => {
    const side = { model: 'claude-haiku', tools: [] };
    expect((await answer([user('A title for: fail')], side)).text).toBe('A scripted answer');
  });
});

describe('scenarios', () => {
  test('think: a signed thinking block, then text', async () => {
    const events = await ask([user('think')]);
    expect(events.flatMap((event) => event.content_block?.type ?? [])).toEqual([
      'thinking',
      'text',
    ]);
    expect(joined(events, 'thinking')).toContain('I have thought');
    expect(joined(events, 'signature')).not.toBe('');
  });

  test('tool: reads notes.md in the working directory of the CLI, then says what it holds', async () => {
    const environment = '# Environment\n - Primary working directory: /srv/app\n';
    const events = await ask([user('tool')], { system: [{ type: 'text', text: environment }] });
    expect(toolCall(events)).toEqual({ name: 'Read', input: { file_path: '/srv/app/notes.md' } });
    expect(stopReason(events)).toBe('tool_use');

    const result = toolResult([{ type: 'text', text: 'buy milk' }]);
    const { text } = await answer([user('tool'), result]);
    expect(text).toBe('The file notes.md says: buy milk');
  });

  test('tool: finds the working directory in a system message, or does without', async () => {
    const environment = { role: 'system', content: ' - Primary working directory: /srv/app' };
    const { input } = await answer([user('tool'), environment]);
    expect(input).toEqual({ file_path: '/srv/app/notes.md' });
    expect((await answer([user('tool')])).input).toEqual({ file_path: 'notes.md' });
  });

  test('bash: a command of its own or the prompt’s, then its output', async () => {
    expect(await answer([user('bash')])).toMatchObject({
      name: 'Bash',
      input: { command: 'printf "one\\ntwo\\n"' },
    });
    expect((await answer([user('please bash: ls -l\nthanks')])).input.command).toBe('ls -l');
    const { text } = await answer([user('bash'), toolResult('one\ntwo')]);
    expect(text).toBe('The command printed: one\ntwo');
  });

  test('slow: a silence after the first delta', async () => {
    const started = Date.now();
    expect(joined(await ask([user('slow 0.2')]))).toBe('This answer took 0.2 seconds.');
    expect(Date.now() - started).toBeGreaterThanOrEqual(190);
  });

  test('tick: that many deltas', async () => {
    expect(joined(await ask([user('tick 3 10')]))).toBe('tick 1 tick 2 tick 3 ');
  });

  test('long: every byte of it', async () => {
    const events = await ask([user('long 1234567')]);
    expect(longText(1234567)).toHaveLength(1234567);
    expect(joined(events) === longText(1234567)).toBe(true);
  });

  test('read: any file in the working directory, without repeating it', async () => {
    const system = [{ type: 'text', text: 'Primary working directory: /srv/app' }];
    const call = await answer([user('read: a.txt')], { system });
    expect(call).toMatchObject({ name: 'Read', input: { file_path: '/srv/app/a.txt' } });
    const { text } = await answer([user('read: a.txt'), toolResult('x'.repeat(1_000))]);
    expect(text).toBe('I have read a.txt.');
  });

  test('huge: one delta with characters of every kind', async () => {
    const events = await ask([user('huge 300000')]);
    expect(events.filter(({ type }) => type === 'content_block_delta')).toHaveLength(1);
    expect(joined(events) === hugeText(300_000)).toBe(true);
    expect(hugeText(300_000)).toMatch(/ü.*👋.*\u2028.*\u0085/su);
    // Wherever it ends, no pair of surrogates is cut.
    for (let length = 0; length < 60; length++) {
      expect(hugeText(length)).toHaveLength(length);
      expect(hugeText(length)).not.toMatch(/\p{Surrogate}/u);
    }
  });

  describe('structured', () => {
    const input_schema = {
      type: 'object',
      properties: {
        name: { type: 'string' },
        kind: { enum: ['a', 'b'] },
        exactly: { const: 7 },
        count: { type: 'integer' },
        known: { type: 'boolean' },
        maybe: { type: ['null', 'string'] },
        list: { type: 'array', items: { type: 'object', properties: { n: { type: 'number' } } } },
      },
    };
    const offered = { tools: [...tools, { name: 'StructuredOutput', input_schema }] };

    test('calls the tool with the input of the prompt, then says a text', async () => {
      const prompt = user('structured: {"name": "Köln"}');
      expect(await answer([prompt], offered)).toMatchObject({
        name: 'StructuredOutput',
        input: { name: 'Köln' },
      });
      const { text } = await answer([prompt, toolResult('Done.')], offered);
      expect(text).toBe('That is my structured answer.');
    });

    test('finds an input that fits the schema', async () => {
      expect((await answer([user('structured')], offered)).input).toEqual({
        name: 'scripted',
        kind: 'a',
        exactly: 7,
        count: 42,
        known: true,
        maybe: null,
        list: [{ n: 42 }],
      });
    });

    test('has no tool to call without a schema', async () => {
      expect((await answer([user('structured')])).text).toContain('no tool');
    });

    test('unstructured: does not call it, also when the CLI insists', async () => {
      const insists = user('[structured-output-enforce] You MUST call the StructuredOutput tool.');
      const { text } = await answer([user('unstructured'), insists], offered);
      expect(text).toBe('I use no tool for it.');
    });
  });

  test('fail: a permanent error', async () => {
    const response = await post([user('fail')]);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      type: 'error',
      error: {
        type: 'invalid_request_error',
        message: expect.stringContaining('prompt is too long'),
      },
    });
  });

  test('overloaded: 529 twice for each session, then text', async () => {
    const statuses = async (session: string) => {
      const { status } = await post([user('overloaded')], { metadata: { user_id: session } });
      return status;
    };
    expect([await statuses('a'), await statuses('b')]).toEqual([529, 529]);
    expect([await statuses('a'), await statuses('a')]).toEqual([529, 200]);
    expect(await statuses('b')).toBe(529);
  });

  test('midfail: the socket dies in mid-sentence, and the second request is refused', async () => {
    const response = await post([user('midfail')]);
    await expect(response.text()).rejects.toThrow('terminated');
    expect((await post([user('midfail')])).status).toBe(400);
  });

  test('midfail once: the second request is answered', async () => {
    await expect((await post([user('midfail once')])).text()).rejects.toThrow('terminated');
    expect((await answer([user('midfail once')])).text).toBe('This sentence is complete.');
  });

  test('refuse and maxtokens: their stop reasons, also when the CLI asks to go on', async () => {
    expect(stopReason(await ask([user('refuse')]))).toBe('refusal');
    const goOn = user('Output token limit hit. Resume directly.');
    expect(stopReason(await ask([user('maxtokens'), goOn]))).toBe('max_tokens');
  });

  test('agent reading: two calls at once, then a text', async () => {
    const events = await ask([user('agent reading')]);
    const starts = events.filter((event) => event.content_block?.type === 'tool_use');
    expect(starts.map((event) => event.content_block?.name)).toEqual(['Agent', 'Agent']);
    const call = await answer([user('agent reading')]);
    expect(call.input).toMatchObject({ description: 'Check them', run_in_background: false });
    const { text } = await answer([user('agent reading'), toolResult('read')]);
    expect(text).toBe('Both have read the notes.');
  });

  test('agent: a call, a text while it works, a text when it has reported', async () => {
    const call = await answer([user('agent slow 0.1')]);
    expect(call).toMatchObject({ name: 'Agent', input: { prompt: '[[sub]]' } });
    expect((await answer([user('[[sub]]')])).text).toBe('There are two notes.');

    const launched = [user('agent slow 0.1'), toolResult('launched')];
    expect((await answer(launched)).text).toBe('This answer took 0.1 seconds.');
    const notice = '<task-notification>completed</task-notification>';
    for (const words of [notice, `<system-reminder>${notice}</system-reminder>`]) {
      const { text } = await answer([...launched, user(words)]);
      expect(text).toContain('The agent has reported');
    }
  });
});

test('a client that leaves does not keep the model busy', async () => {
  const leaving = new AbortController();
  const response = await fetch(`${model.url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify({ stream: true, tools, messages: [user('long 500000000')] }),
    signal: leaving.signal,
  });
  await response.body?.getReader().read();
  leaving.abort();
  expect(joined(await ask([user('tick 1 0')]))).toBe('tick 1 ');
});

test('close ends the open answers, and may be called twice', async () => {
  const response = await post([user('slow 60')]);
  const ended = expect(response.text()).rejects.toThrow('terminated');
  await Promise.all([model.close(), model.close()]);
  await ended;
  await expect(fetch(model.url)).rejects.toThrow('fetch failed');
});
