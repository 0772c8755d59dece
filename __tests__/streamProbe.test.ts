import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { streamProbe } from '../lib';
import { eventsOf, send } from './chatServer';

let server: http.Server;
let url: string;

beforeEach(async () => {
  const app = express();
  app.use('/probe', streamProbe());
  server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/probe`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const dataOf = (text: string) => eventsOf(text).map(({ data }) => JSON.parse(data));

it('sends numbered events at their times, with the headers of every stream', async () => {
  const { status, headers, text } = await send('GET', `${url}?events=4&interval=30&padding=0`);
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  expect(headers.get('x-accel-buffering')).toBe('no');
  const events = dataOf(text);
  expect(events.map(({ number, of }) => [number, of])).toEqual([
    [1, 4],
    [2, 4],
    [3, 4],
    [4, 4],
  ]);
  for (const [index, { at }] of events.entries()) expect(at).toBeGreaterThan(28 * (index + 1));
});

it('tells nothing of the request, nor of the server', async () => {
  const headers = { 'x-forwarded-for': '10.1.2.3', cookie: 'secret=1' };
  const { text } = await send('GET', `${url}?events=2&interval=1`, headers);
  for (const event of dataOf(text)) {
    expect(Object.keys(event).sort()).toEqual(['at', 'number', 'of', 'padding']);
  }
});

it('pauses in the middle, and not before its last event', async () => {
  const waits = async (events: number) => {
    const { text } = await send('GET', `${url}?events=${events}&interval=1&pause=200`);
    const times = dataOf(text).map(({ at }) => at);
    return times.slice(1).map((at, index) => at - times[index] > 190);
  };
  expect(await waits(5)).toEqual([false, false, true, false]);
  expect(await waits(2)).toEqual([false]);
});

it('is padded with what cannot be compressed', async () => {
  const { text } = await send('GET', `${url}?events=2&interval=1&padding=3000`);
  const [one, other] = dataOf(text);
  expect(one.padding).toHaveLength(3_000);
  expect(one.padding).not.toBe(other.padding);
});

it('is silent before its last event, without a comment', async () => {
  const { text } = await send('GET', `${url}?events=2&interval=1&silence=200`);
  const [one, other] = dataOf(text);
  expect(other.at - one.at).toBeGreaterThan(198);
  expect(text.match(/: keep-alive/g)).toHaveLength(1);
});

it.each([
  'events=1000',
  'interval=-1',
  'silence=1e9',
  'padding=x',
  'events=1&events=2',
  'events=20&padding=60000',
])('refuses %s', async (query) => {
  const { status, text } = await send('GET', `${url}?${query}`);
  expect(status).toBe(400);
  expect(JSON.parse(text).error.message).toContain('"events" (1 to 200)');
});

it('is read with GET only', async () => {
  expect((await send('POST', url)).status).toBe(405);
});

it('serves twenty at once, and again when one has left', async () => {
  const open = async () => {
    const asked = http.get(`${url}?silence=60000&events=1`, { agent: false });
    asked.on('error', () => {});
    const [response] = (await once(asked, 'response')) as [http.IncomingMessage];
    response.on('error', () => {}).resume();
    return { status: response.statusCode, leave: () => asked.destroy() };
  };
  const clients = await Promise.all(Array.from({ length: 20 }, open));
  expect(clients.map(({ status }) => status)).toEqual(Array(20).fill(200));
  expect((await open()).status).toBe(429);
  clients[0]?.leave();
  let again = await open();
  while (again.status === 429) again = await open();
  expect(again.status).toBe(200);
  for (const { leave } of [...clients, again]) leave();
});
