/**
 * Open WebUI takes these tags in answer text for the start of hidden reasoning, of a solution or of code to be run, and
 * swallows the rest of the answer (0.10.2, `DEFAULT_REASONING_TAGS`, `DEFAULT_SOLUTION_TAGS`,
 * `DEFAULT_CODE_INTERPRETER_TAGS`); a tag in angle brackets also counts with attributes.
 */
const NAMES = [
  'think',
  'thinking',
  'reason',
  'reasoning',
  'thought',
  'Thought',
  'code_interpreter',
];
const OPENINGS = [
  '<|begin_of_thought|>',
  '<|begin_of_solution|>',
  '◁think▷',
  ...NAMES.map((name) => `<${name}`),
];
const TAG = new RegExp(
  `(<)(?=(?:${NAMES.join('|')})[\\s>]|\\|begin_of_(?:thought|solution)\\|>)|(◁)(?=think▷)`,
  'g',
);

const ZERO_WIDTH_SPACE = '\u200b';

/**
 * Makes literal reasoning tags harmless by a zero-width space after their first character.
 *
 * A tag may be cut anywhere between two deltas, so what could become one at the end of a delta is held back until the
 * next: at most 21 characters, and nothing at all unless the text ends like a tag.
 */
export class ReasoningTagEscaper {
  #held = '';

  write(text: string): string {
    if (this.#held === '' && !text.includes('<') && !text.includes('◁')) return text;
    const whole = this.#held + text;
    const cut = whole.length - unfinishedTag(whole);
    this.#held = whole.slice(cut);
    return escapeReasoningTags(whole.slice(0, cut));
  }

  /** What is still held back, when nothing follows. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return escapeReasoningTags(held);
  }
}

/** A whole text with its tags made harmless. */
export function escapeReasoningTags(text: string): string {
  return text.replace(TAG, (bracket) => bracket + ZERO_WIDTH_SPACE);
}

/** The same for JSON, whose strings must not change: the first character is written as its escape. */
export function escapeReasoningTagsInJson(json: string): string {
  return json.replace(
    TAG,
    (bracket) => `\\u${bracket.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** How many characters at the end of `text` could be the beginning of a tag. */
function unfinishedTag(text: string): number {
  const start = Math.max(text.lastIndexOf('<'), text.lastIndexOf('◁'));
  if (start === -1) return 0;
  const tail = text.slice(start);
  return OPENINGS.some((opening) => opening.startsWith(tail)) ? tail.length : 0;
}
