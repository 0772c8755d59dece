import { type Line, readLines } from '../../lib/claude/lines';
import { ask } from './client';
import { startRealCli, versions } from './realCli';
import { serve } from './serve';

/** What the lines that the CLI has written are read as. */
function read(lines: readonly string[]): Line[] {
  const read: Line[] = [];
  const reader = readLines(
    2 ** 20,
    (line) => read.push(line),
    () => {},
  );
  for (const line of lines) reader.write(Buffer.from(`${line}\n`));
  reader.end();
  return read;
}

// Another order of fields would cost nothing but time, so no other test would notice.
test.each(versions)('the deltas of %s have the shape that is read in one step', async (version) => {
  const { options } = await startRealCli(version);
  const { url } = await serve(options);
  const { text } = await ask(url, { prompt: 'think' });
  const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json = '']) => json);
  const deltas = data.filter((json) => /"type":"(?:text|thinking)_delta"/.test(json));
  expect(deltas.length).toBeGreaterThan(10);
  expect(read(deltas).filter((line) => line.kind !== 'message' || !line.abridged)).toEqual([]);
});
