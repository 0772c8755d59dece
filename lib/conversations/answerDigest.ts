import { createHash } from 'node:crypto';

/** Characters that are collected before they are hashed: a delta has about ten. */
const HASHED_AT_ONCE = 4_096;

/** Pieces of an answer after which a client may have stopped it, counted from its end. */
const PREFIXES_KEPT = 512;

/**
 * What is needed to recognise an answer, whatever its length: a hash of the whole, and one of what had been said after
 * each piece. A client that stops an answer has some of its pieces, all of them whole.
 *
 * The second is no cryptographic hash: it costs nanoseconds a character, and is compared only with answers to the very
 * same conversation.
 */
export class AnswerDigest {
  readonly #hash = createHash('sha256');
  #whole: string | undefined;
  #waiting = '';
  #low = 0x811c9dc5;
  #high = 0x9dc5811c;
  #prefixes: number[] = [];

  add(piece: string): this {
    const text = withoutWhiteSpace(piece);
    if (text === '') return this;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      this.#low = Math.imul(this.#low ^ code, 0x01000193);
      this.#high = Math.imul(this.#high ^ code, 0x5bd1e995) + 1;
    }
    this.#prefixes.push(this.#prefix);
    if (this.#prefixes.length === 2 * PREFIXES_KEPT) {
      this.#prefixes = this.#prefixes.slice(PREFIXES_KEPT);
    }
    this.#waiting += text;
    if (this.#waiting.length >= HASHED_AT_ONCE) this.#flush();
    return this;
  }

  /** After this, nothing can be added. */
  whole(): string {
    if (this.#whole === undefined) {
      this.#flush();
      this.#whole = this.#hash.digest('base64url');
    }
    return this.#whole;
  }

  /** Of everything added so far. */
  get lastPrefix(): string {
    return this.#prefix.toString(36);
  }

  get prefixes(): readonly string[] {
    return this.#prefixes.slice(-PREFIXES_KEPT).map((prefix) => prefix.toString(36));
  }

  get #prefix(): number {
    return (this.#high >>> 12) * 2 ** 32 + (this.#low >>> 0);
  }

  #flush(): void {
    // UTF-16, or the halves of a surrogate pair in two pieces would be hashed as something else.
    this.#hash.update(this.#waiting, 'utf16le');
    this.#waiting = '';
  }
}

/** Clients trim, and join the parts of an answer in their own way. */
export function withoutWhiteSpace(text: string): string {
  return text.replace(/\s+/g, '');
}
