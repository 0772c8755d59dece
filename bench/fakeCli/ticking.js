#!/usr/bin/env node
// @ts-check
/**
 * Stands in for the CLI and says what time it is: a delta about every $BENCH_INTERVAL ms until stdin is closed, each of
 * which holds when it was written.
 */
import { deltaLine, opening, stamp } from '../transcript.js';

const interval = Number(process.env.BENCH_INTERVAL);
let ticks = 0;

function tick() {
  process.stdout.write(`${deltaLine(`${stamp()}~`, ticks++)}\n`);
  // Many of these must not fall into step.
  setTimeout(tick, interval * (0.75 + Math.random() / 2));
}

process.stdin.once('data', () => {
  process.stdout.write(`${opening.join('\n')}\n`);
  tick();
});
process.stdin.once('end', () => process.exit());
