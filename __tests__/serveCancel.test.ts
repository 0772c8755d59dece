import express from 'express';
import request from 'supertest';
import { type ClaudeStreamOptions, memoryStore } from '../lib';
import {
  allGone,
  allKept,
  type ChatServer,
  isAlive,
  open,
  outcomeOf,
  post,
  reading,
  send,
  startChatServer,
  storeFailingAt,
} from './chatServer';
import { gone } from './claude/fixtureProcess';

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
  const server = await startChatServer(name, { store: memoryStore(), ...options }, env);
  servers.push(server);
  return server;
}

/** A run that is going on, and its client. */
async function running(name: string, options: ClaudeStreamOptions = {}) {
  const server = await start(name, options);
  const response = await open(server.url, { prompt: 'hi' });
  const runId = String(response.headers['claude-run-id']);
  const client = reading(response);
  await client.until((text) => text.includes('event: stream_event'));
  return { server, runId, url: `${server.url}/${runId}`, response, client };
}

const cancelled = {
  status: 'interrupted',
  code: 'cancelled',
  message: 'The run was cancelled.',
  reason: 'cancelled',
};

describe('a run that is cancelled', () => {
  it.each([true, false])('ends, and its clients see why (store: %s)', async (hasStore) => {
    const store = hasStore ? memoryStore() : undefined;
    const { server, runId, url, client } = await running('silent', { store });
    const { status, headers, text } = await send('DELETE', url);
    expect([status, headers.get('claude-run-id')]).toEqual([200, runId]);
    expect(headers.get('content-type')).toContain('application/json');
    expect(JSON.parse(text)).toMatchObject({ runId, ...cancelled });
    expect(outcomeOf(await client.end())).toMatchObject({ runId, ...cancelled });
    expect(server.outcomes).toHaveLength(1);
    await allKept(server);
    expect(server.pids.filter(isAlive)).toEqual([]);
  });

  it('again is answered the same, while its process goes and later', async () => {
    const { server, url } = await running('silent');
    const together = await Promise.all([1, 2, 3].map(() => send('DELETE', url)));
    await allKept(server);
    const later = await send('DELETE', url);
    for (const { status, text } of [...together, later]) {
      expect([status, JSON.parse(text)]).toEqual([200, JSON.parse(later.text)]);
    }
    expect(JSON.parse(later.text)).toMatchObject(cancelled);
    expect(server.outcomes).toHaveLength(1);
  });

  it('leaves nothing, however stubborn it is', async () => {
    const { server, url, client } = await running('stubborn');
    const [, tool] = /\[(\d+),(\d+)\]/.exec(await client.until(() => true))?.slice(1) ?? [];
    const { status, text } = await send('DELETE', url);
    expect([status, JSON.parse(text).reason]).toEqual([200, 'cancelled']);
    await allKept(server);
    await gone(Number(tool));
    expect(server.pids.filter(isAlive)).toEqual([]);
  });

  it('has what only the operator may see left out, and the answer, which its events have', async () => {
    const { url } = await running('silent');
    const body = JSON.parse((await send('DELETE', url)).text);
    for (const field of ['stderrTail', 'detail', 'result', 'structuredOutput']) {
      expect(body).not.toHaveProperty(field);
    }
  });

  it('can be replayed to its end', async () => {
    const { server, url } = await running('silent');
    await send('DELETE', url);
    await allKept(server);
    expect(outcomeOf((await send('GET', url)).text)).toMatchObject(cancelled);
  });
});

describe('too late', () => {
  it('is answered with how the run ended', async () => {
    const server = await start('ticks', {}, { TICKS: '1', INTERVAL: '1' });
    const { headers } = await post(server.url, { prompt: 'hi' });
    await allKept(server);
    const { status, text } = await send('DELETE', `${server.url}/${headers.get('claude-run-id')}`);
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ status: 'success', stopReason: 'end_turn', turns: 1 });
    expect(JSON.parse(text)).not.toHaveProperty('result');
  });

  it('is 404 without a store', async () => {
    const server = await start('ticks', { store: undefined }, { TICKS: '1', INTERVAL: '1' });
    const { headers } = await post(server.url, { prompt: 'hi' });
    await allKept(server);
    const { status } = await send('DELETE', `${server.url}/${headers.get('claude-run-id')}`);
    expect(status).toBe(404);
  });
});

describe('a run of another instance', () => {
  it('is stopped there, and answered with its outcome', async () => {
    const store = memoryStore();
    const { server, runId, client } = await running('silent', { store });
    const other = await start('silent', { store });
    const { status, text } = await send('DELETE', `${other.url}/${runId}`);
    expect([status, JSON.parse(text)]).toMatchObject([200, { runId, ...cancelled }]);
    expect(outcomeOf(await client.end())).toMatchObject(cancelled);
    expect(await server.nextOutcome()).toMatchObject(cancelled);
    expect(other.pids).toEqual([]);
  });

  it('cannot be stopped while the store fails', async () => {
    const store = memoryStore();
    const { runId } = await running('silent', { store });
    const other = await start('silent', { store: storeFailingAt('cancel', store) });
    const { status, headers, text } = await send('DELETE', `${other.url}/${runId}`);
    expect([status, JSON.parse(text).error.code]).toEqual([503, 'store_unavailable']);
    expect(headers.get('retry-after')).toBe('5');
    expect(text).not.toContain('secret');
  });
});

describe('what cannot be cancelled', () => {
  it('is a run that nobody knows', async () => {
    const server = await start('silent');
    const { status, text } = await send('DELETE', `${server.url}/unknown`);
    expect([status, JSON.parse(text).error.code]).toEqual([404, 'run_not_found']);
  });

  it('is told to the operator when the route has no parameter', async () => {
    const server = await start('silent');
    const app = express().delete('/cancel', server.handler.cancel);
    const { body } = await request(app).delete('/cancel').expect(500);
    expect(body.error.code).toBe('invalid_option');
    expect(server.errors[0]?.message).toContain("app.delete('/chat/:run'");
  });
});
