import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { parseSync } from '@swc/core';

/**
 * The order of lib/, from the door down: a room imports only from rooms below it, and from itself. Rooms on one line do
 * not know each other. A new file or folder has to be given its place here.
 */
const order = [
  ['index', 'redis', 'client', 'bin'],
  ['claudeStream', 'openaiRouter', 'doctor/'],
  ['streamProbe'],
  ['authorization', 'serveChat', 'serveCancel', 'serveResume'],
  ['serveRun'],
  ['serveReplay', 'recogniseConversation'],
  ['findRun'],
  ['service', 'readRequest', 'hooks', 'sendJson', 'watchClient'],
  ['options'],
  ['conversations/', 'chats', 'models', 'runs', 'replay'],
  ['liveRun', 'admission'],
  ['run', 'attendance', 'recorder', 'diagnostics'],
  ['coalescer', 'deadlines', 'client/'],
  ['formats/'],
  ['outcome'],
  ['claude/', 'sse/', 'stores/'],
  ['errors', 'within'],
];

interface Import {
  readonly from: string;
  /** A module of lib/ without its ending, or the name of a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

const lib = join(__dirname, '../lib');
const sources = new Map(
  readdirSync(lib, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const name = relative(lib, path).split('\\').join('/').replace(/\.ts$/, '');
      return [name, readFileSync(path, 'utf8')] as const;
    }),
);
const imports = [...sources].flatMap(([name, source]) => importsOf(name, source));
const inner = imports.filter(({ to }) => sources.has(to));

function importsOf(from: string, source: string): Import[] {
  const { body } = parseSync(source, { syntax: 'typescript', target: 'es2022' });
  return body.flatMap((item) => {
    if (item.type === 'ImportDeclaration') {
      const { specifiers } = item;
      const typeOnly =
        item.typeOnly ||
        (specifiers.length > 0 &&
          specifiers.every((one) => one.type === 'ImportSpecifier' && one.isTypeOnly));
      return [{ from, to: target(from, item.source.value), typeOnly }];
    }
    if (item.type === 'ExportNamedDeclaration' && item.source) {
      return [{ from, to: target(from, item.source.value), typeOnly: false }];
    }
    if (item.type === 'ExportAllDeclaration') {
      return [{ from, to: target(from, item.source.value), typeOnly: false }];
    }
    return [];
  });
}

function target(from: string, specifier: string): string {
  const name = posix.join(posix.dirname(from), specifier).replace(/\.js$/, '');
  return specifier.startsWith('.') && sources.has(name) ? name : specifier;
}

function roomOf(name: string): string {
  const slash = name.indexOf('/');
  return slash < 0 ? name : name.slice(0, slash + 1);
}

function levelOf(name: string): number {
  return order.findIndex((rooms) => rooms.includes(roomOf(name)));
}

/** Imports as text, for a message that says at once what is wrong. */
function list(found: readonly Import[]): string[] {
  return found.map(({ from, to }) => `${from} imports ${to}`);
}

test('every file has its place in the order', () => {
  expect([...sources.keys()].filter((name) => levelOf(name) < 0)).toEqual([]);
  expect(sources.size).toBeGreaterThan(20);
  expect(inner.length).toBeGreaterThan(40);
});

test('every import of a file finds one', () => {
  expect(list(imports.filter(({ to }) => to.startsWith('.')))).toEqual([]);
});

test('imports run down the order', () => {
  const wrong = inner.filter(
    ({ from, to }) => roomOf(from) !== roomOf(to) && levelOf(from) >= levelOf(to),
  );
  expect(list(wrong)).toEqual([]);
});

test('claude/, sse/ and stores/ do not know each other', () => {
  const parts = ['claude/', 'sse/', 'stores/'];
  const wrong = inner.filter(
    ({ from, to }) =>
      parts.includes(roomOf(from)) && parts.includes(roomOf(to)) && roomOf(from) !== roomOf(to),
  );
  expect(list(wrong)).toEqual([]);
});

test('the formats know the messages and the turn of Claude, and the frames of an event stream; else only types', () => {
  const known = ['claude/messages', 'claude/command', 'sse/frames', 'errors'];
  const wrong = inner.filter(
    ({ from, to, typeOnly }) =>
      roomOf(from) === 'formats/' &&
      roomOf(to) !== 'formats/' &&
      !known.includes(to) &&
      !(typeOnly && to === 'outcome'),
  );
  expect(list(wrong)).toEqual([]);
});

test('the formats know no processes, sockets or time', () => {
  const wrong = imports.filter(
    ({ from, to }) => roomOf(from) === 'formats/' && to.startsWith('node:'),
  );
  expect(list(wrong)).toEqual([]);
});

test('nothing that the client needs is of Node: it runs in browsers', () => {
  const needed = new Set<string>();
  const need = (name: string) => {
    if (needed.has(name)) return;
    needed.add(name);
    for (const { from, to, typeOnly } of imports) if (from === name && !typeOnly) need(to);
  };
  need('client');
  expect([...needed]).toContain('formats/answer');
  expect([...needed].filter((name) => !sources.has(name))).toEqual(['eventsource-parser']);
});

test('the registry knows a run by its type only', () => {
  const wrong = inner.filter(
    ({ from, to, typeOnly }) => from === 'runs' && ['run', 'liveRun'].includes(to) && !typeOnly,
  );
  expect(list(wrong)).toEqual([]);
});

test('there are no cycles', () => {
  const next = (name: string) => inner.filter(({ from }) => from === name).map(({ to }) => to);
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (name: string, path: readonly string[]) => {
    if (path.includes(name)) {
      cycles.push([...path.slice(path.indexOf(name)), name].join(' → '));
      return;
    }
    if (done.has(name)) return;
    for (const other of next(name)) walk(other, [...path, name]);
    done.add(name);
  };
  for (const name of sources.keys()) walk(name, []);
  expect(cycles).toEqual([]);
});

test('built-in modules are named as such, and packages are the declared ones', () => {
  const { dependencies, peerDependencies } = JSON.parse(
    readFileSync(join(lib, '../package.json'), 'utf8'),
  );
  const declared = Object.keys({ ...dependencies, ...peerDependencies });
  const packages = imports.filter(({ to }) => !sources.has(to) && !to.startsWith('node:'));
  expect(list(packages.filter(({ to }) => !declared.includes(to)))).toEqual([]);
});

test('Express is known by its types only, but for the router', () => {
  const users = imports.filter(({ to, typeOnly }) => to === 'express' && !typeOnly);
  expect(list(users)).toEqual(['openaiRouter imports express']);
});

test('a format has a folder of its own or is one file, and knows nothing of the others', () => {
  const formatOf = (name: string) => name.split('/').at(name.split('/').length > 2 ? 1 : -1);
  const formats = ['claude', 'openai', 'anthropic', 'uiMessage'];
  const wrong = inner.filter(
    ({ from, to }) =>
      roomOf(from) === 'formats/' &&
      roomOf(to) === 'formats/' &&
      formatOf(from) !== formatOf(to) &&
      formats.includes(formatOf(to) ?? ''),
  );
  expect(list(wrong)).toEqual([]);
  expect([...sources.keys()].filter((name) => name.startsWith('formats/openai/'))).not.toEqual([]);
});

test('what is below the chat knows no request and no response of Express', () => {
  const users = imports.filter(({ to }) => to === 'express').map(({ from }) => from);
  const known = [
    'authorization',
    'claudeStream',
    'diagnostics',
    'findRun',
    'openaiRouter',
    'options',
    'readRequest',
    'recogniseConversation',
    'sendJson',
    'serveCancel',
    'serveChat',
    'serveReplay',
    'serveResume',
    'serveRun',
    'streamProbe',
    'watchClient',
  ];
  expect([...new Set(users)].filter((name) => !known.includes(name))).toEqual([]);
});

test('every file is named after what it is', () => {
  const vague = /(utils?|helpers?|manager|misc|common)$/i;
  expect([...sources.keys()].filter((name) => vague.test(name))).toEqual([]);
});

test('nothing is written to the console', () => {
  const loud = [...sources].filter(([, source]) => /\bconsole\s*\./.test(source));
  expect(loud.map(([name]) => name)).toEqual([]);
});
