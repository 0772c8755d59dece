import type { Notice } from '../../../lib/formats/format.js';
import { openai } from '../../../lib/formats/openai/openai.js';

describe('a notice', () => {
  it.each<[Notice, string]>([
    [
      {
        kind: 'gap',
        failure: { code: 'events_lost', message: 'Some are lost.' },
        first: 3,
        last: 7,
      },
      'invalid_request_error',
    ],
    [
      { kind: 'lost', failure: { code: 'owner_lost', message: 'It is gone.' }, runId: 'run' },
      'server_error',
    ],
    [
      { kind: 'unavailable', failure: { code: 'store_unavailable', message: 'Not now.' } },
      'server_error',
    ],
  ])('ends the answer, of which a part would be missing: $kind', (notice, type) => {
    const events: [data: string, event: string | undefined][] = [];
    const goesOn = openai.notice(notice, (data, event) => events.push([data, event]));

    expect(goesOn).toBe(false);
    expect(events).toEqual([
      [expect.any(String), undefined],
      ['[DONE]', undefined],
    ]);
    const { code, message } = notice.failure;
    expect(JSON.parse(events[0]?.[0] ?? '')).toEqual({
      error: { message, type, param: null, code },
    });
  });

  it('is one line', () => {
    const events: string[] = [];
    const failure = { code: 'store_unavailable', message: 'a\u2028b\nc' } as const;
    openai.notice({ kind: 'unavailable', failure }, (data) => events.push(data));
    expect(events[0]).not.toMatch(/[\n\u2028]/);
  });
});
