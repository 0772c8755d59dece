import { readImageData, readImageUrl } from '../../lib/formats/readImage.js';
import { errorOf, timeOf } from './support.js';

const base64 = (...bytes: (string | number[])[]) =>
  Buffer.concat(bytes.map((part) => Buffer.from(part as string, 'latin1'))).toString('base64');

const heads = {
  'image/png': base64('\x89PNG\r\n\x1a\n\0\0\0\rIHDR'),
  'image/jpeg': base64('\xff\xd8\xff\xe0\0\x10JFIF'),
  'image/gif': base64('GIF89a\x01\0\x01\0'),
  'image/webp': base64('RIFF\x24\0\0\0WEBPVP8 '),
};
const types = Object.entries(heads);
const PNG = heads['image/png'];

const image = (media_type: string, data: string) => ({
  type: 'image',
  source: { type: 'base64', media_type, data },
});

const refused = (act: () => unknown, message: string) =>
  expect(errorOf(act)).toEqual({ code: 'invalid_messages', message, field: 'here' });

describe('the media type', () => {
  it.each(types)('is what the bytes say: %s', (mediaType, data) => {
    expect(readImageData(data, 'here')).toEqual(image(mediaType, data));
  });

  it.each(types)('is %s whatever the data URL says', (mediaType, data) => {
    for (const declared of ['image/jpg', 'image/png', 'image/svg+xml', 'image/x-icon']) {
      expect(readImageUrl(`data:${declared};base64,${data}`, 'here')).toEqual(
        image(mediaType, data),
      );
    }
  });

  it.each([
    ['a GIF of 1987', base64('GIF87a\x01\0\x01\0'), 'image/gif'],
    ['a JPEG from a camera', base64('\xff\xd8\xff\xe1\0\x10Exif'), 'image/jpeg'],
  ])('knows %s', (_, data, mediaType) => {
    expect(readImageData(data, 'here')).toEqual(image(mediaType, data));
  });

  it.each([
    ['a text', base64('Hello, world, hello')],
    ['an SVG', base64('<svg xmlns="http://www.w3.org/2000/svg"/>')],
    ['a PDF', base64('%PDF-1.7 and so on')],
    ['a BMP', base64('BM\0\0\0\0\0\0\0\0\0\0')],
    ['a WAV', base64('RIFF\x24\0\0\0WAVEfmt ')],
    ['a single byte', base64('\x89')],
  ])('is none of %s', (_, data) => {
    refused(() => readImageData(data, 'here'), 'here is not a JPEG, PNG, GIF or WebP image.');
  });
});

describe('base64', () => {
  it.each(['"},{', 'AA!A', 'AAA=A', '====', '', '-_-_', 'data:'])('is not %j', (data) => {
    refused(() => readImageData(data, 'here'), 'here is not base64.');
  });

  it('may be broken into lines, and comes out without them', () => {
    const lines = `${PNG.slice(0, 8)}\r\n${PNG.slice(8)}\n`;
    expect(readImageData(lines, 'here')).toEqual(image('image/png', PNG));
  });
});

describe('the size', () => {
  const LARGEST = 5_242_880;
  const ofLength = (characters: number) => PNG.replace(/=+$/, '').padEnd(characters, 'A');

  it('may be 5 MiB of base64, as the Messages API counts', () => {
    expect(readImageData(ofLength(LARGEST), 'here')).toMatchObject({ type: 'image' });
    expect(readImageUrl(`data:image/png;base64,${ofLength(LARGEST)}`, 'here')).toMatchObject({
      type: 'image',
    });
  });

  it('may not be more', () => {
    const message = 'here is larger than 5 MiB in base64.';
    refused(() => readImageData(ofLength(LARGEST + 1), 'here'), message);
    refused(() => readImageUrl(`data:image/png;base64,${ofLength(LARGEST + 1)}`, 'here'), message);
  });

  it('does not count line breaks', () => {
    const lines = ofLength(LARGEST).replace(/.{76}/g, '$&\r\n');
    expect(readImageData(lines, 'here')).toMatchObject({ type: 'image' });
  });
});

describe('a data URL', () => {
  const DEMAND =
    'here must be a base64 data URL of a JPEG, PNG, GIF or WebP image; other URLs are not fetched.';

  it('may call a JPEG image/jpg, as many clients do', () => {
    const url = `data:image/jpg;base64,${heads['image/jpeg']}`;
    expect(readImageUrl(url, 'here')).toEqual(image('image/jpeg', heads['image/jpeg']));
  });

  it.each([
    ['a web address', 'https://example.com/a.png'],
    ['a file', 'file:///etc/passwd'],
    ['a path', '/etc/passwd'],
    ['no image', `data:text/html;base64,${PNG}`],
    ['no base64', 'data:image/png,%89PNG'],
    ['no type', `data:;base64,${PNG}`],
    ['base64 alone', PNG],
    ['nothing', ''],
    ['a number', 5],
    ['an object', { url: 'x' }],
    ['null', null],
    ['undefined', undefined],
  ])('is not %s', (_, url) => {
    refused(() => readImageUrl(url, 'here'), DEMAND);
  });

  it.each([
    ['broken base64', 'AA!A', 'here is not base64.'],
    ['no data', '', 'here is not base64.'],
    ['no image within', base64('Hello, world'), 'here is not a JPEG, PNG, GIF or WebP image.'],
  ])('has not %s', (_, data, message) => {
    refused(() => readImageUrl(`data:image/png;base64,${data}`, 'here'), message);
  });
});

it.each([
  ['of base64', (data: string) => data],
  ['of base64 that ends wrongly', (data: string) => `${data}!`],
  ['in lines', (data: string) => data.replace(/.{76}/g, '$&\r\n')],
  ['of a data URL', (data: string) => `data:image/png;base64,${data}!`],
  ['of spaces', () => ' '.repeat(20_000_000)],
  ['of a type without an end', () => `data:image/${'a'.repeat(20_000_000)}`],
])('reads 20 MB %s in linear time', (_, make) => {
  const text = make('A'.repeat(20_000_000));
  expect(
    timeOf(() => {
      errorOf(() => readImageData(text, 'here'));
      errorOf(() => readImageUrl(text, 'here'));
    }),
  ).toBeLessThan(2_000);
});
