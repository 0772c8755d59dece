/**
 * What stands in the content of an answer beside Claude's words, and how to get it out again: clients send the whole
 * content back with the next request, and Claude must not take it for its own words.
 */

/** What the text display begins with, so that a reader sees at once that something happens. */
export const START_NOTICE = '[Starting Claude Code...]';

/** An invisible character, by which our lines are told from such as `[dependencies]` that Claude has written. */
const MARK = '\u2060';

/** A tool call as a line of the text display. */
export function toolLine(name: string, detail: string): string {
  return `[${name}]${detail === '' ? '' : ` ${detail}`}${MARK}`;
}

/**
 * A tool call that Open WebUI folds away, at the start of a line. Its reader takes an attribute from quote to quote
 * on one line, unescapes it and parses `arguments` and `result` as JSON.
 */
export function toolDetails(call: {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
  readonly result: string;
}): string {
  const attributes = Object.entries({
    type: 'tool_calls',
    done: 'true',
    id: call.id,
    // The only one that is shown without being unescaped.
    name: call.name.replace(/[&<>"'\s]+/g, ' '),
    arguments: json(JSON.stringify(call.input ?? {})),
    result: json(call.result),
  }).map(([name, value]) => `${name}="${escaped(value)}"`);
  return `<details ${attributes.join(' ')}>\n<summary>Tool Executed</summary>\n</details>`;
}

/** U+2028 and U+2029 end a line for the reader's regular expressions, too. */
function json(value: string): string {
  return JSON.stringify(value).replace(
    /[\u2028\u2029\u0085]/g,
    (separator) => `\\u${separator.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#x27;',
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

const DETAILS = '<details ';
const DETAILS_TYPE = / type="(?:tool_calls|reasoning|code_interpreter)"/;
const DETAILS_END = '</details>';

/** An answer without the blocks and lines that show tools and reasoning. */
export function withoutDisplay(content: string): string {
  return withoutLines(withoutDetails(content));
}

/** One pass: a client may send megabytes of tags and blocks that never end. */
function withoutDetails(content: string): string {
  const kept: string[] = [];
  const lastEnd = content.lastIndexOf(DETAILS_END);
  let from = 0;
  let next = content.indexOf(DETAILS);
  while (next !== -1) {
    const tag = next;
    const bracket = nextBracket(content, tag + 1);
    next = content.indexOf(DETAILS, bracket);
    if (content[bracket] !== '>' || !DETAILS_TYPE.test(content.slice(tag, bracket))) continue;
    if (bracket < lastEnd) {
      kept.push(content.slice(from, tag));
      from = content.indexOf(DETAILS_END, bracket) + DETAILS_END.length;
      if (content[from] === '\n') from += 1;
      next = content.indexOf(DETAILS, from);
    } else if (tag === 0 || content[tag - 1] === '\n') {
      // Cut off in mid-block: the client stopped there. Elsewhere in a line it is something that Claude wrote.
      return kept.join('') + content.slice(from, tag);
    }
  }
  return kept.join('') + content.slice(from);
}

/** The end of a tag, or the beginning of the next: its attributes hold neither. */
function nextBracket(content: string, from: number): number {
  const brackets = /[<>]/g;
  brackets.lastIndex = from;
  return brackets.exec(content)?.index ?? content.length;
}

function withoutLines(content: string): string {
  const begins = content.startsWith(START_NOTICE);
  if (!begins && !content.includes(MARK)) return content;
  const lines = content
    .slice(begins ? START_NOTICE.length : 0)
    .split('\n')
    .filter((line) => !(line.startsWith('[') && line.endsWith(MARK)))
    .join('\n');
  return begins ? lines.replace(/^\n+/, '') : lines;
}
