import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';
import { startUiMessage } from '../../examples/ui-message/server.js';
import { post, send } from '../chatServer';
import { readEvents } from '../formats/uiMessage/stream';

let server: Awaited<ReturnType<typeof startUiMessage>>;

beforeAll(async () => {
  // Nobody is logged in here, wherever the tests run.
  process.env.PATH = '/nowhere';
  server = await startUiMessage({ port: 0 });
});

afterAll(() => server.close());

const question = (text: string) => ({ id: text, role: 'user', parts: [{ type: 'text', text }] });

const datasOf = (text: string) =>
  text.split('\n').flatMap((line) => (line.startsWith('data: ') ? line.slice(6) : []));

it('answers as useChat expects, in a session that goes on', async () => {
  const first = await post(`${server.url}/api/chat`, { id: 'chat', messages: [question('hello')] });
  const answer = readEvents(datasOf(first.text));
  expect(answer.text).toContain('👋');
  const messages = [
    question('hello'),
    { id: 'a', role: 'assistant', parts: [{ type: 'text', text: answer.text }] },
    question('tool'),
  ];
  const second = readEvents(
    datasOf((await post(`${server.url}/api/chat`, { id: 'chat', messages })).text),
  );
  expect(second.parts).toContainEqual(
    expect.objectContaining({ toolName: 'Read', state: 'output-available' }),
  );
  const sessionOf = ({ last }: { last: object | undefined }) =>
    (last as { messageMetadata: { sessionId: string } }).messageMetadata.sessionId;
  expect(sessionOf(second)).toBe(sessionOf(answer));
});

it('has nothing to resume when nothing is going on', async () => {
  expect((await send('GET', `${server.url}/api/chat/nobody/stream`)).status).toBe(204);
});

it('has a component whose code is sound', () => {
  const path = join(__dirname, '../../examples/ui-message/Chat.jsx');
  const { body } = parseSync(readFileSync(path, 'utf8'), { syntax: 'ecmascript', jsx: true });
  expect(body.filter(({ type }) => type === 'ExportDeclaration')).toHaveLength(1);
});
