/**
 * Characters of text in one event. Open WebUI loses the whole reply at a line of 128 KiB; 10 000 characters are at most
 * 60 KB of JSON, when each is a control character written as `\u0000`, and hold an error with its 8 KiB of stderr.
 */
const LONGEST_TEXT = 10_000;

/** As much of a text as one event may hold; a surrogate pair is not cut. */
export function firstPiece(text: string): string {
  if (text.length <= LONGEST_TEXT) return text;
  const last = text.charCodeAt(LONGEST_TEXT - 1);
  const isHighSurrogate = last >= 0xd800 && last <= 0xdbff;
  return text.slice(0, isHighSurrogate ? LONGEST_TEXT - 1 : LONGEST_TEXT);
}

/** A text in pieces of which each fits into one event; none for an empty text. */
export function piecesOf(text: string): string[] {
  // Nearly every text is one.
  if (text.length <= LONGEST_TEXT) return text === '' ? [] : [text];
  const pieces: string[] = [];
  for (let rest = text; rest !== ''; rest = rest.slice(pieces.at(-1)?.length)) {
    pieces.push(firstPiece(rest));
  }
  return pieces;
}
