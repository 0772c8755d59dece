// @ts-check
/**
 * How the cost of one long line grows: a line of the CLI can be many megabytes (a tool's result, an image), and a
 * reader that searches it again with every chunk blocks the server for seconds. Prints a table; fails when a line of
 * 40 MB takes more than 2.5 times as long as one of 20 MB.
 */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { claudeStream } from 'claude-stream';
import express from 'express';

const MEGABYTE = 1_000_000;
const ROUNDS = 7;
const MOST = 2.5;
const command = fileURLToPath(new URL('../__tests__/fixtures/long-line.js', import.meta.url));

/** @param {number} bytes @returns {Promise<number>} ms from the first message to the end of the line */
async function timeOfLine(bytes) {
  const chat = claudeStream({ command, env: { BYTES: String(bytes) } });
  const app = express().use(express.json()).post('/chat', chat);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const response = await fetch(`http://127.0.0.1:${port}/chat`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'hi' }),
  });
  if (!response.body) throw new Error('There is no stream.');
  let received = 0;
  let started = 0;
  let arrived = 0;
  for await (const chunk of response.body) {
    received += chunk.length;
    // The comment and the first messages come before the line: the process is up then.
    if (started === 0 && received > 100) started = performance.now();
    if (arrived === 0 && received > bytes) arrived = performance.now();
  }
  if (arrived === 0) throw new Error(`Only ${received} of ${bytes} bytes arrived.`);
  await chat.close();
  server.close();
  return arrived - started;
}

/** @param {number} bytes */
async function median(bytes) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await timeOfLine(bytes));
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? 0;
}

await timeOfLine(MEGABYTE);
/** @type {Map<number, number>} */
const times = new Map();
console.log('line       ms   ms per MB');
for (const megabytes of [5, 10, 20, 40]) {
  const ms = await median(megabytes * MEGABYTE);
  times.set(megabytes, ms);
  console.log(
    `${String(megabytes).padStart(2)} MB  ${ms.toFixed(0).padStart(6)}  ${(ms / megabytes).toFixed(1).padStart(10)}`,
  );
}
const ratio = (times.get(40) ?? 0) / (times.get(20) ?? 1);
console.log(`40 MB takes ${ratio.toFixed(2)} times as long as 20 MB (at most ${MOST}).`);
process.exitCode = ratio <= MOST ? 0 : 1;
