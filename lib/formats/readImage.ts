import type { ContentBlock } from '../claude/messages.js';
import { ClaudeStreamError } from '../errors.js';

const DATA_URL = /^data:image\/[\w.+-]+;base64,/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** Characters of base64; the Messages API takes no more, nor does the CLI (2.1.330). They stand for 3.9 MB. */
const LARGEST_IMAGE = 5 * 2 ** 20;

/** An image as the Messages API takes it, out of a data URL. @throws ClaudeStreamError `invalid_messages` */
export function readImageUrl(url: unknown, field: string): ContentBlock {
  const [prefix] = (typeof url === 'string' && DATA_URL.exec(url)) || [];
  if (prefix === undefined) {
    throw new ClaudeStreamError(
      'invalid_messages',
      `${field} must be a base64 data URL of a JPEG, PNG, GIF or WebP image; other URLs are not fetched.`,
      { field },
    );
  }
  return readImageData((url as string).slice(prefix.length), field);
}

/** @throws ClaudeStreamError `invalid_messages` */
export function readImageData(text: string, field: string): ContentBlock {
  const invalid = (problem: string) =>
    new ClaudeStreamError('invalid_messages', `${field} ${problem}`, { field });
  const data = /\s/.test(text) ? text.replace(/\s+/g, '') : text;
  if (!BASE64.test(data)) throw invalid('is not base64.');
  if (data.length > LARGEST_IMAGE) throw invalid('is larger than 5 MiB in base64.');
  const mediaType = mediaTypeOf(Buffer.from(data.slice(0, 16), 'base64'));
  if (mediaType === undefined) throw invalid('is not a JPEG, PNG, GIF or WebP image.');
  return { type: 'image', source: { type: 'base64', media_type: mediaType, data } };
}

/** What the bytes say, since the API refuses an image whose declared type is wrong. */
function mediaTypeOf(head: Buffer): string | undefined {
  const text = head.toString('latin1');
  if (text.startsWith('\x89PNG\r\n')) return 'image/png';
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (text.startsWith('GIF8')) return 'image/gif';
  if (text.startsWith('RIFF') && text.endsWith('WEBP', 12)) return 'image/webp';
  return undefined;
}
