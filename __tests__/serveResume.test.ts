import type { Request } from 'express';
import { type ClaudeStreamOptions, memoryStore } from '../lib';
import {
  allGone,
  allKept,
  type ChatServer,
  open,
  post,
  reading,
  send,
  startChatServer,
  storeFailingAt,
} from './chatServer';

const servers: ChatServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.close();
    await allGone(server.pids, 0);
  }
});

async function start(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
): Promise<ChatServer> {
  const all = { format: 'ui-message', store: memoryStore(), ...options } as const;
  const server = await startChatServer(name, all, env);
  servers.push(server);
  return server;
}

const asking = (id: string) => ({
  id,
  messages: [{ id: 'u', role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
  trigger: 'submit-message',
});

/** Where the AI SDK asks for what is going on in a chat. */
const streamOf = ({ url }: ChatServer, chat: string) => `${url}/${encodeURIComponent(chat)}/stream`;

/** A chat in which an answer is being given, and a client that has begun to read it. */
async function answering(options: ClaudeStreamOptions = {}, silence = 60_000) {
  const server = await start('silent', options, { SILENCE: String(silence) });
  const chat = 'a/b c';
  const response = await open(server.url, asking(chat));
  const client = reading(response);
  await client.until((text) => text.includes('start-step'));
  return { server, response, client, url: streamOf(server, chat) };
}

const chunksIn = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)));

describe('a chat in which an answer is being given', () => {
  it('is resumed from the beginning of the answer, with the same bytes', async () => {
    const { response, client, url } = await answering({}, 500);
    const resumed = send('GET', url);
    const [{ status, headers, text }, whole] = await Promise.all([resumed, client.end()]);
    expect(status).toBe(200);
    expect(headers.get('x-vercel-ai-ui-message-stream')).toBe('v1');
    expect(response.headers['x-vercel-ai-ui-message-stream']).toBe('v1');
    expect(chunksIn(text)).toEqual(chunksIn(whole));
    expect(chunksIn(text).at(-1)).toMatchObject({ type: 'finish' });
  });

  it('goes on when its client has left', async () => {
    const { response, url } = await answering({}, 500);
    response.destroy();
    const { text } = await send('GET', url);
    expect(chunksIn(text).at(-1)).toMatchObject({ type: 'finish' });
  });

  it('is resumed only by whoever may see it', async () => {
    const authorize = ({ headers }: Request) => headers['x-user'] === 'ada';
    const { url } = await answering({ authorize });
    expect((await send('GET', url)).status).toBe(204);
    const headers = { 'x-user': 'ada' };
    const leaving = new AbortController();
    const { status } = await fetch(url, { headers, signal: leaving.signal });
    expect(status).toBe(200);
    leaving.abort();
  });

  it('is resumed whatever else has the same name: of another user, shorter, or not streamed', async () => {
    const authorize: ClaudeStreamOptions['authorize'] = ({ headers }, { user }) =>
      headers['x-user'] === user;
    const request = ({ headers }: Request) => ({ user: String(headers['x-user']) });
    const options = { authorize, request, store: memoryStore() };
    const server = await start('silent', options, { SILENCE: '60000' });
    const quick = await start('silent', options, { SILENCE: '1' });
    const begin = async (user: string) => {
      const leaving = new AbortController();
      const response = await fetch(server.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-user': user },
        body: JSON.stringify(asking('main')),
        signal: leaving.signal,
      });
      leaving.abort();
      return response.headers.get('claude-run-id');
    };
    const resumed = async (instance: ChatServer, user: string) => {
      const leaving = new AbortController();
      const response = await fetch(streamOf(instance, 'main'), {
        headers: { 'x-user': user },
        signal: leaving.signal,
      });
      leaving.abort();
      return response.headers.get('claude-run-id');
    };
    const ada = await begin('ada');
    const bob = await begin('bob');
    await post(quick.url, asking('main'), { 'x-user': 'ada' });
    await post(quick.url, { ...asking('main'), stream: false }, { 'x-user': 'ada' });
    for (const instance of [server, quick]) {
      expect(await resumed(instance, 'ada')).toBe(ada);
      expect(await resumed(instance, 'bob')).toBe(bob);
      expect(await resumed(instance, 'eve')).toBeNull();
    }
  });

  it('is resumed on its own instance whatever becomes of the store of the names', async () => {
    const { sessions, runs } = memoryStore();
    const failing = { ...sessions, set: () => Promise.reject(new Error('no')) };
    const { response, url } = await answering({ store: { sessions: failing, runs } }, 500);
    const resumed = await send('GET', url);
    expect(resumed.headers.get('claude-run-id')).toBe(response.headers['claude-run-id']);
  });

  it('is cancelled by the run that its message names', async () => {
    const { server, client, url } = await answering();
    const { runId } = chunksIn(await client.until(() => true))[0].messageMetadata;
    expect((await send('DELETE', `${server.url}/${runId}`)).status).toBe(200);
    expect(chunksIn(await client.end()).at(-1)).toEqual({ type: 'abort' });
    expect((await send('GET', url)).status).toBe(204);
  });
});

it('a run is named before Claude has spoken, so that it can be stopped', async () => {
  const server = await start('mute');
  const client = reading(await open(server.url, asking('chat')));
  const begun = await client.until((text) => text.includes('"start"'));
  const { runId } = chunksIn(begun)[0].messageMetadata;
  expect((await send('DELETE', `${server.url}/${runId}`)).status).toBe(200);
  expect(chunksIn(await client.end()).at(-1)).toEqual({ type: 'abort' });
});

describe('there is nothing to resume', () => {
  it('in a chat that nobody knows', async () => {
    const server = await start('silent');
    const { status, text } = await send('GET', streamOf(server, 'nobody'));
    expect([status, text]).toEqual([204, '']);
  });

  it('once the answer is complete', async () => {
    const server = await start('silent', {}, { SILENCE: '1' });
    await post(server.url, asking('chat'));
    await allKept(server);
    expect((await send('GET', streamOf(server, 'chat'))).status).toBe(204);
  });

  it('once the answer has expired', async () => {
    const server = await start('silent', { store: memoryStore({ ttl: 1 }) }, { SILENCE: '1' });
    await post(server.url, asking('chat'));
    await allKept(server);
    expect((await send('GET', streamOf(server, 'chat'))).status).toBe(204);
  });

  it('without a store', async () => {
    const { url } = await answering({ store: undefined });
    expect((await send('GET', url)).status).toBe(204);
  });

  it('where the runs of a chat cannot be found out', async () => {
    const { sessions, runs } = memoryStore();
    const failing = { ...sessions, get: () => Promise.reject(new Error('no')) };
    await answering({ store: { sessions, runs } });
    const other = await start('silent', { store: { sessions: failing, runs } });
    expect((await send('GET', streamOf(other, 'a/b c'))).status).toBe(204);
  });
});

describe('what cannot be resumed', () => {
  it('because the store of the runs fails is 503', async () => {
    const store = memoryStore();
    await answering({ store });
    const other = await start('silent', { store: storeFailingAt('find', store) });
    expect((await send('GET', streamOf(other, 'a/b c'))).status).toBe(503);
    expect(other.errors).toMatchObject([{ code: 'store_unavailable' }]);
  });

  it('in another format is a mistake of the application', async () => {
    const server = await start('silent', { format: 'anthropic' });
    expect((await send('GET', streamOf(server, 'chat'))).status).toBe(500);
    expect(server.errors).toMatchObject([
      { code: 'invalid_option', message: expect.stringContaining('"ui-message"') },
    ]);
  });

  it('for the headers alone is 405', async () => {
    const { url } = await answering();
    expect((await send('HEAD', url)).status).toBe(405);
  });
});
