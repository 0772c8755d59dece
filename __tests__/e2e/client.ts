import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createGunzip } from 'node:zlib';
import { type Part, PartReader } from './eventStream';

/** Posts a body; settles at the response's headers and has read nothing of its body yet. */
export async function post(
  url: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  const sent = request(url, {
    method: 'POST',
    agent: false,
    headers: { 'content-type': 'application/json', ...headers },
  });
  sent.end(JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

/** The id of the run that answers. */
export function runIdOf(response: IncomingMessage): string {
  const runId = response.headers['claude-run-id'];
  if (typeof runId !== 'string') throw new Error('The response has no header Claude-Run-Id.');
  return runId;
}

/**
 * Reads an event stream to its end and settles with its text; fails when it is cut off.
 *
 * @param onPart called at once with every event and comment, and when it came: ms since 1970
 */
export async function readStream(
  response: IncomingMessage,
  onPart: (part: Part, at: number) => void = () => {},
): Promise<string> {
  const zipped = response.headers['content-encoding'] === 'gzip';
  const body = zipped ? response.pipe(createGunzip()) : response;
  const reader = new PartReader(onPart);
  let text = '';
  for await (const chunk of body.setEncoding('utf8')) {
    text += chunk;
    reader.write(chunk, Date.now());
  }
  reader.end();
  return text;
}

/** Posts a body and reads the whole event stream. */
export async function ask(url: string, body: object): Promise<{ runId: string; text: string }> {
  const response = await post(url, body);
  expect(response.statusCode).toBe(200);
  return { runId: runIdOf(response), text: await readStream(response) };
}
