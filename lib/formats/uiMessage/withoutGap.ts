/** A text without the blank line by which it would be set apart from what a part of its own stands apart from. */
export function withoutGap(text: string): string {
  return text.replace(/^\n+/, '');
}
