import type { ContentBlock } from '../claude/messages.js';

/** What a person wants to know of a tool call at a glance: its name, and what it is applied to. */
export interface ToolLabel {
  readonly name: string;
  readonly detail: string;
}

const LONGEST_DETAIL = 80;

/** Tools whose detail is a sentence or a command of its own. */
const SPOKEN_DETAILS = ['Bash', 'Agent', 'Task'];

/** Fields of tool inputs that say what a call is about, in the order in which they are looked for. */
const TELLING_FIELDS = ['command', 'pattern', 'query', 'url', 'description', 'subject', 'skill'];

/** The label of a `tool_use` block. Of a path only the last part is shown: the rest is the server's business. */
export function toolLabel(block: ContentBlock): ToolLabel {
  const name = block.name ?? 'Tool';
  const input = (typeof block.input === 'object' && block.input) || {};
  const fields = input as Record<string, unknown>;
  const path = fields.file_path ?? fields.notebook_path;
  if (typeof path === 'string') return { name, detail: shortened(lastPartOf(path)) };
  const telling = TELLING_FIELDS.map((field) => fields[field]).find(
    (value) => typeof value === 'string' && value.trim() !== '',
  );
  return { name, detail: typeof telling === 'string' ? shortened(telling) : '' };
}

/** A label in words: `Read notes.md`, `Bash: npm test`. */
export function described({ name, detail }: ToolLabel): string {
  if (detail === '') return name;
  return SPOKEN_DETAILS.includes(name) ? `${name}: ${detail}` : `${name} ${detail}`;
}

/** One line of at most 80 characters; a surrogate pair is not cut. */
export function shortened(text: string): string {
  const line = text.trim().split(/[\r\n]/, 1)[0] ?? '';
  const characters = Array.from(line.slice(0, 4 * LONGEST_DETAIL));
  if (characters.length <= LONGEST_DETAIL) return line === text.trim() ? line : `${line} …`;
  return `${characters.slice(0, LONGEST_DETAIL).join('')}…`;
}

/** In linear time, which a regular expression that looks for the end of a long path does not take. */
function lastPartOf(path: string): string {
  let end = path.length;
  while (path[end - 1] === '/') end -= 1;
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end);
}
