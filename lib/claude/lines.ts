import split from 'split2';
import { type ClaudeMessage, isMessage } from './messages.js';

/** What one line of stdout turned out to be. A bad line is a value, never a throw: the lines after it still count. */
export type Line =
  | {
      readonly kind: 'message';
      readonly message: ClaudeMessage;
      readonly text: string;
      /** Whether `message` has only those of its fields that this library reads; `text` has them all. */
      readonly abridged: boolean;
    }
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
  // Each line is handed on as it is found: what is returned here would go through the splitter's other half first.
  const splitter = split('\n', (text: string) => {
    const line = readDelta(text) ?? parseLine(text);
    if (line !== undefined) onLine(line);
  });
  splitter.on('end', () => onEnd());
  splitter.on('error', onEnd);
  splitter.resume();

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
    if (tooLong) onLine({ kind: 'invalid', reason: 'too_long', text: String(line) });
    else splitter.write(line);
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

/** `undefined` for a blank line. */
function parseLine(line: string): Line | undefined {
  // A line may end with CRLF.
  const text = line.trimEnd();
  if (text === '') return undefined;
  // A throw of JSON.parse costs microseconds: megabytes of short junk lines would block the event loop for seconds.
  if (text.trimStart().startsWith('{')) {
    try {
      const value: unknown = JSON.parse(text);
      if (isMessage(value)) return { kind: 'message', message: value, text, abridged: false };
    } catch {
      // Reported as a value below.
    }
  }
  return { kind: 'invalid', reason: 'not_json', text: text.slice(0, KEPT_OF_INVALID) };
}

/**
 * A whole line that is a piece of text or thinking of the conversation itself, in the order in which 2.1.197 and 2.1.330
 * write its fields: its index, its kind, the words.
 */
const DELTA =
  /^\{"type":"stream_event","event":\{"type":"content_block_delta","index":(0|[1-9]\d*),"delta":\{"type":"(?:(text)_delta","text|(thinking)_delta","thinking)":"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*)"\}\},"session_id":"[\w-]*","parent_tool_use_id":null(?:,"(?!type"|event"|parent_tool_use_id")\w+":(?:"[\w-]*"|0|[1-9]\d*|null|true|false))*\}$/;

/** Characters: above it the backtracking of the expression would need memory for every one of them. */
const LONGEST_DELTA = 4_096;

/**
 * Reads such a line without JSON.parse, which would make some twenty objects and strings of which two are used, and
 * takes six times as long. Nine of ten lines of a streamed answer are deltas: it is what a delta costs the server. A
 * line that does not fit from end to end is parsed as any other.
 */
function readDelta(text: string): Line | undefined {
  const match = text.length > LONGEST_DELTA ? null : DELTA.exec(text);
  if (match === null) return undefined;
  const [, index, isText, , json = ''] = match;
  const words = json.includes('\\') ? String(JSON.parse(`"${json}"`)) : json;
  const delta = isText
    ? { type: 'text_delta', text: words }
    : { type: 'thinking_delta', thinking: words };
  const event = { type: 'content_block_delta', index: Number(index), delta };
  const message = { type: 'stream_event', parent_tool_use_id: null, event };
  return { kind: 'message', message, text, abridged: true };
}
