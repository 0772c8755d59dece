import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import http from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import express from 'express';
import request from 'supertest';
import {
  type ClaudeStreamOptions,
  memoryStore,
  type RunRecord,
  type RunStore,
  type Store,
} from '../lib';
import {
  allGone,
  allKept,
  type ChatServer,
  eventsOf,
  isAlive,
  open,
  outcomeOf,
  post,
  reading,
  send,
  startChatServer,
  storeFailingAt,
  textOf,
} from './chatServer';

const servers: ChatServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    await server.close();
    await allGone(server.pids, 0);
  }
});

const hi = { prompt: 'hi' };

/** A server whose runs are kept, unless the options say otherwise. */
async function start(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
): Promise<ChatServer> {
  const server = await startChatServer(name, { store: memoryStore(), ...options }, env);
  servers.push(server);
  return server;
}

const quick = { TICKS: '3', INTERVAL: '1' };

/** A run that is over and kept. */
async function finished(options: ClaudeStreamOptions = {}, body: object = hi) {
  const server = await start('ticks', options, quick);
  const { headers, text } = await post(server.url, body);
  await allKept(server);
  const runId = headers.get('claude-run-id') ?? '';
  return { server, runId, url: `${server.url}/${runId}`, text, events: eventsOf(text) };
}

/** A run that is going on, of which a first word has come, and its client. */
async function running(
  name: string,
  options: ClaudeStreamOptions = {},
  env: Record<string, string> = {},
  body: object = hi,
) {
  const server = await start(name, options, env);
  const response = await open(server.url, body);
  const runId = String(response.headers['claude-run-id']);
  const client = reading(response);
  await client.until((text) => text.includes('event: stream_event'));
  return { server, runId, url: `${server.url}/${runId}`, response, client };
}

/** Follows a run with GET and hands over the response while it is still coming. */
async function follow(url: string): Promise<http.IncomingMessage> {
  const asked = http.get(url);
  asked.on('error', () => undefined);
  const [response] = (await once(asked, 'response')) as [http.IncomingMessage];
  response.on('error', () => undefined);
  return response;
}

const codeOf = (text: string): unknown => JSON.parse(text).error.code;

describe('the replay of a run that is over', () => {
  it('has every event, with the same bytes, and starts no process', async () => {
    const { server, url, runId, events } = await finished();
    const { status, headers, text } = await send('GET', url);
    expect(status).toBe(200);
    expect(Object.fromEntries(headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'claude-run-id': runId,
    });
    expect(text.startsWith(`: keep-alive\n\nretry: 1000\nid: ${runId}:0\n\n`)).toBe(true);
    expect(eventsOf(text).filter(({ id }) => id !== '')).toEqual(
      events.filter(({ id }) => id !== ''),
    );
    expect(server.pids).toHaveLength(1);
  });

  it.each<[string, (runId: string) => [query: string, headers: Record<string, string>]]>([
    ['?after=2', () => ['?after=2', {}]],
    ['?after= of an event id', (runId) => [`?after=${runId}:2`, {}]],
    ['Last-Event-ID', (runId) => ['', { 'last-event-id': `${runId}:2` }]],
    [
      'Last-Event-ID, which wins over after',
      (runId) => ['?after=4', { 'last-event-id': `${runId}:2` }],
    ],
    [
      'Last-Event-ID, which wins over an after that is wrong',
      (runId) => ['?after=x', { 'last-event-id': `${runId}:2` }],
    ],
  ])('goes on after the event that the client had last: %s', async (_, position) => {
    const { runId, url, events } = await finished();
    const [query, headers] = position(runId);
    const { text } = await send('GET', url + query, headers);
    expect(eventsOf(text).filter(({ id }) => id !== '')).toEqual(
      events.filter(({ id }) => Number(id.split(':')[1]) > 2),
    );
  });

  it('is 204 after its last event: an EventSource does not come back then', async () => {
    const { runId, url, events } = await finished();
    const last = events.at(-1)?.id ?? '';
    const { status, headers, text } = await send('GET', url, { 'last-event-id': last });
    expect([status, text, headers.get('claude-run-id')]).toEqual([204, '', runId]);
  });

  it.each<[string, Record<string, string>]>([
    ['?after=', {}],
    ['?after=-1', {}],
    ['?after=x', {}],
    ['?after=1.5', {}],
    ['?after=1&after=2', {}],
    ['?after=1234567890123456', {}],
    ['', { 'last-event-id': '3' }],
    ['', { 'last-event-id': 'another-run:3' }],
    ['', { 'last-event-id': 'nonsense' }],
  ])('is 400 for a position that is none: "%s" %j', async (query, headers) => {
    const { server, url } = await finished();
    const { status, text } = await send('GET', url + query, headers);
    expect([status, codeOf(text)]).toEqual([400, 'invalid_request']);
    expect(server.errors.map(({ code }) => code)).toEqual(['invalid_request']);
  });

  it('is 400 for an event id of a number that is none', async () => {
    const { runId, url } = await finished();
    for (const number of ['', 'x', '-1', '1234567890123456']) {
      const { status } = await send('GET', url, { 'last-event-id': `${runId}:${number}` });
      expect([number, status]).toEqual([number, 400]);
    }
  });

  it('is 410 when its events are not kept any more', async () => {
    const { server, url } = await finished({ store: memoryStore({ ttl: 1 }) });
    let answer = await send('GET', url);
    while (answer.status !== 410) answer = await send('GET', url);
    expect(codeOf(answer.text)).toBe('run_expired');
    expect(server.pids).toHaveLength(1);
  });

  it('has its error in the shape of the format', async () => {
    const server = await start('ticks', { format: 'openai' });
    const { status, text } = await send('GET', `${server.url}/unknown`);
    expect(status).toBe(404);
    expect(JSON.parse(text).error).toEqual({
      message: expect.any(String),
      type: 'invalid_request_error',
      param: null,
      code: 'run_not_found',
    });
  });
});

describe('the replay of a run that is going on', () => {
  it('has what was and what comes, as its first client does', async () => {
    const { server, url, client } = await running('ticks', {}, { TICKS: '20', INTERVAL: '10' });
    const replayed = await send('GET', url);
    const [first, second] = [eventsOf(await client.end()), eventsOf(replayed.text)];
    expect(second).toEqual(first);
    expect(second.at(-1)?.event).toBe('outcome');
    expect(server.pids).toHaveLength(1);
  });

  it('is 400 after an event that has not been yet', async () => {
    const { url } = await running('silent');
    const { status, text } = await send('GET', `${url}?after=1000`);
    expect([status, codeOf(text)]).toEqual([400, 'invalid_request']);
    expect(JSON.parse(text).error.message).toContain('its last is ');
  });

  it('loses nothing of a run that is longer than what is held of it', async () => {
    const options = { maxLogBytes: 200_000, highWaterMark: 1_024 };
    const { url, client } = await running('flood', options, { BYTES: '2000000' });
    const { text } = await send('GET', url);
    const ids = eventsOf(text).flatMap(({ id }) => (id === '' ? [] : [Number(id.split(':')[1])]));
    expect(ids).toEqual(ids.map((_, index) => index + 1));
    expect(textOf(text)).toBe(textOf(await client.end()));
    expect(outcomeOf(text).status).toBe('success');
  });

  it('says how the run ended when it was stopped meanwhile', async () => {
    const { server, url } = await running('silent');
    const replay = reading(await follow(url));
    await replay.until((text) => text.includes('event: stream_event'));
    await server.handler.close();
    expect(outcomeOf(await replay.end())).toMatchObject({ code: 'shutting_down' });
  });
});

describe('the replay of a run of another instance', () => {
  async function elsewhere(env: Record<string, string>, options: ClaudeStreamOptions = {}) {
    const store = memoryStore();
    const one = await running('silent', { store, ...options }, env);
    const two = await start('silent', { store });
    return { ...one, two, url: `${two.url}/${one.runId}` };
  }

  it('has what was and what comes', async () => {
    const { client, two, url } = await elsewhere({ SILENCE: '200' });
    const { status, text } = await send('GET', url);
    expect(status).toBe(200);
    expect(eventsOf(text)).toEqual(eventsOf(await client.end()));
    expect(two.pids).toEqual([]);
  });

  it('ends without an outcome when this instance is closed: the client may ask another one', async () => {
    const { client, server, two, url } = await elsewhere({});
    const replay = reading(await follow(url));
    const text = await replay.until((so) => so.includes('event: stream_event'));
    await two.handler.close();
    const events = eventsOf(await replay.end());
    expect(events).toEqual(eventsOf(text));
    expect(server.outcomes).toEqual([]);
    await server.handler.close();
    await client.end();
  });

  it('is listed there, as a run of another instance', async () => {
    const { runId, server, two } = await elsewhere({}, {});
    const [info] = await two.handler.runs();
    expect(info).toMatchObject({ runId, isLocal: false, pid: undefined, clients: undefined });
    expect(info?.events).toBeGreaterThan(0);
    expect(await server.handler.runs()).toMatchObject([{ runId, isLocal: true }]);
  });
});

describe('a replay that cannot be', () => {
  it('of an unknown run is 404', async () => {
    const server = await start('ticks');
    const { status, text } = await send('GET', `${server.url}/unknown`);
    expect([status, codeOf(text)]).toEqual([404, 'run_not_found']);
    expect(server.pids).toEqual([]);
  });

  it('without a store is 404, be the run unknown or going on', async () => {
    const { server, url } = await running('silent', { store: undefined });
    for (const one of [`${server.url}/unknown`, url]) {
      const { status, text } = await send('GET', one);
      expect([status, codeOf(text)]).toEqual([404, 'run_not_found']);
    }
    expect(server.pids).toHaveLength(1);
  });

  it('for the headers alone is 405', async () => {
    const { url } = await finished();
    const { status, headers, text } = await send('HEAD', url);
    expect([status, headers.get('allow'), text]).toEqual([405, 'GET', '']);
  });

  it('on a route without the parameter tells only the operator', async () => {
    const server = await start('ticks');
    const app = express().get('/replay', server.handler.replay);
    const { body } = await request(app).get('/replay').expect(500);
    expect(body.error).toEqual({
      code: 'invalid_option',
      message: 'The server is not set up correctly.',
    });
    expect(server.errors).toEqual([
      { code: 'invalid_option', message: expect.stringContaining("app.get('/chat/:run'") },
    ]);
  });

  it('because the store fails is 503, and only the operator is told why', async () => {
    const server = await start('ticks', { store: storeFailingAt('find') });
    const { status, headers, text } = await send('GET', `${server.url}/any`);
    expect([status, codeOf(text)]).toEqual([503, 'store_unavailable']);
    expect(headers.get('retry-after')).toBe('5');
    expect(text).not.toContain('secret');
    expect(server.errors[0]?.message).toContain('/secret/place');
  });
});

describe('authorize', () => {
  it('is told whose run it is, and lets only those in for whom it says true', async () => {
    const asked: [path: string, run: RunRecord][] = [];
    const authorize = (req: express.Request, run: RunRecord) => {
      asked.push([req.path, run]);
      return req.headers['x-user'] === run.user;
    };
    const { runId, url } = await finished({ authorize }, { ...hi, user: 'ann' });
    for (const method of ['GET', 'DELETE']) {
      const other = await send(method, url, { 'x-user': 'bob' });
      expect([other.status, codeOf(other.text)]).toEqual([403, 'not_authorized']);
      expect((await send(method, url, { 'x-user': 'ann' })).status).toBe(200);
    }
    expect(asked).toHaveLength(4);
    for (const one of asked) {
      const record = { runId, startedAt: expect.any(Number), user: 'ann' };
      expect(one).toEqual([`/chat/${runId}`, record]);
    }
  });

  it('is asked of a run that is going on', async () => {
    const { url, server } = await running('silent', { authorize: async () => false });
    for (const method of ['GET', 'DELETE']) expect((await send(method, url)).status).toBe(403);
    expect(server.outcomes).toEqual([]);
  });

  it('is asked of a run that has expired', async () => {
    const { url } = await finished({ store: memoryStore({ ttl: 1 }), authorize: () => false });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await send('GET', url)).status).toBe(403);
  });

  it('is not asked for what there is not', async () => {
    const authorize = jest.fn(() => false);
    const server = await start('ticks', { authorize });
    expect((await send('GET', `${server.url}/unknown`)).status).toBe(404);
    expect(authorize).not.toHaveBeenCalled();
  });

  it.each([undefined, 'yes', 1])('has to say true: %j is not enough', async (answer) => {
    const { url } = await finished({ authorize: () => answer as never });
    expect((await send('GET', url)).status).toBe(403);
  });

  it('may throw: its error goes to the error handler of the application', async () => {
    const authorize = () => {
      throw Object.assign(new Error('not today'), { status: 418 });
    };
    const { url, server } = await finished({ authorize });
    for (const method of ['GET', 'DELETE']) expect((await send(method, url)).status).toBe(418);
    expect(server.errors).toEqual([]);
  });

  it('is asked of an EventSource that comes back to the chat itself', async () => {
    const { server, events } = await finished({ authorize: () => false });
    const { status } = await send('GET', server.url, { 'last-event-id': events[1]?.id ?? '' });
    expect(status).toBe(403);
  });
});

describe('an EventSource that comes back to the chat itself', () => {
  it('gets the rest of its answer, and no second one', async () => {
    const { server, runId, events } = await finished();
    const { status, headers, text } = await send('GET', server.url, {
      'last-event-id': `${runId}:2`,
    });
    expect([status, headers.get('claude-run-id')]).toEqual([200, runId]);
    expect(eventsOf(text).filter(({ id }) => id !== '')).toEqual(
      events.filter(({ id }) => Number(id.split(':')[1]) > 2),
    );
    expect(server.pids).toHaveLength(1);
  });

  it.each(['', 'nonsense'])('with the id %j is told to stop', async (id) => {
    const server = await start('ticks');
    const { status } = await send('GET', server.url, { 'last-event-id': id });
    expect([status, server.pids]).toEqual([204, []]);
  });

  it('is told to stop after the last event', async () => {
    const { server, events } = await finished();
    const { status } = await send('GET', server.url, { 'last-event-id': events.at(-1)?.id ?? '' });
    expect(status).toBe(204);
  });

  it('is told that its run is gone', async () => {
    const server = await start('ticks');
    const { status } = await send('GET', server.url, { 'last-event-id': 'unknown:3' });
    expect([status, server.pids]).toEqual([404, []]);
  });
});

describe('the position before the first event', () => {
  it.each([
    [true, /^: keep-alive\n\nretry: 1000\nid: [\w-]{22}:0\n\n(?=event: )/],
    [false, /^: keep-alive\n\n(?=event: )/],
  ])('is told to those who can come back (store: %s)', async (hasStore, beginning) => {
    const store = hasStore ? memoryStore() : undefined;
    const server = await start('ticks', { store }, quick);
    const { text } = await post(server.url, hi);
    expect(text).toMatch(beginning);
  });
});

/** A store by which a run can be found elsewhere when `known` settles. */
function storeKnowingAt(known: Promise<unknown>): Store {
  const { sessions, runs } = memoryStore();
  const record: RunStore['record'] = (...args) => ({ ...runs.record(...args), known });
  const get = (target: RunStore, name: keyof RunStore) =>
    name === 'record' ? record : target[name].bind(target);
  return { sessions, runs: new Proxy(runs, { get }) };
}

/** A run that has said something, of which no other instance knows yet. */
async function unknownYet(options: ClaudeStreamOptions = {}) {
  const [known, spoken] = [settleable(), settleable()];
  const store = storeKnowingAt(known.promise);
  const server = await start('silent', { store, onMessage: spoken.settle, ...options });
  const client = ask(server.url);
  await spoken.promise;
  return { server, known, client };
}

/** A client that may leave before it is answered. */
function ask(url: string) {
  const leaving = new AbortController();
  const { signal } = leaving;
  const headers = { 'content-type': 'application/json' };
  const answer = fetch(url, { method: 'POST', headers, body: JSON.stringify(hi), signal });
  let isAnswered = false;
  answer.then(
    () => {
      isAnswered = true;
    },
    () => {},
  );
  return { answer, isAnswered: () => isAnswered, leave: () => leaving.abort() };
}

function settleable() {
  let settle = () => {};
  const promise = new Promise<void>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
}

describe('the id of a run', () => {
  it('is told once the run can be found on every instance', async () => {
    const { known, client } = await unknownYet();
    await delay(50);
    expect(client.isAnswered()).toBe(false);
    known.settle();
    expect((await client.answer).headers.get('claude-run-id')).toBeTruthy();
    client.leave();
  });

  it('is told once a run that waits can be found on every instance', async () => {
    const { server, known, client } = await unknownYet({ concurrency: 1 });
    const second = ask(server.url);
    await delay(50);
    expect(second.isAnswered()).toBe(false);
    known.settle();
    expect((await second.answer).headers.get('claude-run-id')).toBeTruthy();
    client.leave();
    second.leave();
  });

  it('is told half a second later when the store does not say so', async () => {
    const begun = performance.now();
    const { client } = await unknownYet();
    expect((await client.answer).status).toBe(200);
    expect(performance.now() - begun).toBeGreaterThan(490);
    client.leave();
  });

  it('is told when the store fails to say so', async () => {
    const failure = Promise.reject(new Error('no'));
    failure.catch(() => {});
    const { client } = await unknownYet({ store: storeKnowingAt(failure) });
    expect((await client.answer).status).toBe(200);
    client.leave();
  });

  it('keeps no run whose client has left before', async () => {
    const { server, client } = await unknownYet();
    client.leave();
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });
});

describe('a client that leaves', () => {
  it('does not end a run that is kept', async () => {
    const { server, response } = await running('silent', {}, { SILENCE: '150' });
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({ status: 'success' });
  });

  it('and comes back within the grace finds it going on', async () => {
    const options = { disconnectGrace: 200 };
    const { server, url, response } = await running('silent', options, { SILENCE: '700' });
    response.destroy();
    await once(response, 'close');
    const { text } = await send('GET', url);
    expect(outcomeOf(text).status).toBe('success');
    expect(server.outcomes).toMatchObject([{ status: 'success' }]);
  });

  it('and does not come back has the run stopped after the grace', async () => {
    const { server, url, response } = await running('silent', { disconnectGrace: 100 });
    const left = performance.now();
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({
      status: 'interrupted',
      reason: 'disconnected',
    });
    expect(performance.now() - left).toBeGreaterThan(90);
    await allKept(server);
    expect(outcomeOf((await send('GET', url)).text)).toMatchObject({ reason: 'disconnected' });
  });

  it('again, from the replay, has the run stopped after the grace', async () => {
    const { server, url, response } = await running('silent', { disconnectGrace: 100 });
    const replay = await follow(url);
    response.destroy();
    replay.destroy();
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });

  it('does not end the run for another one that follows it', async () => {
    const options = { disconnectGrace: 50 };
    const { server, url, response } = await running('silent', options, { SILENCE: '400' });
    const replay = reading(await follow(url));
    response.destroy();
    expect(outcomeOf(await replay.end())).toMatchObject({ status: 'success' });
    expect(server.outcomes).toHaveLength(1);
  });

  it("ends the run at once with onDisconnect: 'stop'", async () => {
    const { server, response } = await running('silent', { onDisconnect: 'stop' });
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });

  it('ends the run at once without a store', async () => {
    const { server, response } = await running('silent', { store: undefined });
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });

  it("does not end a run without a store with onDisconnect: 'continue'", async () => {
    const options: ClaudeStreamOptions = { store: undefined, onDisconnect: 'continue' };
    const { server, response } = await running('silent', options, { SILENCE: '150' });
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({ status: 'success' });
  });

  it('by reading nothing counts as one that has left', async () => {
    const options = { stallTimeout: 100, disconnectGrace: 100, maxLogBytes: 100_000 };
    const server = await start('flood', options, { BYTES: '300000000' });
    const response = await open(server.url, hi);
    response.pause();
    expect(await server.nextOutcome()).toMatchObject({ status: 'interrupted', reason: 'stalled' });
    expect(server.errors.map(({ code }) => code)).toEqual(['interrupted']);
    response.destroy();
  });

  it('of which the answer is not streamed ends its run, which nobody could find again', async () => {
    const server = await start('silent');
    const controller = new AbortController();
    const answer = fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...hi, stream: false }),
      signal: controller.signal,
    }).catch(() => 'gone');
    while (server.pids.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    controller.abort();
    expect(await answer).toBe('gone');
    expect(await server.nextOutcome()).toMatchObject({ reason: 'disconnected' });
  });
});

describe('a run that is not streamed', () => {
  it('can be followed while it goes on, and its answer is one body', async () => {
    let started: (runId: string) => void = () => undefined;
    const id = new Promise<string>((resolve) => {
      started = resolve;
    });
    const server = await start(
      'silent',
      { onStart: ({ runId }) => started(runId) },
      {
        SILENCE: '150',
      },
    );
    const answer = post(server.url, { ...hi, stream: false });
    const { status, text } = await send('GET', `${server.url}/${await id}`);
    expect(status).toBe(200);
    expect(textOf(text)).toBe('last word');
    expect(outcomeOf(text).status).toBe('success');
    expect(JSON.parse((await answer).text)).toMatchObject({
      result: { result: 'done' },
      outcome: { status: 'success' },
    });
  });

  it('can be read afterwards', async () => {
    const { url } = await finished({}, { ...hi, stream: false });
    expect(outcomeOf((await send('GET', url)).text).status).toBe('success');
  });
});

describe('close', () => {
  it('with a grace lets runs end, and refuses new ones meanwhile', async () => {
    const { server, client } = await running('silent', {}, { SILENCE: '300' });
    const closed = server.handler.close({ grace: 10_000 });
    const { status, headers, text } = await post(server.url, hi);
    expect([status, headers.get('retry-after'), codeOf(text)]).toEqual([503, '5', 'shutting_down']);
    expect(outcomeOf(await client.end()).status).toBe('success');
    await closed;
    expect(server.pids).toHaveLength(1);
    expect(server.pids.filter(isAlive)).toEqual([]);
  });

  it('with a grace lets clients come back meanwhile', async () => {
    const { server, url, response } = await running('silent', {}, { SILENCE: '300' });
    const closed = server.handler.close({ grace: 10_000 });
    response.destroy();
    expect(outcomeOf((await send('GET', url)).text).status).toBe('success');
    await closed;
  });

  it('after the grace stops the rest, and their clients are told', async () => {
    const { server, url, client } = await running('silent');
    const began = performance.now();
    await server.handler.close({ grace: 100 });
    expect(performance.now() - began).toBeGreaterThan(90);
    expect(server.pids.filter(isAlive)).toEqual([]);
    expect(outcomeOf(await client.end())).toMatchObject({
      status: 'interrupted',
      code: 'shutting_down',
      reason: 'closed',
    });
    const { status, headers, text } = await send('GET', url);
    expect([status, headers.get('retry-after'), codeOf(text)]).toEqual([503, '5', 'shutting_down']);
  });

  it('has what there was in the store, for the instance that comes next', async () => {
    const store = memoryStore();
    const { server, runId, client } = await running('silent', { store });
    await server.handler.close();
    const next = await start('silent', { store });
    const { text } = await send('GET', `${next.url}/${runId}`);
    expect(eventsOf(text)).toEqual(eventsOf(await client.end()));
  });

  it.each([-1, Number.NaN, 2 ** 31, '5', null])(
    'with the grace %p closes nothing',
    async (grace) => {
      const server = await start('ticks', {}, quick);
      await expect(server.handler.close({ grace: grace as number })).rejects.toMatchObject({
        code: 'invalid_option',
        message: expect.stringContaining('"grace"'),
      });
      expect((await post(server.url, hi)).status).toBe(200);
    },
  );

  it('may be called again', async () => {
    const { server } = await running('silent');
    await Promise.all([server.handler.close({ grace: 60_000 }), server.handler.close()]);
    await server.handler.close();
    expect(server.outcomes).toMatchObject([{ reason: 'closed' }]);
  });
});

describe('runs', () => {
  it('tells what is going on, and nothing of what is over', async () => {
    const { server, runId, url } = await running('silent', {}, {}, { ...hi, user: 'ann' });
    const replay = await follow(url);
    expect(await server.handler.runs()).toEqual([
      {
        runId,
        startedAt: expect.any(Number),
        user: 'ann',
        isLocal: true,
        pid: server.pids[0],
        clients: 2,
        events: expect.any(Number),
      },
    ]);
    replay.destroy();
    await send('DELETE', url);
    await allKept(server);
    expect(await server.handler.runs()).toEqual([]);
  });

  it('needs no store', async () => {
    const { server, runId } = await running('silent', { store: undefined });
    expect(await server.handler.runs()).toMatchObject([{ runId, clients: 1, isLocal: true }]);
  });
});

describe('diagnostics channels', () => {
  const names = ['run:start', 'run:first-token', 'run:end', 'stall', 'replay'];

  /** What is published until the returned function is called. */
  function listen() {
    const published: [name: string, facts: Record<string, unknown>][] = [];
    const listeners = names.map((name) => {
      const listener = (facts: unknown) =>
        void published.push([name, facts as Record<string, unknown>]);
      subscribe(`claude-stream:${name}`, listener);
      return () => void unsubscribe(`claude-stream:${name}`, listener);
    });
    stops.push(...listeners);
    return published;
  }

  const stops: (() => void)[] = [];

  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  it('tell of a run from its start to its end', async () => {
    const published = listen();
    const { server, runId } = await finished();
    expect(published).toEqual([
      [
        'run:start',
        { runId, pid: server.pids[0], request: expect.objectContaining({ method: 'POST' }) },
      ],
      ['run:first-token', { runId, timeToFirstTokenMs: expect.any(Number) }],
      ['run:end', { runId, outcome: server.outcomes[0] }],
    ]);
    expect(published[1]?.[1].timeToFirstTokenMs).toBe(server.outcomes[0]?.timeToFirstTokenMs);
  });

  it('tell of a client that comes back', async () => {
    const { url, runId } = await finished();
    const published = listen();
    await send('GET', `${url}?after=2`);
    await send('GET', `${url}?after=x`);
    const facts = { runId, after: 2, isLocal: false };
    expect(published).toEqual([['replay', { ...facts, request: expect.anything() }]]);
  });

  it('tell of a client that comes back to a run that is going on', async () => {
    const { url, runId } = await running('silent');
    const published = listen();
    const replay = await follow(url);
    expect(published).toMatchObject([['replay', { runId, after: 0, isLocal: true }]]);
    replay.destroy();
  });

  it('tell of a client that reads nothing any more', async () => {
    const published = listen();
    const options = { stallTimeout: 100, maxLogBytes: 100_000, disconnectGrace: 1 };
    const server = await start('flood', options, { BYTES: '300000000' });
    const response = await open(server.url, hi);
    response.pause();
    await server.nextOutcome();
    response.destroy();
    const runId = response.headers['claude-run-id'];
    expect(published.filter(([name]) => name === 'stall')).toEqual([
      ['stall', { runId, stallTimeout: 100, request: expect.anything() }],
    ]);
  });
});

describe('two replays on one connection', () => {
  it('leave nobody behind when it is cut', async () => {
    const { server, runId, response, url } = await running('silent', { disconnectGrace: 100 });
    const { port, pathname } = new URL(url);
    const socket = connect(Number(port), '127.0.0.1');
    const one = `GET ${pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    socket.on('error', () => undefined).write(one + one);
    await once(socket, 'data');
    await until(async () => (await server.handler.runs())[0]?.clients === 3);
    socket.destroy();
    response.destroy();
    expect(await server.nextOutcome()).toMatchObject({ runId, reason: 'disconnected' });
  });
});

describe('a run that could not be started', () => {
  it('asks the store for nobody', async () => {
    const store = memoryStore();
    const isAttended = jest.spyOn(store.runs, 'isAttended');
    const server = await start('silent', {
      store,
      command: '/nowhere/claude',
      disconnectGrace: 50,
    });
    expect((await post(server.url, hi)).status).toBe(500);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isAttended).not.toHaveBeenCalled();
    expect(await server.handler.runs()).toEqual([]);
  });
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}

it('a client that has had more than the store of a run whose owner is gone hears how it ended', async () => {
  const store = memoryStore();
  const record = { runId: 'lost', startedAt: Date.now(), user: undefined };
  for (const [runId, code] of [
    ['lost', 'owner_lost'],
    ['other', 'crashed'],
  ] as const) {
    const recording = store.runs.record({ ...record, runId }, () => {});
    const frame = `id: ${runId}:1\ndata: {}\n\n`;
    await recording.finish(1, [frame], JSON.stringify({ status: 'crashed', code }));
    recording.release();
  }
  const server = await start('ticks', { store });
  const lost = await send('GET', `${server.url}/lost?after=7`);
  expect(outcomeOf(lost.text)).toMatchObject({ status: 'crashed', code: 'owner_lost' });
  // Its own end has come.
  expect((await send('GET', `${server.url}/lost?after=1`)).status).toBe(204);
  expect((await send('GET', `${server.url}/other?after=7`)).status).toBe(204);
});
