/// <reference lib="dom" />
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';
import { startServer } from '../../examples/server.js';
import { chromium, flags } from './chromium';
import { startFailingNetwork } from './failingNetwork';

/** Where the screenshots are put, to be looked at; those in docs/ are chosen from them. */
const shots = join(__dirname, '../../node_modules/.cache/claude-stream/screenshots');

let browser: Browser;
let server: Awaited<ReturnType<typeof startServer>>;
let network: Awaited<ReturnType<typeof startFailingNetwork>>;
let page: Page;
/** What the page has complained about. */
let complaints: string[];
/** Those that are to be expected. */
let forgiven: RegExp | undefined;
/** What the page has asked. */
let questions: { prompt: string; session?: string }[];

beforeAll(async () => {
  await mkdir(shots, { recursive: true });
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
  server = await startServer({ port: 0, log: () => {} });
  network = await startFailingNetwork(server.url);
  browser = await puppeteer.launch({ executablePath: chromium, args: flags });
});

afterAll(async () => {
  await browser.close();
  await network.close();
  await server.close();
});

beforeEach(async () => {
  complaints = [];
  forgiven = undefined;
  // A window of its own has a session of its own.
  const context = await browser.createBrowserContext();
  page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('requestfailed', (request) => complaints.push(`${request.method()} ${request.url()}`));
  questions = [];
  page.on('request', (request) => {
    if (request.method() === 'POST') questions.push(JSON.parse(request.postData() ?? '{}'));
  });
  page.setDefaultTimeout(15_000);
  await page.setViewport({ width: 900, height: 760 });
  await page.goto(server.url);
  await page.waitForSelector('#prompts button');
});

afterEach(async () => {
  await page.browserContext().close();
  network.up();
  expect(complaints.filter((one) => !forgiven?.test(one))).toEqual([]);
});

const ask = async (prompt: string) => {
  await page.type('#prompt', prompt);
  await page.keyboard.press('Enter');
};

const sees = (text: string) =>
  page.waitForFunction(
    (words) => document.querySelector('main')?.textContent?.includes(words),
    {},
    text,
  );

const isOver = () =>
  page.waitForFunction(() => document.querySelector<HTMLElement>('#stop')?.hidden === true, {
    // Not by frames: in one test there are none.
    polling: 50,
  });

/** A browser calls every request failed that was broken off, also one that the page itself has; it may say so late. */
const forgive = (expected: RegExp) => {
  forgiven = expected;
};

/** What it says of a run that was stopped: its stream is left, and the page is closed before the run is gone. */
const STOPPED = /^POST |^DELETE /;

/** What a browser says of requests that a network loses. */
const LOST = /net::ERR_|^(?:GET|POST) /;

/** The state of the light. */
const light = () => page.$eval('#line', (line) => (line as HTMLElement).dataset.state);

const turns = (state: string) =>
  page.waitForFunction(
    (expected) => document.querySelector<HTMLElement>('#line')?.dataset.state === expected,
    {},
    state,
  );

const textOf = (selector: string) => page.$eval(selector, (element) => element.textContent ?? '');

const shoot = (name: string) => page.screenshot({ path: join(shots, `${name}.png`) });

test('an answer is drawn while it comes', async () => {
  await ask('tick 10 200');
  await sees('tick 2 ');
  expect(await textOf('.answer')).not.toContain('tick 8 ');
  expect(await textOf('#line-text')).toMatch(/^Last byte 0\.\d s ago$/);
  expect(await light()).toBe('live');
  await isOver();
  expect(await textOf('.answer')).toContain('tick 10 ');
  expect(await textOf('.ending')).toMatch(/\d\.\d s · \d+ tokens · \$0\.\d+/);
  expect(await textOf('#line-text')).toBe('Nothing is running');
});

test('thinking is folded, and a tool shows its input, its result and its time', async () => {
  await ask('think');
  await isOver();
  expect(await page.$eval('details', (details) => details.open)).toBe(false);
  expect(await textOf('details .words')).toBe('The user wants me to think. I have thought.');
  await ask('tool');
  await isOver();
  const tool = await page.$('details[data-state="done"]');
  expect(await tool?.$eval('.name', ({ textContent }) => textContent)).toBe('Read');
  expect(await tool?.$eval('.detail', ({ textContent }) => textContent)).toContain('notes.md');
  const took = await tool?.$eval('.time', ({ textContent }) => textContent);
  expect(took).toMatch(/^took (?:\d+ ms|\d\.\d s)$/);
  // By keyboard, as the summary says.
  await tool?.$eval('summary', (summary) => summary.focus());
  await page.keyboard.press('Enter');
  const texts = await tool?.$$eval('pre', (all) => all.map(({ textContent }) => textContent));
  expect(texts?.[0]).toContain('"file_path"');
  expect(texts?.[1]).toContain('Buy milk.');
  await shoot('tool');
});

test('what subagents do shows below the tools that have them do so', async () => {
  await ask('agent reading');
  await isOver();
  const lists = await page.$$eval('details + .activities', (all) =>
    all.map(({ textContent }) => textContent),
  );
  expect(lists).toEqual(['Read notes.md', 'Read notes.md']);
  expect(await textOf('.answer > .activities')).toBe('');
  await shoot('subagents');
});

test('what goes on in the background and a retry show beside the answer', async () => {
  await ask('agent');
  await isOver();
  expect(await textOf('.answer > .activities')).toContain('In the background: Look at notes');
  await ask('overloaded');
  await sees('Retry 1 of 10');
  await page.click('#stop');
  await isOver();
  forgive(STOPPED);
});

test('the light stays on while Claude is silent, since comments come', async () => {
  await ask('slow 12');
  await turns('live');
  const states = await page.evaluate(
    () =>
      new Promise<string[]>((resolve) => {
        const line = document.querySelector<HTMLElement>('#line');
        const seen = new Set<string>();
        const timer = setInterval(() => {
          const state = line?.dataset.state ?? '';
          if (state !== 'idle') seen.add(state);
          else {
            clearInterval(timer);
            resolve([...seen]);
          }
        }, 50);
      }),
  );
  expect(states).toEqual(['live']);
});

test('a tool takes as long as it takes, whether the page is looked at or not', async () => {
  // A browser draws no frames of a page that nobody sees.
  await page.evaluate(() => {
    window.requestAnimationFrame = () => 1;
  });
  // The tests have no PATH; and a sleep alone is refused by the CLI.
  await ask('bash: /bin/sleep 2; echo done');
  await isOver();
  const [, took] = /^took (\d\.\d) s$/.exec(await textOf('details .time')) ?? [];
  expect(Number(took)).toBeGreaterThanOrEqual(2);
  expect(Number(took)).toBeLessThan(4);
  await page.reload();
  expect(await textOf('details .time')).toBe(`took ${took} s`);
});

test('an answer is gone on with after the line was cut', async () => {
  await page.goto(network.url);
  await ask('tick 20 200');
  await sees('tick 2 ');
  network.down();
  await turns('lost');
  expect(await textOf('#line-text')).toMatch(/^Connection lost; trying again in \d s$/);
  await shoot('lost');
  network.up();
  await isOver();
  const ticks = (await textOf('.answer .words')).trim().split(/(?<=\d) /);
  expect(ticks).toEqual(Array.from({ length: 20 }, (_, index) => `tick ${index + 1}`));
  expect(questions).toHaveLength(1);
  forgive(LOST);
});

test('a page that was away does not take a lost line for a live one', async () => {
  await page.goto(network.url);
  await page.evaluate(() => {
    const frames: FrameRequestCallback[] = [];
    window.requestAnimationFrame = (draw) => frames.push(draw);
    Object.assign(window, { drawFrames: () => frames.splice(0).map((draw) => draw(0)) });
  });
  await ask('tick 40 100');
  await page.waitForFunction(
    () => document.querySelector<HTMLElement>('#line')?.dataset.state === 'live',
    { polling: 50 },
  );
  network.down();
  await page.waitForFunction(
    () => document.querySelector<HTMLElement>('#line')?.dataset.state === 'lost',
    { polling: 50 },
  );
  await page.evaluate('drawFrames()');
  expect(await light()).toBe('lost');
  forgive(LOST);
});

test('an answer that could not be had for long is gone on with later, in its session', async () => {
  await page.goto(network.url);
  await ask('bash: /bin/sleep 3; echo done');
  await page.waitForSelector('details[data-state="running"]');
  network.down();
  // Three minutes of attempts, in a second.
  await page.evaluate(() => {
    const wait = window.setTimeout;
    const soon = (act: () => void, ms: number) => wait(act, ms / 200);
    window.setTimeout = soon as unknown as typeof setTimeout;
  });
  await isOver();
  expect(await textOf('.failure')).toContain('The server cannot be reached.');
  const kept = await page.evaluate(() => sessionStorage.getItem('claude-stream 2') ?? '');
  expect(JSON.parse(kept).session).toMatch(/^[\da-f-]{36}$/);
  network.up();
  await page.goto(network.url);
  await isOver();
  await page.waitForSelector('details[data-state="done"]');
  expect(await page.$$('.failure')).toEqual([]);
  const [, took] = /^took (\d\.\d) s$/.exec(await textOf('details .time')) ?? ['', '3.0'];
  expect(Number(took)).toBeGreaterThanOrEqual(3);
  forgive(LOST);
});

test('a stop that the server cannot be told is told to the reader', async () => {
  await page.setRequestInterception(true);
  page.on('request', (request) => {
    if (request.method() === 'DELETE') void request.respond({ status: 403, body: 'Not you.' });
    else void request.continue();
  });
  await ask('tick 20 100');
  await sees('tick 2 ');
  await page.click('#stop');
  await sees('it may still be running there');
  forgive(/403|^POST |^DELETE /);
});

test('a conversation goes on after its first answer was stopped', async () => {
  await ask('tick 100 100');
  await sees('tick 2 ');
  await page.keyboard.press('Escape');
  await isOver();
  await ask('hello');
  await isOver();
  await sees('👋');
  expect(questions).toMatchObject([{ prompt: 'tick 100 100' }, { prompt: 'hello' }]);
  expect(questions[0]).not.toHaveProperty('session');
  expect(questions[1]?.session).toMatch(/^[\da-f-]{36}$/);
  forgive(STOPPED);
});

test('a conversation goes on when the browser has no room for all of it', async () => {
  await page.evaluate(() => sessionStorage.setItem('other', 'x'.repeat(4_900_000)));
  await ask('long 700000');
  await isOver();
  await ask('hello');
  await isOver();
  expect(questions[1]?.session).toMatch(/^[\da-f-]{36}$/);
  await page.reload();
  expect(await page.$$('article')).toHaveLength(1);
  await ask('hello');
  await isOver();
  expect(questions[2]?.session).toBe(questions[1]?.session);
});

test('a page that is loaded anew goes on with the answer', async () => {
  await ask('tick 20 200');
  await sees('tick 4 ');
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.reload();
  await sees('tick 7 ');
  await shoot('streaming-dark');
  expect(await textOf('.question')).toBe('tick 20 200');
  await isOver();
  const ticks = (await textOf('.answer .words')).trim().split(/(?<=\d) /);
  expect(ticks).toEqual(Array.from({ length: 20 }, (_, index) => `tick ${index + 1}`));
  await page.reload();
  await sees('tick 20 ');
  expect(await page.$$('article')).toHaveLength(1);
});

test('nothing goes on in an answer that was stopped', async () => {
  await ask('bash: tail -f /dev/null');
  await page.waitForSelector('details[data-state="running"]');
  await page.keyboard.press('Escape');
  await isOver();
  expect(await textOf('details[data-state="unfinished"] .time')).toMatch(/^broken off after/);
  forgive(STOPPED);
});

test('a page that was loaded anew before its answer had a name says so', async () => {
  await page.evaluate(() =>
    sessionStorage.setItem('claude-stream 2', '{"exchanges":[{"prompt":"hello","times":[]}]}'),
  );
  await page.reload();
  expect(await textOf('.failure')).toContain('Please ask again.');
});

test('a session that is gone is told once, and another begun', async () => {
  const outcome = { status: 'success', sessionId: '11111111-2222-4333-8444-555555555555' };
  const { sessionId } = outcome;
  const message = { parts: [], activities: [], gaps: [], sessionId, outcome };
  const exchange = { prompt: 'hello', message, session: sessionId, times: [] };
  const kept = JSON.stringify({ exchanges: [exchange] });
  await page.evaluate((text) => sessionStorage.setItem('claude-stream 2', text), kept);
  await page.reload();
  await ask('hello');
  await isOver();
  expect(await textOf('.failure')).toContain('(session_not_found)');
  await ask('hello');
  await isOver();
  await sees('👋');
});

test('a reader who has scrolled up stays there, also at the end', async () => {
  await ask('long 20000');
  await isOver();
  await ask('tick 3 200');
  await sees('tick 1 ');
  await page.$eval('#chat', (chat) => {
    chat.scrollTop = 0;
  });
  await isOver();
  expect(await page.$eval('#chat', (chat) => chat.scrollTop)).toBe(0);
});

test('a screen of 320 by 256 has room for an answer', async () => {
  await page.setViewport({ width: 320, height: 256 });
  await ask('hello');
  await isOver();
  const isWide = await page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );
  expect(isWide).toBe(false);
  // The page scrolls as a whole, and nothing within it.
  const heights = await page.$eval('#chat', ({ scrollHeight, clientHeight }) => [
    scrollHeight,
    clientHeight,
  ]);
  expect(heights[0]).toBe(heights[1]);
});

test('the stop button and the Escape key stop the run, and the page says so', async () => {
  await ask('tick 100 200');
  await sees('tick 2 ');
  await page.click('#stop');
  await isOver();
  expect(await textOf('.failure')).toContain('You have stopped this answer.');
  await ask('tick 100 200');
  await page.waitForFunction(() =>
    document.querySelectorAll('.answer')[1]?.textContent?.includes('tick 2 '),
  );
  await page.keyboard.press('Escape');
  await isOver();
  expect(await page.$$('.failure')).toHaveLength(2);
  forgive(STOPPED);
});

test('a failure is told in words, on the width of a phone too', async () => {
  await page.setViewport({ width: 375, height: 700, deviceScaleFactor: 2 });
  await ask('midfail');
  await isOver();
  expect(await textOf('.answer')).toContain('This sentence will never be ');
  expect(await textOf('.failure')).toMatch(/^Prompt is too long.*\(prompt_too_long\)$/s);
  await shoot('failure-phone');
  const tooWide = await page.$$eval('*', (all) =>
    all
      .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
      .map(({ tagName }) => tagName),
  );
  expect(tooWide).toEqual([]);
});

test('a session is gone on with', async () => {
  await ask('hello');
  await isOver();
  await ask('think');
  await isOver();
  const kept = await page.evaluate(() => sessionStorage.getItem('claude-stream 2') ?? '');
  const sessions = JSON.parse(kept).exchanges.map(
    ({ message }: { message: { outcome: { sessionId: string } } }) => message.outcome.sessionId,
  );
  expect(sessions).toEqual([sessions[0], sessions[0]]);
  await page.click('#clear');
  expect(await page.$$('article')).toEqual([]);
});

describe('for those who do not see it, or use no mouse', () => {
  test('every control has a name, and can be reached and seen by keyboard', async () => {
    const tree = await page.accessibility.snapshot();
    const controls = flat(tree).filter(({ role = '' }) => /button|textbox/i.test(role));
    expect(controls.length).toBeGreaterThan(5);
    for (const { name } of controls) expect(name).toMatch(/\w/);
    expect(controls.find(({ role }) => role === 'textbox')?.name).toBe('Your message');
    await page.keyboard.press('Tab');
    const outline = await page.evaluate(() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement as Element);
      return `${document.activeElement?.id} ${outlineStyle} ${outlineWidth}`;
    });
    expect(outline).toBe('send solid 3px');
  });

  test('the beginning and the end of an answer are announced, and a failure is', async () => {
    await ask('slow 1');
    await page.waitForFunction(
      () => document.querySelector('#said')?.textContent === 'Claude is answering.',
    );
    await isOver();
    expect(await textOf('#said')).toBe('Claude has answered: This answer took 1 seconds.');
    expect(await page.$eval('#said', (said) => said.getAttribute('aria-live'))).toBe('polite');
    await ask('fail');
    await isOver();
    expect(await textOf('#said')).toBe('The answer failed. Prompt is too long');
    expect(await page.$eval('.failure', (failure) => failure.getAttribute('role'))).toBe('alert');
  });

  test.each(['light', 'dark'])('every text has enough contrast: %s', async (value) => {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
    await ask('tool');
    await isOver();
    await ask('fail');
    await isOver();
    const contrasts = await page.evaluate(() => {
      const channels = (color: string) => (color.match(/[\d.]+/g) ?? []).map(Number);
      const luminance = (color: string) => {
        const [red = 0, green = 0, blue = 0] = channels(color).map((value) => {
          const part = value / 255;
          return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      };
      const background = (element: Element | null): string => {
        if (element === null) return 'rgb(255, 255, 255)';
        const { backgroundColor } = getComputedStyle(element);
        return channels(backgroundColor)[3] === 0
          ? background(element.parentElement)
          : backgroundColor;
      };
      const texts = [...document.querySelectorAll('body *')].filter((element) =>
        [...element.childNodes].some(
          ({ nodeType, textContent }) => nodeType === Node.TEXT_NODE && textContent?.trim(),
        ),
      );
      return texts
        .filter((element) => element.checkVisibility() && !element.matches('script, :disabled'))
        .map((element) => {
          const [bright = 0, dark = 0] = [
            luminance(getComputedStyle(element).color),
            luminance(background(element)),
          ].sort((one, other) => other - one);
          return {
            what: `${element.tagName} ${element.className}`,
            ratio: (bright + 0.05) / (dark + 0.05),
          };
        });
    });
    expect(contrasts.length).toBeGreaterThan(10);
    // WCAG 2.2, 1.4.3: level AA.
    expect(contrasts.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
  });
});

interface Named {
  readonly role?: string;
  readonly name?: string;
  readonly children?: readonly Named[];
}

function flat(node: Named | null): Named[] {
  return node === null ? [] : [node, ...(node.children ?? []).flatMap(flat)];
}
