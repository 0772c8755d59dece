import { numberOf, rangeEntries, readEntries } from '../../../lib/stores/redis/streamEntries';

const raw = [
  ['7-0', ['frame', 'seven']],
  ['7-1', ['end', 'over', 'by', 'me']],
];
const entries = [
  { id: '7-0', number: 7, fields: ['frame', 'seven'] },
  { id: '7-1', number: 7, fields: ['end', 'over', 'by', 'me'] },
];

test('the number of an entry is what is before the dash', () => {
  expect(numberOf('0-1')).toBe(0);
  expect(numberOf('12345678901-0')).toBe(12_345_678_901);
});

describe('a range', () => {
  test('has its entries in order', () => {
    expect(rangeEntries(raw)).toEqual(entries);
  });

  test('may be of buffers', () => {
    const buffers = raw.map(([id, fields]) => [
      Buffer.from(id as string),
      (fields as string[]).map((field) => Buffer.from(field)),
    ]);
    expect(rangeEntries(buffers)).toEqual(entries);
  });

  test.each([[[]], [null], [undefined]])('is empty: %j', (reply) => {
    expect(rangeEntries(reply)).toEqual([]);
  });
});

describe('what was waited for', () => {
  const other = [['1-0', ['frame', 'one']]];
  const expected = new Map([
    ['a', entries],
    ['b', [{ id: '1-0', number: 1, fields: ['frame', 'one'] }]],
  ]);

  test.each<[shape: string, reply: unknown]>([
    ['an object', Object.assign(Object.create(null), { a: raw, b: other })],
    [
      'a Map',
      new Map([
        ['a', raw],
        ['b', other],
      ]),
    ],
    ['one flat list', ['a', raw, 'b', other]],
    [
      'a list of pairs',
      [
        ['a', raw],
        ['b', other],
      ],
    ],
  ])('comes as %s', (_shape, reply) => {
    expect(readEntries(reply, ['a', 'b'])).toEqual(expected);
  });

  test.each([[null], [undefined], [[]], [{}], [new Map()]])('may be nothing: %p', (reply) => {
    expect(readEntries(reply, ['a'])).toEqual(new Map());
  });

  test('is found by the key that was asked for, when the client puts a prefix before it', () => {
    const reply = { 'app:a': raw, 'app:b': other };
    expect(readEntries(reply, ['a', 'b'])).toEqual(expected);
  });
});
