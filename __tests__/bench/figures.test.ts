import { figure, medianDifference, medianRatio, percentile, verdict } from '../../bench/figures.js';

describe('percentile', () => {
  it('is the value in the middle, or between the two that are', () => {
    expect(percentile([3, 1, 2], 50)).toBe(2);
    expect(percentile([4, 1, 2, 3], 50)).toBe(2.5);
  });

  it('sorts numbers as numbers and leaves its argument alone', () => {
    const values = [100, 9, 20];
    expect(percentile(values, 100)).toBe(100);
    expect(values).toEqual([100, 9, 20]);
  });

  it('lies near the end for the 99th of a hundred', () => {
    const values = Array.from({ length: 101 }, (_, index) => index);
    expect(percentile(values, 99)).toBe(99);
  });

  it('refuses an empty list, which would pass for a zero', () => {
    expect(() => percentile([], 50)).toThrow(RangeError);
  });
});

test('a figure keeps its rounds beside median, least and most', () => {
  const what = { name: 'CPU', contender: 'pipe', x: 10, unit: 'ms' };
  expect(figure(what, [5, 1, 3])).toEqual({
    ...what,
    median: 3,
    min: 1,
    max: 5,
    rounds: [5, 1, 3],
  });
});

test('ratios and differences are taken round by round', () => {
  // The medians alone would give 3 / 4 and 4 - 2.
  expect(medianRatio([3, 12, 2], [2, 4, 4])).toBe(1.5);
  expect(medianDifference([1, 10, 4], [2, 2, 3])).toBe(1);
});

test('a target is met, missed, or missed by no more than noise', () => {
  const check = { name: 'it', unit: '×', most: 1, tolerated: 1.2 };
  expect(verdict({ ...check, value: 1 })).toBe('met');
  expect(verdict({ ...check, value: 1.2 })).toBe('missed, within noise');
  expect(verdict({ ...check, value: 1.21 })).toBe('missed');
  expect(verdict({ ...check, value: Number.NaN })).toBe('missed');
});
