import type { Request } from 'express';
import { recogniseConversation } from '../lib/recogniseConversation.js';

/** What a conversation must share with a request that goes on with it. */
async function scopeOf(headers: Record<string, string>): Promise<string> {
  let scope: unknown;
  const service = {
    settings: { sessions: undefined },
    conversations: {
      turn: (shared: unknown) => {
        scope = shared;
      },
    },
  };
  const planned = { chat: { turn: {}, conversation: {} }, commandOptions: {} };
  await recogniseConversation(service as never, planned as never, { headers } as Request);
  return JSON.stringify(scope);
}

it.each(['authorization', 'x-api-key', 'x-openwebui-user-id'])(
  'a conversation belongs to who has held it, by the header %s',
  async (header) => {
    const ada = await scopeOf({ [header]: 'ada' });
    expect(await scopeOf({ [header]: 'ada' })).toBe(ada);
    expect(await scopeOf({ [header]: 'bob' })).not.toBe(ada);
    expect(await scopeOf({})).not.toBe(ada);
  },
);

it('keys are not kept as they are', async () => {
  const scope = await scopeOf({ authorization: 'Bearer secret-a', 'x-api-key': 'secret-b' });
  expect(scope).not.toContain('secret');
});
