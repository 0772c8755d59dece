import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express, { type Express } from 'express';
import express4 from 'express4';
import { type OpenAIRouter, type OpenAIRouterOptions, type Outcome, openaiRouter } from '../lib';
import { fixture, isAlive } from './chatServer';

/** A way to make applications, and the router that belongs to it. */
export interface Framework {
  readonly express: typeof express;
  readonly openaiRouter: typeof openaiRouter;
}

export const express5: Framework = { express, openaiRouter };

/** The library as it is in an application that has Express 4 installed, and nothing else. */
export function loadWithExpress4(): Framework {
  let lib: { openaiRouter: typeof openaiRouter } | undefined;
  jest.isolateModules(() => {
    jest.doMock('express', () => jest.requireActual('express4'));
    lib = require('../lib');
    jest.dontMock('express');
  });
  if (lib === undefined) throw new Error('The library could not be loaded.');
  return { express: express4, openaiRouter: lib.openaiRouter };
}

/** What the fixture `conversation` was started with; without `content` it was only asked for its models. */
export interface Start {
  readonly pid: number;
  readonly args: readonly string[];
  readonly setup?: { readonly [field: string]: unknown };
  readonly content?: unknown;
}

export interface RouterServer {
  /** Without a slash at its end; the router is at `/v1`. */
  readonly url: string;
  readonly router: OpenAIRouter;
  readonly outcomes: Outcome[];
  readonly pids: number[];
  readonly errors: { code: string; message: string }[];
  /** The processes that were given a prompt, in order. */
  prompted(): Start[];
  /** The arguments of the last of them, without those that all have. */
  lastFlags(): string[];
  /** Every process that has noted its start: `conversation` and `models` do. */
  started(): number[];
  close(): Promise<void>;
}

const FIXED_FLAGS = 5;

/**
 * A real server with an `openaiRouter`, and a fixture executable in the place of the CLI.
 *
 * @param env the fixture's parameters
 * @param before what the application mounts before the router
 */
export async function startRouterServer(
  name: string,
  options: OpenAIRouterOptions = {},
  env: Record<string, string> = {},
  before: (app: Express) => void = () => {},
  framework: Framework = express5,
): Promise<RouterServer> {
  const folder = mkdtempSync(join(tmpdir(), 'claude-stream-'));
  const log = join(folder, 'log');
  const outcomes: Outcome[] = [];
  const pids: number[] = [];
  const errors: RouterServer['errors'] = [];
  const router = framework.openaiRouter({
    command: fixture(name),
    env: { ...env, LOG: log },
    ...options,
    onStart: (context) => {
      pids.push(context.pid);
      return options.onStart?.(context);
    },
    onEnd: (outcome, context) => {
      outcomes.push(outcome);
      return options.onEnd?.(outcome, context);
    },
    onError: (error, context) => {
      errors.push({ code: error.code, message: error.message });
      return options.onError?.(error, context);
    },
  });
  const app = framework.express();
  before(app);
  app.use('/v1', router);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const noted = (): (Start | number)[] =>
    existsSync(log)
      ? readFileSync(log, 'utf8')
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
  const prompted = () =>
    noted().flatMap((start) =>
      typeof start === 'number' || start.content === undefined ? [] : [start],
    );
  const started = () => noted().map((start) => (typeof start === 'number' ? start : start.pid));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    router,
    outcomes,
    pids,
    errors,
    prompted,
    lastFlags: () => [...(prompted().at(-1)?.args.slice(FIXED_FLAGS) ?? [])],
    started: () => [...new Set(started())],
    close: async () => {
      await router.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      const left = [...started(), ...pids].filter(isAlive);
      rmSync(folder, { recursive: true });
      if (left.length > 0) throw new Error(`Still alive after close(): ${left}`);
    },
  };
}
