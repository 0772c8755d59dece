// @ts-check
/**
 * Hosts one contender in a process of its own, whose CPU time and memory are then those of the contender. Says its port
 * over IPC and answers questions there; ends when its parent does.
 */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import express from 'express';

/**
 * How a contender runs the CLI.
 * @typedef {object} Setting
 * @property {string} command
 * @property {Record<string, string>} env what the command needs to know
 * @property {Record<string, any>} options the contender's own
 */

/**
 * Every file in contenders/ exports `createHandler`.
 * @typedef {import('express').RequestHandler & { replay?: import('express').RequestHandler }} Handler
 * @typedef {{ createHandler(setting: Setting): Handler | Promise<Handler> }} Contender
 */

/**
 * @typedef {object} Usage
 * @property {number} cpu µs that the process has worked
 * @property {number} rss bytes
 * @property {number} heap bytes that are in use, outside of V8's heap included
 * @property {number} longestPause ms for which the event loop was busy, at most, since `watchPauses`
 */

const { collect } = /** @type {{ collect: () => void }} */ ({
  collect: /** @type {any} */ (globalThis).gc,
});
const pauses = monitorEventLoopDelay({ resolution: 5 });

/** @type {Record<string, () => unknown>} */
const answers = {
  usage() {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed, external } = process.memoryUsage();
    /** @type {Usage} */
    const usage = {
      cpu: user + system,
      rss,
      heap: heapUsed + external,
      longestPause: pauses.max / 1e6,
    };
    return usage;
  },
  collect() {
    // What a finalizer lets go of is collected by the second.
    collect();
    collect();
  },
  watchPauses() {
    pauses.reset();
    pauses.enable();
  },
};

/** @param {string} module @param {Setting} setting */
async function listen(module, setting) {
  /** @type {Contender} */
  const contender = await import(new URL(`./contenders/${module}.js`, import.meta.url).href);
  const handler = await contender.createHandler(setting);
  const app = express().use(express.json()).post('/chat', handler);
  if (handler.replay) app.get('/chat/:run', handler.replay);
  const server = app.listen(0, '127.0.0.1', 4_096);
  await once(server, 'listening');
  return /** @type {import('node:net').AddressInfo} */ (server.address()).port;
}

process.on('disconnect', () => process.exit());
process.on('uncaughtException', (error) => {
  process.send?.({ failure: { message: String(error), code: /** @type {any} */ (error).code } });
  process.exitCode = 1;
  process.disconnect();
});
process.on('message', (question) => {
  const { id, ask } = /** @type {{ id: number, ask: string }} */ (question);
  process.send?.({ id, answer: answers[ask]?.() ?? null });
});

const [module = '', setting = '{}'] = process.argv.slice(2);
process.send?.({ port: await listen(module, JSON.parse(setting)) });
