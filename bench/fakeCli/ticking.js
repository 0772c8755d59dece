#!/usr/bin/env node
// @ts-check
/**
 * Stands in for the CLI and says what time it is: a delta about every $BENCH_INTERVAL ms until stdin is closed, each of
 * which holds when it was written. Before them come $BENCH_PRELUDE deltas at once, which hold no time.
 */
import { deltaLine, opening, stamp } from '../transcript.js';

const interval = Number(process.env.BENCH_INTERVAL);
const prelude = Number(process.env.BENCH_PRELUDE ?? 0);
let ticks = 0;

function tick() {
  process.stdout.write(`${deltaLine(`${stamp()}~`, ticks++)}\n`);
  // Many of these must not fall into step.
  setTimeout(tick, interval * (0.75 + Math.random() / 2));
}

process.stdin.once('data', () => {
  const lines = Array.from({ length: prelude }, (_, number) => deltaLine('word~', number));
  process.stdout.write(`${[...opening, ...lines].join('\n')}\n`, tick);
});
process.stdin.once('end', () => process.exit());
