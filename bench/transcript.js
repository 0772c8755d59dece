// @ts-check
/** What the fake CLI says: lines of the real one, of a shape that was recorded, with other text in them. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

const recorded = new URL('../__tests__/fixtures/transcripts/hello.jsonl', import.meta.url);

/** Stands once in the text of every delta and nowhere else, so that a client counts deltas by counting bytes. */
export const MARK = 0x7e;

/** Now, on the clock that all processes of the machine share, in ms. */
export const now = () => performance.timeOrigin + performance.now();

/** The time as it stands in the text of a delta. */
export const stamp = () => `t=${now().toFixed(3)};`;

const STAMP = /t=(\d+\.\d+);/g;

/** The times that stand in a piece of an answer. @param {Buffer} bytes */
export function stampsIn(bytes) {
  return [...bytes.toString('latin1').matchAll(STAMP)].map(([, time]) => Number(time));
}

/** About four characters each, as tokens are. */
const ascii = ['The~', ' of~', ' in~', 'ing~', ' a~', 'ten~', ', ~', ' run~'];
const other = ['für~', ' é~', '日本~', 'ßen~', ' —~', '🌍~', ' ñ~', 'о д~'];

const IDLE = JSON.stringify({
  type: 'system',
  subtype: 'session_state_changed',
  state: 'idle',
  session_id: 'cc74c624-07b2-45a4-926b-9157801a565a',
  uuid: '6f1f1a5e-7e0a-4d1c-9a83-0d6a1f1f6a53',
});

/** Lines at a time: what is held while a long file is written. */
const BLOCK = 10_000;

const lines = readFileSync(recorded, 'utf8').trimEnd().split('\n');
const first = lines.findIndex((line) => line.includes('"text_delta"'));
const after = lines.findLastIndex((line) => line.includes('"text_delta"')) + 1;
const template = JSON.parse(lines[first] ?? '');

/** What the CLI says before the first delta. */
export const opening = lines.slice(0, first);

/** What it says after the last one: the whole message, the result, and that nothing is left to do. */
export const closing = [...lines.slice(after), IDLE];

/**
 * The line of one delta.
 * @param {string} text @param {number} number makes its uuid
 */
export function deltaLine(text, number) {
  template.event.delta.text = text;
  template.uuid = `${number.toString(16).padStart(8, '0')}-10a9-4187-9e56-8807e1189b84`;
  return JSON.stringify(template);
}

/**
 * Writes a transcript into a file.
 * @param {string} path
 * @param {{ deltas?: number, words?: 'ascii' | 'other', longLine?: number, ends?: boolean }} content `longLine` is one
 * more delta of that many characters; one that does not end leaves the turn open
 */
export function writeTranscript(path, { deltas = 0, words = 'ascii', longLine = 0, ends = true }) {
  const texts = words === 'ascii' ? ascii : other;
  const file = openSync(path, 'w');
  try {
    writeSync(file, `${opening.join('\n')}\n`);
    for (let written = 0; written < deltas; ) {
      let block = '';
      for (let end = Math.min(written + BLOCK, deltas); written < end; written++) {
        block += `${deltaLine(texts[written % texts.length] ?? '', written)}\n`;
      }
      writeSync(file, block);
    }
    if (longLine > 0) writeSync(file, `${deltaLine('x'.repeat(longLine), deltas)}\n`);
    if (ends) writeSync(file, `${closing.join('\n')}\n`);
  } finally {
    closeSync(file);
  }
}
