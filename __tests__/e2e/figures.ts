import { appendFileSync } from 'node:fs';
import { join } from 'node:path';

const file = join(__dirname, '../../node_modules/.cache/claude-stream/figures.jsonl');

/** Notes what a test has measured, for the reader who wants to know by how much a limit is kept. */
export function record(figure: string, value: number): void {
  const { currentTestName: test } = expect.getState();
  appendFileSync(file, `${JSON.stringify({ test, figure, value: Math.round(value * 10) / 10 })}\n`);
}
