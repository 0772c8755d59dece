import { EventEmitter, once } from 'node:events';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { memoryStore } from 'claude-stream';
import type { RequestHandler } from 'express';
import { openInChromium } from './chromium';
import { type CuttingProxy, startCuttingProxy } from './cuttingProxy';
import { record } from './figures';
import { seeded } from './seeded';
import { fixture, type Server, serve } from './serve';

const cuts = 20;

/** What a page has seen of a run when its EventSource has closed for good. */
interface Report {
  readonly events: readonly { readonly type: string; readonly id: string; readonly data: string }[];
  /** How often the connection was opened and lost. */
  readonly opened: number;
  readonly lost: number;
}

interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly lastEventId: string | undefined;
  status: number;
}

const eventTypes = ['message', 'system', 'stream_event', 'result', 'outcome', 'gap', 'failure'];

/** Follows what `connect` gives, an EventSource, until it is closed for good. */
const pageWith = (connect: string) => `<!doctype html><title>chat</title><script type="module">
  const report = { events: [], opened: 0, lost: 0 };
  const source = await (${connect})();
  for (const type of ${JSON.stringify(eventTypes)}) {
    source.addEventListener(type, ({ lastEventId: id, data }) => report.events.push({ type, id, data }));
  }
  source.onopen = () => report.opened++;
  source.onerror = () => {
    if (source.readyState === EventSource.CONNECTING) report.lost++;
    else fetch('/report', { method: 'POST', body: JSON.stringify(report) });
  };
</script>`;

/** A chat whose page Chromium opens through a network that loses the connection `cuts` times. */
async function chatInChromium(connect: string, seed: number) {
  const requests: SeenRequest[] = [];
  const reports = new EventEmitter();
  const site: RequestHandler = async (request, response, next) => {
    const { method, url, headers } = request;
    if (url === '/') response.type('html').send(pageWith(connect));
    else if (url === '/report') {
      reports.emit('report', JSON.parse(await text(request)));
      response.status(204).end();
    } else if (url.startsWith('/chat')) {
      const seen = { method, url, lastEventId: headers['last-event-id']?.toString(), status: 0 };
      requests.push(seen);
      response.once('close', () => {
        seen.status = response.statusCode;
      });
      next();
    } else response.status(404).end();
  };
  const server = await serve(
    {
      command: fixture('ticks'),
      env: { TICKS: '195', INTERVAL: '120' },
      request: () => ({ prompt: 'hi' }),
      store: memoryStore(),
    },
    { before: [site] },
  );
  const random = seeded(seed);
  // An event is of about 230 bytes: some connections see none of them whole, some a dozen.
  const lengths = Array.from({ length: cuts }, () => random(40, 2_000));
  // The first shows an id: without one the browser would have nothing to come back to, and ask anew.
  lengths[0] = random(400, 2_000);
  const proxy = await startCuttingProxy(server.port, lengths);
  const [[report]] = await Promise.all([
    once(reports, 'report') as Promise<[Report]>,
    openInChromium(`${proxy.origin}/`),
  ]);
  return { server, proxy, requests, report };
}

async function expectEachEventOnce(server: Server, { events }: Report) {
  expect(server.started).toHaveLength(1);
  const [runId] = server.started;
  expect(events.map(({ id }) => id)).toEqual(events.map((_, index) => `${runId}:${index + 1}`));
  const whole = await (await fetch(`${server.url}/${runId}`)).text();
  const seen = events.map(({ type, id, data }) => `event: ${type}\nid: ${id}\ndata: ${data}\n\n`);
  expect(whole.slice(whole.indexOf('event: '))).toBe(seen.join(''));
  expect(events).toHaveLength(200);
  expect(events.at(-1)?.type).toBe('outcome');
}

/** It was cut off so many times, came back each time, and once more at the end. */
async function expectToldOnceThatItIsOver(
  proxy: CuttingProxy,
  requests: readonly SeenRequest[],
  { events, opened, lost }: Report,
) {
  const gets = () => requests.filter(({ method }) => method === 'GET');
  expect(proxy.cuts).toBe(cuts);
  expect({ opened, lost }).toEqual({ opened: cuts + 1, lost: cuts + 1 });
  expect(gets().map(({ status }) => status)).toEqual([...Array(cuts + 1).fill(200), 204]);
  expect(gets().at(-1)?.lastEventId).toBe(events.at(-1)?.id);
  const total = requests.length;
  await delay(3_000);
  expect(requests).toHaveLength(total);
  record('events at one connection', events.length / (cuts + 1));
}

test('an EventSource that starts a run sees each of its events once, however often it is cut off', async () => {
  const { server, proxy, requests, report } = await chatInChromium(
    "() => new EventSource('/chat')",
    1,
  );
  await expectToldOnceThatItIsOver(proxy, requests, report);
  await expectEachEventOnce(server, report);
});

test('an EventSource that follows a run which fetch has started sees each of its events once', async () => {
  const { server, proxy, requests, report } = await chatInChromium(
    `async () => {
      const response = await fetch('/chat', { method: 'POST' });
      const runId = response.headers.get('Claude-Run-Id');
      await response.body.cancel();
      return new EventSource('/chat/' + runId);
    }`,
    2,
  );
  await expectToldOnceThatItIsOver(proxy, requests, report);
  await expectEachEventOnce(server, report);
  expect(requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
});
