import createDebug from 'debug';
import { type ClaudeMessage, type ControlRequestMessage, isControlRequest } from './messages.js';

const debug = createDebug('claude-stream:run');

/** A tool that the CLI may not run without being told so. */
export interface PermissionRequest {
  /** The tool's name: `Bash`, `Write`, `mcp__github__create_issue`, `AskUserQuestion`. */
  readonly toolName: string;
  /** Its input, as the model wrote it. */
  readonly input: Readonly<Record<string, unknown>>;
  readonly toolUseId: string | undefined;
  /** The tool's own words for what it is about to do. */
  readonly description: string | undefined;
  /** Rules that would allow it for good, as the CLI suggests them; any of them may be an `updatedPermissions`. */
  readonly suggestions: readonly unknown[];
}

/** The answer to a permission request. */
export type PermissionDecision =
  | {
      readonly behavior: 'allow';
      /** What the tool is run with instead. */
      readonly updatedInput?: Readonly<Record<string, unknown>> | undefined;
      readonly updatedPermissions?: readonly unknown[] | undefined;
    }
  /** `message` is told to the model. */
  | { readonly behavior: 'deny'; readonly message?: string | undefined };

export interface PermissionPromptsOptions {
  readonly decide: (request: PermissionRequest, signal: AbortSignal) => unknown;
  /** ms until a question that nobody has answered is denied. */
  readonly timeout: number | false;
  /** Writes a message to the CLI. */
  readonly send: (message: object) => void;
  /** `decide` threw, or returned something else than a decision; the question was denied. */
  readonly onFailure: (cause: unknown) => void;
  /** Called when the first question is asked, and when the last one was answered. */
  readonly onWaiting: (waiting: boolean) => void;
}

/**
 * The questions of one process whether a tool may run, over `--permission-prompt-tool=stdio`. Each is answered exactly
 * once: by the application, by the clock, or not at all when the CLI takes it back or the run ends.
 */
export class PermissionPrompts {
  readonly #options: PermissionPromptsOptions;
  /** Ends the questions that are open, by id. */
  readonly #open = new Map<string, () => void>();
  #ended = false;

  constructor(options: PermissionPromptsOptions) {
    this.#options = options;
  }

  observe(message: ClaudeMessage): void {
    if (this.#ended) return;
    if (message.type === 'control_cancel_request') {
      if (typeof message.request_id === 'string') this.#open.get(message.request_id)?.();
    } else if (isControlRequest(message)) {
      if (message.request.subtype === 'can_use_tool') void this.#ask(message);
      else this.#refuse(message);
    }
  }

  /** The process will not wait for an answer any more. */
  end(): void {
    this.#ended = true;
    for (const close of [...this.#open.values()]) close();
  }

  async #ask({ request_id: id, request }: ControlRequestMessage): Promise<void> {
    if (this.#open.has(id)) return;
    const { timeout, decide, onFailure, onWaiting } = this.#options;
    const controller = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const close = () => {
      clearTimeout(timer);
      if (!this.#open.delete(id)) return false;
      controller.abort();
      if (this.#open.size === 0) onWaiting(false);
      return true;
    };
    this.#open.set(id, close);
    if (this.#open.size === 1) onWaiting(true);
    const input = isObject(request.input) ? request.input : {};
    const answer = (decision: PermissionDecision) => {
      const response = responseOf(decision, input);
      if (close()) this.#answer(id, decision.behavior, response);
    };
    if (timeout !== false) {
      const seconds = Math.round(timeout / 1_000);
      const message = `Nobody answered the permission request within ${seconds} s.`;
      timer = setTimeout(() => answer({ behavior: 'deny', message }), timeout).unref();
    }
    try {
      const decision = await decide(readPermissionRequest(request, input), controller.signal);
      if (!isDecision(decision)) {
        throw new TypeError(
          "canUseTool must return { behavior: 'allow' } or { behavior: 'deny', message }.",
        );
      }
      answer(decision);
    } catch (cause) {
      // A question that was taken back may well end in an AbortError.
      if (!this.#open.has(id)) return;
      answer({ behavior: 'deny', message: 'The permission could not be asked for.' });
      onFailure(cause);
    }
  }

  #answer(id: string, behavior: string, response: object): void {
    debug('permission %s: %s', id, behavior);
    this.#options.send({
      type: 'control_response',
      response: { subtype: 'success', request_id: id, response },
    });
  }

  /** A question of a kind that nobody has seen yet is answered too, or the CLI would wait for ever. */
  #refuse({ request_id, request }: ControlRequestMessage): void {
    this.#options.send({
      type: 'control_response',
      response: {
        subtype: 'error',
        request_id,
        error: `Not supported: ${JSON.stringify(request.subtype)}`,
      },
    });
  }
}

/** @throws TypeError when it cannot be written as JSON, while it can still be denied */
function responseOf(decision: PermissionDecision, input: object): object {
  if (decision.behavior === 'deny') {
    return { behavior: 'deny', message: decision.message ?? 'The user does not allow it.' };
  }
  const { updatedPermissions } = decision;
  // 2.1.197 demands the input, changed or not.
  const response = {
    behavior: 'allow',
    updatedInput: decision.updatedInput ?? input,
    updatedPermissions,
  };
  return JSON.parse(JSON.stringify(response));
}

function readPermissionRequest(
  request: ControlRequestMessage['request'],
  input: Readonly<Record<string, unknown>>,
): PermissionRequest {
  const { tool_name, tool_use_id, description, permission_suggestions } = request;
  return {
    toolName: String(tool_name),
    input,
    toolUseId: typeof tool_use_id === 'string' ? tool_use_id : undefined,
    description: typeof description === 'string' ? description : undefined,
    suggestions: Array.isArray(permission_suggestions) ? permission_suggestions : [],
  };
}

function isDecision(value: unknown): value is PermissionDecision {
  if (!isObject(value)) return false;
  const { behavior, message, updatedInput, updatedPermissions } = value;
  if (behavior === 'deny') return message === undefined || typeof message === 'string';
  return (
    behavior === 'allow' &&
    (updatedInput === undefined || isObject(updatedInput)) &&
    (updatedPermissions === undefined || Array.isArray(updatedPermissions))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
