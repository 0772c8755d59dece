import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { type CommandOptions, efforts, systemMessageUses } from './claude/command.js';
import type { ClaudeMessage } from './claude/messages.js';
import type { PermissionDecision, PermissionRequest } from './claude/permissionPrompts.js';
import type { DeadlineOptions } from './deadlines.js';
import { ClaudeStreamError } from './errors.js';
import { anthropic } from './formats/anthropic/anthropic.js';
import { claude } from './formats/claude.js';
import { type Format, type ToolDisplay, toolDisplays } from './formats/format.js';
import { openai } from './formats/openai/openai.js';
import { uiMessage } from './formats/uiMessage/uiMessage.js';
import type { ModelNames } from './models.js';
import type { Outcome } from './outcome.js';
import { memoryStore } from './stores/memoryStore.js';
import type { RunRecord, RunStore, SessionStore, Store } from './stores/store.js';

/** The built-in formats, by name. */
const formats = { claude, openai, anthropic, 'ui-message': uiMessage } satisfies Record<
  string,
  Format
>;

export type FormatName = keyof typeof formats;

/** What the application's own `request` function may say: what the client asks, and how the process is run. */
export interface RequestOverrides extends CommandOptions {
  readonly prompt?: string | undefined;
  readonly messages?: readonly object[] | undefined;
  readonly stream?: boolean | undefined;
  readonly session?: string | undefined;
  /** Whose conversation it is; a conversation is recognised only for the user it was held with. */
  readonly user?: string | undefined;
}

/** What the hooks are told beside their subject. */
export interface RunContext {
  /** Empty in an `onError` of `chat.resume` that has found no run. */
  readonly runId: string;
  readonly request: Request;
}

/** What `canUseTool` is told beside its subject. */
export interface PermissionContext extends RunContext {
  /** Aborted when the answer is no longer wanted: the run has ended, or the time is up. */
  readonly signal: AbortSignal;
}

/** Decides whether a tool may run that nothing else allows or forbids. What it throws denies. */
export type CanUseTool = (
  request: PermissionRequest,
  context: PermissionContext,
) => PermissionDecision | Promise<PermissionDecision>;

/** Who may use a router: one key, any of several, or whoever a function says. */
export type ApiKey =
  | string
  | readonly string[]
  | ((key: string, request: Request) => boolean | Promise<boolean>);

/** Options of `claudeStream`. Durations are ms, sizes bytes; `false` turns a thing off. */
export interface ClaudeStreamOptions extends CommandOptions {
  /** The wire format. Default `'claude'`: the CLI's own messages. */
  readonly format?: FormatName | undefined;
  /**
   * Reads the prompt, and anything else of a run, out of a request. What it returns is laid over the body; it alone
   * may choose `cwd`, tools, permissions, flags and environment. What it throws goes to Express's error handler.
   */
  readonly request?:
    | ((request: Request) => RequestOverrides | Promise<RequestOverrides>)
    | undefined;
  /**
   * The models that a request may choose, as `--model` takes them, or by names of your own:
   * `{ 'gpt-4o': 'sonnet' }`. Default: none, and a request's model is ignored; in `openaiRouter` those that the CLI
   * offers.
   */
  readonly models?: readonly string[] | Readonly<Record<string, string>> | undefined;
  /**
   * The model for what Open WebUI asks for itself: titles, tags, follow-ups. Default `'haiku'`; `false` answers it like
   * anything else.
   */
  readonly taskModel?: string | false | undefined;
  /**
   * Whether the conversations of a client that sends its whole history are recognised and continued in their sessions.
   * Default `'off'`; in `openaiRouter` `'auto'`.
   */
  readonly sessions?: 'auto' | 'off' | undefined;
  /** The header in which a client names its conversation. Default `'X-OpenWebUI-Chat-Id'`. */
  readonly sessionHeader?: string | undefined;
  /**
   * Where runs are kept, for clients that come back, and conversations remembered. Default: no run is kept, and
   * conversations are in a `memoryStore()`.
   */
  readonly store?: Store | undefined;
  /**
   * Whether a run is stopped when its client has left or stalled, or continued for `disconnectGrace`. Default:
   * `'continue'` for an event stream where `store` keeps runs, else `'stop'`; in `openaiRouter`, whose clients cannot
   * come back, `'stop'`.
   */
  readonly onDisconnect?: 'stop' | 'continue' | undefined;
  /** How long a run is continued when nobody is there; `false`: until it ends. Default 300 000. */
  readonly disconnectGrace?: number | false | undefined;
  /**
   * Whether a client may follow or cancel a run. Only `true` lets it. Default: whoever knows the run's id may, which
   * cannot be guessed. What it throws goes to Express's error handler.
   */
  readonly authorize?:
    | ((request: Request, run: RunRecord) => boolean | Promise<boolean>)
    | undefined;
  /**
   * Most that is sent to Claude at once, as JSON: the prompt, the system messages, and the conversation unless its
   * session knows it. Default 32 MiB. A limit of `express.json()`, 100 KiB by default, comes first.
   */
  readonly maxPromptBytes?: number | undefined;

  /**
   * Most runs at once; further requests wait. A run holds its place until nothing of its process is alive. Default
   * `false`: no limit.
   */
  readonly concurrency?: number | false | undefined;
  /** Most requests that wait; further ones are refused with 429. Default 100. */
  readonly maxQueue?: number | undefined;
  /**
   * Whose request it is, for the queue: different keys take turns. Default: order of arrival. What it throws goes the
   * way of what `request` throws.
   */
  readonly key?: ((request: Request) => string) | undefined;

  /** Silence after which a comment is sent. Default 15 000. */
  readonly keepAlive?: number | false | undefined;
  /**
   * Deadlines of a run. Default `{ queue: 600_000, firstMessage: 60_000, idle: 600_000, total: 1_800_000,
   * background: 60_000, permission: 300_000 }`; `false` for none at all.
   */
  readonly timeout?: Partial<DeadlineOptions> | false | undefined;
  /** How long the process may stay once its answer is complete. Default 2 000. */
  readonly exitGrace?: number | undefined;
  /** How long a client may read nothing while there is something to read. Default 60 000. */
  readonly stallTimeout?: number | false | undefined;
  /** About how much is written to a client at once. Default 64 KiB. */
  readonly highWaterMark?: number | undefined;
  /**
   * ms within which deltas of text or thinking are joined to one event; none is later than that, and the first after a
   * silence leaves at once. Default 0: each is an event of its own.
   */
  readonly coalesce?: number | undefined;
  /** How much of a run is held for a slow client before the process is paused. Default 1 MiB. */
  readonly maxLogBytes?: number | undefined;
  /** Longest line of the CLI; a longer one is dropped and counted. Default 64 MiB. */
  readonly maxLineLength?: number | undefined;

  /**
   * How the `openai` format shows tools. The other formats but `claude` know `'none'`, and anything else as their one way.
   * Default `'status'`.
   */
  readonly toolDisplay?: ToolDisplay | undefined;
  /** Shows stderr and paths to clients. Default `false`. */
  readonly exposeErrors?: boolean | undefined;

  /**
   * How many processes are started ahead, with the options of the middleware, and wait for a request. Default 0. Each
   * holds 150 to 300 MB.
   */
  readonly warm?: number | undefined;

  /** Answers the permission prompts of the CLI. Default: it denies what its settings do not allow. */
  readonly canUseTool?: CanUseTool | undefined;

  /** The process has been spawned. */
  readonly onStart?: ((context: RunContext & { readonly pid: number }) => void) | undefined;
  /** Every message of the CLI, as it comes. */
  readonly onMessage?: ((message: ClaudeMessage, context: RunContext) => void) | undefined;
  /** The run is over. */
  readonly onEnd?: ((outcome: Outcome, context: RunContext) => void) | undefined;
  /** Something failed; the message is for the operator. Default: only `debug` sees it. */
  readonly onError?: ((error: ClaudeStreamError, context: RunContext) => void) | undefined;
}

/** Options of `openaiRouter`: those of `claudeStream`, and who may use it. It has no replay. */
export interface OpenAIRouterOptions extends Omit<ClaudeStreamOptions, 'format' | 'authorize'> {
  /** Default: everybody; a warning says so when it is used from outside of this machine. */
  readonly apiKey?: ApiKey | undefined;
  /** Longest request body, which is the whole conversation with its images. Default 50 MiB. */
  readonly maxBodyBytes?: number | undefined;
}

/** The options with every default in place. */
export interface Settings {
  readonly format: Format;
  readonly command: CommandOptions;
  readonly request: ClaudeStreamOptions['request'];
  /** The models that a request may choose; with `'any'` whatever the CLI offers, with `'none'` it has no choice. */
  readonly models: ModelNames | 'any' | 'none';
  readonly taskModel: string | false;
  /** Where conversations are recognised, and the header in which a client names its own, in lower case. */
  readonly sessions: { readonly store: SessionStore; readonly header: string } | undefined;
  /** Where runs are kept for clients that come back; `undefined` where they cannot. */
  readonly runStore: RunStore | undefined;
  /** Where it is noted which run belongs to which conversation of such a client. */
  readonly chatStore: SessionStore | undefined;
  /** `undefined` leaves it to whether a client can come back. */
  readonly onDisconnect: 'stop' | 'continue' | undefined;
  readonly disconnectGrace: number | false;
  readonly authorize: ClaudeStreamOptions['authorize'];
  readonly warm: number;
  readonly canUseTool: CanUseTool | undefined;
  readonly maxPromptBytes: number;
  readonly concurrency: number | false;
  readonly maxQueue: number;
  readonly key: ClaudeStreamOptions['key'];
  readonly keepAlive: number | false;
  readonly deadlines: DeadlineOptions;
  readonly exitGrace: number;
  readonly stallTimeout: number | false;
  readonly highWaterMark: number;
  readonly coalesce: number;
  readonly maxLogBytes: number;
  readonly maxLineLength: number;
  readonly toolDisplay: ToolDisplay;
  readonly exposeErrors: boolean;
  readonly hooks: Pick<ClaudeStreamOptions, 'onStart' | 'onMessage' | 'onEnd' | 'onError'>;
}

/** Says what is wrong with a value, as the end of the sentence "`option` must be …"; `undefined` if nothing is. */
type Check = (value: unknown) => string | undefined;

const oneOf =
  (values: readonly string[]): Check =>
  (value) =>
    values.includes(value as string)
      ? undefined
      : `one of ${values.map((v) => `'${v}'`).join(', ')}`;

const text: Check = (value) =>
  typeof value === 'string' && value !== '' && !value.includes('\0')
    ? undefined
    : 'a string that is not empty';

const anyText: Check = (value) =>
  typeof value === 'string' && !value.includes('\0') ? undefined : 'a string';

const texts: Check = (value) =>
  Array.isArray(value) && value.every((item) => text(item) === undefined)
    ? undefined
    : 'an array of strings';

const someOf =
  (values: readonly string[]): Check =>
  (value) =>
    Array.isArray(value) && value.every((item) => values.includes(item))
      ? undefined
      : `an array of ${values.join(', ')}`;

/** An argument that is no flag would be read as a prompt. */
const flags: Check = (value) =>
  texts(value) ||
  ((value as string[]).every((item) => item.startsWith('-'))
    ? undefined
    : "an array of flags, each of them as '--flag=value'");

const textOrTexts: Check = (value) =>
  text(value) && texts(value) && 'a string or an array of strings';

const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');

const headerName: Check = (value) =>
  typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(value)
    ? undefined
    : 'the name of a header';

const func: Check = (value) => (typeof value === 'function' ? undefined : 'a function');

const integer =
  (min: number, max: number, unit: string): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `a whole number of ${unit} from ${min} to ${max}`;

/** Above it, Node's timers fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
const duration = integer(1, LONGEST_TIMER, 'milliseconds');
const durationOrFalse: Check = (value) =>
  value === false ? undefined : duration(value) && `${duration(value)}, or false`;

const runCount = integer(1, 100_000, 'runs');

const amount: Check = (value) =>
  typeof value === 'number' && value > 0 && Number.isFinite(value)
    ? undefined
    : 'a positive number';

const textOrObject: Check = (value) =>
  text(value) && (isPlainObject(value) ? undefined : 'a string or an object');

const mcpConfig: Check = (value) =>
  (Array.isArray(value) ? value : [value]).every((item) => textOrObject(item) === undefined)
    ? undefined
    : 'a string, an object, or an array of them';

const environment: Check = (value) =>
  isPlainObject(value) &&
  Object.entries(value).every(
    ([name, item]) => /^[^=\0]+$/.test(name) && (item === undefined || anyText(item) === undefined),
  )
    ? undefined
    : 'an object whose values are strings, or undefined to remove a variable';

const deadlineNames = ['queue', 'firstMessage', 'idle', 'total', 'background', 'permission'];
const deadlines: Check = (value) => {
  if (value === false) return undefined;
  if (!isPlainObject(value)) {
    return 'an object such as { firstMessage: 60_000, idle: 600_000, total: 1_800_000 }, or false';
  }
  const unknown = Object.keys(value).find((name) => !deadlineNames.includes(name));
  if (unknown !== undefined) return `an object of ${deadlineNames.join(', ')}; it has "${unknown}"`;
  const wrong = Object.entries(value).find(([, ms]) => ms !== undefined && durationOrFalse(ms));
  return wrong && `an object in which ${wrong[0]} is ${durationOrFalse(wrong[1])}`;
};

const models: Check = (value) => {
  const names = isPlainObject(value) ? Object.values(value) : value;
  return texts(names) || (names as string[]).length === 0
    ? 'an array of at least one model, or an object of models by the names that clients use'
    : undefined;
};

const hasMethods = (value: unknown, names: readonly string[]) =>
  names.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === 'function');

const sessionMethods: (keyof SessionStore)[] = ['get', 'set', 'delete'];
const runMethods: (keyof RunStore)[] = [
  'record',
  'read',
  'find',
  'list',
  'remove',
  'cancel',
  'isAttended',
  'conclude',
];

const store: Check = (value) => {
  const { sessions, runs } = (value ?? {}) as Partial<Store>;
  const isStore =
    hasMethods(sessions, sessionMethods) && (runs === undefined || hasMethods(runs, runMethods));
  return isStore ? undefined : 'a store, such as memoryStore()';
};

/** As `--permission-mode` takes them; 2.1.330 knows `default` also as `manual`, 2.1.197 does not. */
const permissionModes = [
  'default',
  'manual',
  'acceptEdits',
  'auto',
  'dontAsk',
  'plan',
  'bypassPermissions',
];

const commandChecks: Record<keyof CommandOptions, Check> = {
  command: text,
  args: flags,
  cwd: text,
  env: environment,
  model: text,
  fallbackModel: textOrTexts,
  systemPrompt: text,
  appendSystemPrompt: anyText,
  systemMessages: oneOf(systemMessageUses),
  tools: texts,
  allowedTools: texts,
  disallowedTools: texts,
  permissionMode: oneOf(permissionModes),
  addDirs: texts,
  mcpConfig,
  strictMcpConfig: flag,
  settings: textOrObject,
  settingSources: someOf(['user', 'project', 'local']),
  maxTurns: integer(1, 10_000, 'turns'),
  maxBudgetUsd: amount,
  effort: oneOf(efforts),
  slashCommands: flag,
  fileMentions: flag,
};

/** What `request` may say of the body. The format checks the values, as it does for a client's body. */
const bodyChecks: Record<Exclude<keyof RequestOverrides, keyof CommandOptions>, Check> = {
  prompt: () => undefined,
  messages: () => undefined,
  stream: () => undefined,
  session: () => undefined,
  user: () => undefined,
};

const checks: Record<keyof ClaudeStreamOptions, Check> = {
  ...commandChecks,
  format: oneOf(Object.keys(formats)),
  request: func,
  models,
  taskModel: (value) => (value === false ? undefined : text(value) && `${text(value)}, or false`),
  sessions: oneOf(['auto', 'off']),
  sessionHeader: headerName,
  store,
  onDisconnect: oneOf(['stop', 'continue']),
  disconnectGrace: durationOrFalse,
  authorize: func,
  maxPromptBytes: integer(1, 2 ** 30, 'bytes'),
  concurrency: (value) =>
    value === false ? undefined : runCount(value) && `${runCount(value)}, or false`,
  maxQueue: integer(0, 100_000, 'requests'),
  key: func,
  keepAlive: durationOrFalse,
  timeout: deadlines,
  exitGrace: duration,
  stallTimeout: durationOrFalse,
  highWaterMark: integer(1_024, 2 ** 30, 'bytes'),
  // Above it nobody would call it a stream.
  coalesce: integer(0, 10_000, 'milliseconds'),
  maxLogBytes: integer(1_024, 2 ** 30, 'bytes'),
  // V8's strings end just below 2 ** 29.
  maxLineLength: integer(2 ** 16, 2 ** 28, 'bytes'),
  toolDisplay: oneOf(toolDisplays),
  exposeErrors: flag,
  warm: integer(0, 100, 'processes'),
  canUseTool: func,
  onStart: func,
  onMessage: func,
  onEnd: func,
  onError: func,
};

/** Every option of `claudeStream`, for tests and tables. */
export const optionNames = Object.keys(checks) as (keyof ClaudeStreamOptions)[];

const isKey = (value: unknown) => typeof value === 'string' && /^[!-~]+$/.test(value);

/** What only `openaiRouter` takes. */
const routerChecks: Record<Exclude<keyof OpenAIRouterOptions, keyof ClaudeStreamOptions>, Check> = {
  apiKey: (value) =>
    typeof value === 'function' || ([value].flat().length > 0 && [value].flat().every(isKey))
      ? undefined
      : 'a string of visible ASCII characters, as a header can hold them, an array of such, or a function',
  maxBodyBytes: integer(1, 2 ** 30, 'bytes'),
};

/** The options that only `openaiRouter` takes, for tests and tables. */
export const routerOptionNames = Object.keys(routerChecks) as (keyof OpenAIRouterOptions)[];

/** Names that other libraries use for the same thing. */
const LIKELY_MISTAKES: Record<string, keyof ClaudeStreamOptions> = {
  onPermission: 'canUseTool',
  maxConcurrency: 'concurrency',
  queueSize: 'maxQueue',
  heartbeat: 'keepAlive',
  heartbeatInterval: 'keepAlive',
  ping: 'keepAlive',
  batch: 'coalesce',
  debounce: 'coalesce',
  throttle: 'coalesce',
  timeoutMs: 'timeout',
  workingDirectory: 'cwd',
  claudePath: 'command',
  pathToClaudeCodeExecutable: 'command',
  additionalDirectories: 'addDirs',
  mcpServers: 'mcpConfig',
};

/**
 * Checks the options and fills in the defaults, once.
 *
 * @throws ClaudeStreamError `invalid_option`, naming the option, or `not_called`
 */
export function readOptions(options: ClaudeStreamOptions = {}): Settings {
  if (isRequest(options)) {
    throw new ClaudeStreamError(
      'not_called',
      'claudeStream was mounted without being called. Write app.post(path, claudeStream()), with parentheses.',
    );
  }
  if (!isPlainObject(options)) {
    throw new ClaudeStreamError('invalid_option', 'The options of claudeStream must be an object.');
  }
  check(options, checks);
  return settingsOf({ ...options, sessions: options.sessions ?? 'off' }, 'none');
}

/** The options of a router with every default in place. */
export interface RouterSettings extends Settings {
  readonly apiKey: ApiKey | undefined;
  readonly maxBodyBytes: number;
}

/**
 * The same for `openaiRouter`.
 *
 * @throws ClaudeStreamError `invalid_option`, naming the option, or `not_called`
 */
export function readRouterOptions(options: OpenAIRouterOptions = {}): RouterSettings {
  if (isRequest(options)) {
    throw new ClaudeStreamError(
      'not_called',
      "openaiRouter was mounted without being called. Write app.use('/v1', openaiRouter()), with parentheses.",
    );
  }
  if (!isPlainObject(options)) {
    throw new ClaudeStreamError('invalid_option', 'The options of openaiRouter must be an object.');
  }
  if ('apiKey' in options && options.apiKey === undefined) {
    throw new ClaudeStreamError(
      'invalid_option',
      '"apiKey" is undefined. Is the environment variable set? To let everybody in, leave the option out.',
    );
  }
  const { format: _format, authorize: _authorize, ...shared } = checks;
  check(options, { ...shared, ...routerChecks });
  const format = 'openai';
  return {
    ...settingsOf({ ...options, format, sessions: options.sessions ?? 'auto' }, 'any'),
    runStore: undefined,
    chatStore: undefined,
    apiKey: options.apiKey,
    maxBodyBytes: options.maxBodyBytes ?? 50 * 2 ** 20,
  };
}

function settingsOf(options: ClaudeStreamOptions, anyModel: 'any' | 'none'): Settings {
  if (options.sessions === 'auto' && (options.format ?? 'claude') === 'claude') {
    throw new ClaudeStreamError(
      'invalid_option',
      "\"sessions\" must be 'off' for the format 'claude', whose clients name the session themselves.",
    );
  }
  const { models = anyModel } = options;
  const store = options.store ?? memoryStore();
  const timeout: Partial<DeadlineOptions> =
    options.timeout === false
      ? {
          queue: false,
          firstMessage: false,
          idle: false,
          total: false,
          background: false,
          permission: false,
        }
      : (options.timeout ?? {});
  return {
    format: formats[options.format ?? 'claude'],
    command: commandOptionsOf(options),
    request: options.request,
    models: typeof models === 'string' ? models : modelNames(models),
    taskModel: options.taskModel ?? 'haiku',
    sessions:
      options.sessions === 'auto'
        ? {
            store: store.sessions,
            header: (options.sessionHeader ?? 'X-OpenWebUI-Chat-Id').toLowerCase(),
          }
        : undefined,
    runStore: options.store?.runs,
    chatStore: options.store?.runs && options.store.sessions,
    onDisconnect: options.onDisconnect,
    disconnectGrace: options.disconnectGrace ?? 300_000,
    authorize: options.authorize,
    warm: options.warm ?? 0,
    canUseTool: options.canUseTool,
    maxPromptBytes: options.maxPromptBytes ?? 32 * 2 ** 20,
    concurrency: options.concurrency ?? false,
    maxQueue: options.maxQueue ?? 100,
    key: options.key,
    keepAlive: options.keepAlive ?? 15_000,
    deadlines: {
      queue: timeout.queue ?? 600_000,
      firstMessage: timeout.firstMessage ?? 60_000,
      idle: timeout.idle ?? 600_000,
      total: timeout.total ?? 1_800_000,
      background: timeout.background ?? 60_000,
      permission: timeout.permission ?? 300_000,
    },
    exitGrace: options.exitGrace ?? 2_000,
    stallTimeout: options.stallTimeout ?? 60_000,
    highWaterMark: options.highWaterMark ?? 2 ** 16,
    coalesce: options.coalesce ?? 0,
    maxLogBytes: options.maxLogBytes ?? 2 ** 20,
    maxLineLength: options.maxLineLength ?? 2 ** 26,
    toolDisplay: options.toolDisplay ?? 'status',
    exposeErrors: options.exposeErrors ?? false,
    hooks: {
      onStart: options.onStart,
      onMessage: options.onMessage,
      onEnd: options.onEnd,
      onError: options.onError,
    },
  };
}

/**
 * Splits what the application's `request` function returned into options of the process and fields of the body.
 *
 * @throws ClaudeStreamError `invalid_option`
 */
export function readOverrides(overrides: RequestOverrides): {
  command: CommandOptions;
  body: Record<string, unknown>;
} {
  if (!isPlainObject(overrides)) {
    throw new ClaudeStreamError('invalid_option', 'The function "request" must return an object.');
  }
  check(overrides, { ...bodyChecks, ...commandChecks });
  const body = Object.entries(overrides).filter(([name]) => Object.hasOwn(bodyChecks, name));
  return { command: commandOptionsOf(overrides), body: Object.fromEntries(body) };
}

function modelNames(models: readonly string[] | Readonly<Record<string, string>>): ModelNames {
  const pairs = Array.isArray(models)
    ? models.map((model) => [model, model])
    : Object.entries(models);
  return new Map(pairs as [string, string][]);
}

/** `undefined` means absent. */
function commandOptionsOf(options: CommandOptions): CommandOptions {
  return Object.fromEntries(
    Object.entries(options).filter(
      ([name, value]) => Object.hasOwn(commandChecks, name) && value !== undefined,
    ),
  );
}

function check(options: object, known: Record<string, Check>): void {
  for (const [name, value] of Object.entries(options)) {
    const checkValue = Object.hasOwn(known, name) ? known[name] : undefined;
    if (checkValue === undefined) {
      const meant = likelyName(name, known);
      throw new ClaudeStreamError(
        'invalid_option',
        `There is no option "${name}".${meant === undefined ? '' : ` Did you mean "${meant}"?`}`,
      );
    }
    const problem = value === undefined ? undefined : checkValue(value);
    if (problem) throw new ClaudeStreamError('invalid_option', `"${name}" must be ${problem}.`);
  }
}

function likelyName(name: string, options: Record<string, Check>): string | undefined {
  if (Object.hasOwn(LIKELY_MISTAKES, name)) return LIKELY_MISTAKES[name];
  const plain = (word: string) => word.toLowerCase().replace(/[^a-z]/g, '');
  const given = plain(name);
  if (given === '') return undefined;
  return Object.keys(options).find((option) => {
    const known = plain(option);
    return known.startsWith(given.slice(0, 5)) || given.startsWith(known.slice(0, 5));
  });
}

/** Express calls what it is given with a request: that is how a forgotten pair of parentheses shows. */
function isRequest(value: unknown): boolean {
  const { method, headers, socket } = (value ?? {}) as Partial<IncomingMessage>;
  return typeof method === 'string' && headers !== undefined && socket !== undefined;
}

function isPlainObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
