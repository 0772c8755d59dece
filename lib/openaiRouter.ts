import express, {
  type ErrorRequestHandler,
  type NextFunction,
  type Request,
  type RequestHandler,
  type Response,
  type Router,
} from 'express';
import { authorization } from './authorization.js';
import { ClaudeStreamError } from './errors.js';
import { statusResponse } from './formats/openai/errorResponse.js';
import { described, guardedHooks } from './hooks.js';
import type { OfferedModel } from './models.js';
import { type OpenAIRouterOptions, type RouterSettings, readRouterOptions } from './options.js';
import { createRunId } from './run.js';
import { sendError, sendJson } from './sendJson.js';
import { serveChat } from './serveChat.js';
import { type CloseOptions, Service } from './service.js';

export interface OpenAIRouter extends Router {
  /**
   * Refuses new runs and those that wait for their turn with 503, lets those that are going on end for `grace` ms, and
   * stops the rest; clients that are still there get an ending that says so. Settles when no process of this router is
   * alive.
   *
   * @throws ClaudeStreamError `invalid_option`
   */
  close(options?: CloseOptions): Promise<void>;
}

/**
 * An Express router that speaks OpenAI's API: `GET /models`, `GET /models/:id` and `POST /chat/completions`. Mount it
 * where clients look for it, `app.use('/v1', openaiRouter({ apiKey }))`, and before any `express.json()`, whose limit
 * of 100 KiB is too low for conversations: it reads bodies itself.
 *
 * @throws ClaudeStreamError `invalid_option`; `not_called` when it was mounted without parentheses
 */
export function openaiRouter(options?: OpenAIRouterOptions): OpenAIRouter {
  const settings = readRouterOptions(options);
  const service = new Service(settings);
  const router = express.Router();
  router.use(authentication(settings));
  router.get('/models', async (_request, response, next) => {
    try {
      const models = (await service.models?.list()) ?? [];
      response.json({ object: 'list', data: models.map(modelObject) });
    } catch (error) {
      next(error);
    }
  });
  router.get(/^\/models\/(.+)$/, async (request, response, next) => {
    try {
      const id = String(request.params[0]);
      // Known by more names than are listed: `claude-opus-5-5` for `opus`.
      await service.models?.resolve(id);
      const models = (await service.models?.list()) ?? [];
      const model = models.find((one) => one.id === id);
      response.json(modelObject(model ?? { id, name: undefined, description: undefined }));
    } catch (error) {
      next(error);
    }
  });
  router.post('/chat/completions', readJson(settings.maxBodyBytes), (request, response, next) => {
    const names = settings.key ? 'request" or "key' : 'request';
    serveChat(service, request, response).catch((cause) => next(asError(names, cause)));
  });
  router.all(/^\/models(?:\/.+)?$/, allowOnly('GET'));
  router.all('/chat/completions', allowOnly('POST'));
  router.use((request: Request, _response: Response, next: NextFunction) => {
    next(
      new ClaudeStreamError(
        'unknown_url',
        `There is no ${request.method} ${request.path.slice(0, 200)} here. There are GET /models, GET /models/:id and ` +
          'POST /chat/completions.',
      ),
    );
  });
  router.use(errorAnswer(settings));
  return Object.assign(router, { close: (options?: CloseOptions) => service.close(options) });
}

/** Lets in who has a key. Without one everybody is let in, which is worth a warning once a stranger could come. */
function authentication({ apiKey }: RouterSettings): RequestHandler {
  if (apiKey !== undefined) {
    const authorize = authorization(apiKey);
    return (request, _response, next) => {
      authorize(request).then(
        () => next(),
        (cause) => next(asError('apiKey', cause)),
      );
    };
  }
  let warned = false;
  return (request, _response, next) => {
    const isForwarded = request.headers['x-forwarded-for'] !== undefined;
    if (!warned && (isForwarded || !isLoopback(request.socket.localAddress))) {
      warned = true;
      process.emitWarning(
        'openaiRouter() has no apiKey and is reached from other machines, or through a proxy: whoever can connect can use Claude Code. ' +
          "Write openaiRouter({ apiKey: '…' }).",
        { code: 'CLAUDE_STREAM_NO_API_KEY' },
      );
    }
    next();
  };
}

function isLoopback(address: string | undefined): boolean {
  return address === undefined || /^(?:::ffff:)?127\.|^::1$/.test(address);
}

/** `created` is the same for all and always: the CLI does not tell when a model was made. */
function modelObject({ id, name, description }: OfferedModel): object {
  return { id, object: 'model', created: 0, owned_by: 'anthropic', name, description };
}

/**
 * Reads the body, unless the application has. Only JSON is taken, for which a browser asks for leave across origins; a
 * form it sends without asking.
 */
function readJson(maxBodyBytes: number): RequestHandler {
  const parse = express.json({
    limit: maxBodyBytes,
    verify: (_request, _response, body) => {
      if (hasTooManyValues(body)) throw new Error('It has too many values.');
    },
  });
  return (request, response, next) => {
    parse(request, response, (cause?: unknown) => {
      if (cause) next(bodyError(cause, maxBodyBytes));
      else if (request.is(['json', '+json']) && typeof request.body === 'object') next();
      else {
        next(
          new ClaudeStreamError(
            'body_not_parsed',
            'The request has no JSON object as its body. Send one, with "Content-Type: application/json".',
          ),
        );
      }
    });
  };
}

/**
 * A value of JSON takes some 30 bytes of memory and a microsecond, however short it is: 50 MiB of brackets, 50 KB when
 * they are zipped, would stop the server for ten seconds and take more than a gigabyte. A conversation has thousands of
 * values; text, and images in base64, count for next to nothing.
 */
const MOST_VALUES = 1_000_000;

const [COMMA, OPENING_BRACKET, OPENING_BRACE] = Buffer.from(',[{');

function hasTooManyValues(body: Buffer): boolean {
  let values = 0;
  // By index: an iterator would take ten times as long.
  for (let at = 0; at < body.length && values <= MOST_VALUES; at++) {
    const byte = body[at];
    if (byte === COMMA || byte === OPENING_BRACKET || byte === OPENING_BRACE) values += 1;
  }
  return values > MOST_VALUES;
}

/** What `express.json()` has against a body. */
function bodyError(cause: unknown, maxBodyBytes: number): ClaudeStreamError {
  const { type, message } = cause as { type?: unknown; message?: unknown };
  if (type === 'entity.verify.failed') {
    return new ClaudeStreamError(
      'body_too_large',
      `The request body has more than ${MOST_VALUES} values.`,
    );
  }
  if (type === 'entity.too.large') {
    return new ClaudeStreamError(
      'body_too_large',
      `The request body is larger than ${maxBodyBytes} bytes.`,
    );
  }
  return new ClaudeStreamError(
    'invalid_body',
    `The request body cannot be read, it must be JSON in UTF-8: ${message}.`,
    { cause },
  );
}

function allowOnly(method: 'GET' | 'POST'): RequestHandler {
  return (request, response, next) => {
    response.setHeader('Allow', method === 'GET' ? 'GET, HEAD' : method);
    next(
      new ClaudeStreamError(
        'method_not_allowed',
        `${request.method} is not allowed here; send ${method}.`,
      ),
    );
  };
}

/** Whatever fails before the first byte is answered in OpenAI's shape: clients wait for ever on an HTML page. */
function errorAnswer(settings: RouterSettings): ErrorRequestHandler {
  return (cause: unknown, request, response, next) => {
    if (response.headersSent) {
      next(cause);
      return;
    }
    const { status, message } = (cause ?? {}) as Record<string, unknown>;
    const error = asError('middleware', cause);
    if (error instanceof ClaudeStreamError) {
      guardedHooks(settings.hooks, { runId: createRunId(), request }).onError(error);
      if (error.code === 'invalid_api_key') response.setHeader('WWW-Authenticate', 'Bearer');
      sendError(response, settings, error);
      return;
    }
    // What the application throws for its client: the convention of http-errors.
    const isStatus = Number.isInteger(status) && Number(status) >= 400 && Number(status) < 600;
    const answer = statusResponse(isStatus ? Number(status) : 500, String(message));
    sendJson(response, answer, settings.stallTimeout);
  };
}

/** What one of the application's functions has thrown, unless it is meant for the client. */
function asError(name: string, cause: unknown): unknown {
  const { expose } = (cause ?? {}) as { expose?: unknown };
  if (cause instanceof ClaudeStreamError || expose === true) return cause;
  if (cause instanceof URIError) {
    return new ClaudeStreamError('unknown_url', 'The URL cannot be decoded.', { cause });
  }
  return new ClaudeStreamError(
    'hook_failed',
    `The function "${name}" failed: ${described(cause)}`,
    {
      cause,
    },
  );
}
