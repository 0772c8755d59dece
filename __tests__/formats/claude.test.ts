import { ClaudeStreamError, errorCodes, statusOf } from '../../lib/errors.js';
import { claude } from '../../lib/formats/claude.js';
import type { Notice } from '../../lib/formats/format.js';
import { crash, type Ending, interruption, startFailure, timeout } from '../../lib/outcome.js';
import { collect, contextOf, encode, init, outcomeOf, result, success } from './support.js';

const refused: Ending = { status: 'error', code: 'refused', message: 'I would rather not.' };
const crashed = outcomeOf(crash('exited with code 1: /root/secret'), {
  stderrTail: '/root/secret',
});
const exposing = contextOf({ exposeErrors: true });

/** The event of one line of the CLI. */
function eventOf(line: string) {
  const events: { data: string; event: string | undefined }[] = [];
  const encoder = claude.encoder(contextOf(), (data, event) => events.push({ data, event }));
  encoder.message(JSON.parse(line), line);
  expect(events).toHaveLength(1);
  return events[0];
}

const outcomeShown = (...run: Parameters<typeof encode>) => {
  const last = encode(...run).at(-1);
  expect(last?.event).toBe('outcome');
  return JSON.parse(last?.data ?? '');
};

describe('an event', () => {
  it('carries the line as the CLI wrote it, under the type of its message', () => {
    const line = '{ "b":1.50, "type":"system", "a":"\\u00e4" }';
    expect(eventOf(line)).toEqual({ data: line, event: 'system' });
  });

  it('is one line: line separators are escaped, and the message is the same', () => {
    const line = '{"type":"user","text":"a\u2028b\u2029c\u0085d\\r\\n"}';
    const event = eventOf(line);

    expect(event?.data).toBe('{"type":"user","text":"a\\u2028b\\u2029c\\u0085d\\r\\n"}');
    expect(JSON.parse(event?.data ?? '')).toEqual(JSON.parse(line));
  });

  it('is one line when a carriage return stands between the tokens', () => {
    expect(eventOf('{"type":"user",\r"a":1}\r')).toEqual({
      data: '{"type":"user","a":1}',
      event: 'user',
    });
  });

  it('passes an unknown type on under its name', () => {
    expect(eventOf('{"type":"brand_new.thing-2"}')?.event).toBe('brand_new.thing-2');
  });

  it.each([
    ['error', 'an EventSource fires it for lost connections'],
    ['outcome', 'it is the last event of every run'],
    ['queue', 'it is the position of a run that waits'],
    ['gap', 'it is a notice'],
    ['failure', 'it is a notice'],
    ['', 'a name may not be empty'],
    ['two words', 'a name is one word'],
    ['a\nb', 'it would inject a field'],
    ['x'.repeat(65), 'it is too long'],
  ])('of the type %j has no name: %s', (type) => {
    expect(eventOf(JSON.stringify({ type }))?.event).toBeUndefined();
  });
});

describe('a run that waits', () => {
  it('has its position as an event', () => {
    const events: unknown[] = [];
    const encoder = claude.encoder(contextOf(), (data, event) => events.push([event, data]));
    for (const position of [2, 1, 0]) encoder.waiting(position);
    expect(events).toEqual([
      ['queue', '{"position":2}'],
      ['queue', '{"position":1}'],
      ['queue', '{"position":0}'],
    ]);
  });
});

describe('the last event', () => {
  it('is the outcome, also when nothing was said', () => {
    expect(outcomeShown(claude, [])).toMatchObject({ runId: 'run', status: 'success' });
  });

  it.each([
    ['an error', refused],
    ['an interruption', interruption('disconnected')],
    ['a timeout', timeout('idle')],
    ['a crash', crash('detail')],
  ])('says truthfully that the run ended with %s', (_, ending) => {
    const { status, code, message } = { code: undefined, message: undefined, ...ending };
    expect(outcomeShown(claude, [init], outcomeOf(ending))).toMatchObject({
      status,
      code,
      message,
    });
  });

  it('shows nothing of stderr', () => {
    const shown = outcomeShown(claude, [], crashed);
    expect(shown).not.toHaveProperty('stderrTail');
    expect(shown).not.toHaveProperty('detail');
    expect(JSON.stringify(shown)).not.toContain('secret');
  });

  it('shows why a process could not be started only with exposeErrors', () => {
    const error = new ClaudeStreamError('cwd_not_found', 'There is no /root/secret.');
    const outcome = outcomeOf(startFailure(error));
    expect(JSON.stringify(outcomeShown(claude, [], outcome))).not.toContain('secret');
    expect(outcomeShown(claude, [], outcome, exposing)).toMatchObject({
      code: 'cwd_not_found',
      detail: 'There is no /root/secret.',
    });
  });

  it('shows stderr with exposeErrors', () => {
    expect(outcomeShown(claude, [], crashed, exposing)).toMatchObject({
      stderrTail: '/root/secret',
      detail: 'exited with code 1: /root/secret',
    });
  });

  it('is one line', () => {
    const outcome = outcomeOf({ status: 'success', result: 'a\u2028b\nc', stopReason: undefined });
    const data = encode(claude, [], outcome).at(-1)?.data ?? '';

    expect(data).not.toMatch(/[\n\u2028]/);
    expect(JSON.parse(data).result).toBe('a\u2028b\nc');
  });
});

describe('not streamed', () => {
  it('the answer is the last result as it came, and the outcome', () => {
    const last = result('Second', { total_cost_usd: 0.5 });
    const { status, body } = collect(claude, [init, result('First'), last]);

    expect(status).toBe(200);
    expect(body).toMatchObject({ result: last, outcome: { status: 'success', runId: 'run' } });
    expect(body).not.toHaveProperty('outcome.stderrTail');
  });

  it('the answer of a run without a result has null for it', () => {
    expect(collect(claude, [], success).body).toHaveProperty('result', null);
  });

  it('an error has its status, its code and its message', () => {
    const { status, body } = collect(claude, [init], outcomeOf(refused));

    expect(status).toBe(statusOf('refused'));
    expect(body).toMatchObject({
      error: { code: 'refused', message: 'I would rather not.' },
      outcome: { status: 'error' },
    });
  });

  it('an error shows stderr only with exposeErrors', () => {
    expect(JSON.stringify(collect(claude, [], crashed).body)).not.toContain('secret');
    expect(collect(claude, [], crashed, exposing).body).toMatchObject({
      error: { message: expect.stringContaining('/root/secret') },
      outcome: { stderrTail: '/root/secret' },
    });
  });
});

describe('a notice', () => {
  const said = (notice: Notice) => {
    const events: [event: string | undefined, data: unknown][] = [];
    const goesOn = claude.notice(notice, (data, event) => {
      expect(data).not.toMatch(/[\r\n\u2028]/);
      events.push([event, JSON.parse(data)]);
    });
    return { events, goesOn };
  };

  it('of a gap says what is missing, and the stream goes on', () => {
    const failure = { code: 'events_lost', message: 'Some\u2028are lost.' } as const;
    expect(said({ kind: 'gap', failure, first: 3, last: 7 })).toEqual({
      events: [['gap', { ...failure, first: 3, last: 7 }]],
      goesOn: true,
    });
  });

  it('of a lost run is its outcome: nothing follows', () => {
    const failure = { code: 'owner_lost', message: 'It is gone.' } as const;
    expect(said({ kind: 'lost', failure, runId: 'run' })).toEqual({
      events: [['outcome', { status: 'crashed', ...failure, runId: 'run' }]],
      goesOn: false,
    });
  });

  it('of events that cannot be had is no outcome, since the run goes on', () => {
    const failure = { code: 'store_unavailable', message: 'Not now.' } as const;
    expect(said({ kind: 'unavailable', failure })).toEqual({
      events: [['failure', failure]],
      goesOn: false,
    });
  });
});

describe('the rest of the contract', () => {
  it('reads a request, streamed unless it says otherwise', () => {
    expect(claude.read({ prompt: 'Hi', effort: 'low', model: 'opus', user: 'ann' }, {})).toEqual({
      turn: { content: 'Hi', effort: 'low', model: 'opus', session: undefined },
      stream: true,
      includeUsage: true,
      modelName: 'opus',
      user: 'ann',
      conversation: undefined,
      background: false,
    });
    expect(claude.read({ prompt: 'Hi', stream: false }, {}).stream).toBe(false);
    expect(claude.read({ prompt: 'Hi', stream: null }, {}).stream).toBe(true);
  });

  it('reads a conversation', () => {
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'Hello!' },
      { role: 'user', content: 'And now?' },
    ];
    expect(claude.read({ messages }, {}).conversation).toMatchObject({
      answer: 'Hello!',
      content: 'And now?',
    });
  });

  it('leaves an earlier answer as it is: nothing was shown beside it', () => {
    const content = '[Starting Claude Code...]\n<details type="reasoning">\n</details>';
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content },
      { role: 'user', content: 'And now?' },
    ];
    expect(claude.read({ messages }, {}).conversation?.answer).toBe(content);
  });

  it('takes nothing for a request of Open WebUI for itself: that one speaks openai', () => {
    const messages = [{ role: 'user', content: '### Task:\nGenerate a concise, 3-5 word title' }];
    expect(claude.read({ messages }, { 'x-openwebui-task': 'title' }).background).toBe(false);
  });

  it('refuses a "stream" that is no boolean', () => {
    expect(() => claude.read({ prompt: 'Hi', stream: 'no' }, {})).toThrow(
      '"stream" must be true or false.',
    );
  });

  it('has an error body of its own, without the field: the message names it', () => {
    const failure = { code: 'invalid_messages', message: 'No.', field: 'messages' } as const;
    expect(claude.errorResponse(failure)).toEqual({
      status: 400,
      body: { error: { code: 'invalid_messages', message: 'No.' } },
    });
  });

  it.each(errorCodes)('answers %s with its own status', (code) => {
    expect(claude.errorResponse({ code, message: 'No.' }).status).toBe(statusOf(code));
  });
});
