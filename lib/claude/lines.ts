import split from 'split2';
import { type ClaudeMessage, isMessage } from './messages.js';

/** What one line of stdout turned out to be. A bad line is a value, never a throw: the lines after it still count. */
export type Line =
  | { readonly kind: 'message'; readonly message: ClaudeMessage; readonly text: string }
  | { readonly kind: 'invalid'; readonly reason: 'not_json' | 'too_long'; readonly text: string };

export interface Lines {
  /** Takes the next bytes of stdout. */
  write(chunk: Buffer): void;
  /** Ends the input: a last line without a newline counts. `onEnd` follows the last line. */
  end(): void;
}

const NEWLINE = 0x0a;

/** How much of a line that is no message is kept, in characters: enough to recognise it in a log. */
const KEPT_OF_INVALID = 200;

/**
 * Turns the bytes of stdout into lines of JSON.
 *
 * split2 searches an unfinished line again with every chunk (O(n²): 16 s of blocked event loop for a 32 MiB line)
 * and its `maxLength` looks only at the unfinished tail. So it is fed whole lines: bytes without a newline yet are
 * collected here, joined once, and bounded. That also keeps UTF-8 sequences whole across chunks.
 *
 * @param maxLineLength bytes; a longer line is dropped and reported as `too_long`
 */
export function readLines(
  maxLineLength: number,
  onLine: (line: Line) => void,
  onEnd: (error?: Error) => void,
): Lines {
  const splitter = split(parseLine);
  splitter.on('data', onLine);
  splitter.on('end', () => onEnd());
  splitter.on('error', onEnd);

  let unfinished: Buffer[] = [];
  let unfinishedLength = 0;
  let tooLong = false;

  const keep = (bytes: Buffer) => {
    if (bytes.length === 0) return;
    unfinishedLength += bytes.length;
    if (tooLong) return;
    unfinished.push(bytes);
    if (unfinishedLength > maxLineLength) {
      tooLong = true;
      // A copy: a slice would hold on to the whole line.
      unfinished = [Buffer.concat(unfinished, Math.min(unfinishedLength, KEPT_OF_INVALID))];
    }
  };

  /** Passes the collected line on; a newline among the bytes that follow ends it. */
  const finishLine = () => {
    const line = unfinished.length === 1 ? unfinished[0] : Buffer.concat(unfinished);
    if (tooLong) {
      // Pushed into the splitter, not past it, so that it keeps its place among the lines.
      splitter.push({ kind: 'invalid', reason: 'too_long', text: String(line) } satisfies Line);
    } else {
      splitter.write(line);
    }
    unfinished = [];
    unfinishedLength = 0;
    tooLong = false;
  };

  return {
    write(chunk) {
      const end = chunk.lastIndexOf(NEWLINE) + 1;
      if (end > 0) {
        if (unfinishedLength > 0) {
          const rest = chunk.indexOf(NEWLINE);
          keep(chunk.subarray(0, rest));
          finishLine();
          splitter.write(chunk.subarray(rest, end));
        } else {
          splitter.write(end === chunk.length ? chunk : chunk.subarray(0, end));
        }
      }
      keep(chunk.subarray(end));
    },
    end() {
      if (unfinishedLength > 0) finishLine();
      splitter.end();
    },
  };
}

/** `undefined` is skipped by split2, which is how blank lines disappear. */
function parseLine(text: string): Line | undefined {
  const start = text.trimStart();
  if (start === '') return undefined;
  // A throw of JSON.parse costs microseconds: megabytes of short junk lines would block the event loop for seconds.
  if (start.startsWith('{')) {
    try {
      const value: unknown = JSON.parse(text);
      if (isMessage(value)) return { kind: 'message', message: value, text };
    } catch {
      // Reported as a value below.
    }
  }
  return { kind: 'invalid', reason: 'not_json', text: text.slice(0, KEPT_OF_INVALID) };
}
