import type { ContentBlock } from './messages.js';

/** How hard the model thinks, as `--effort` takes it. */
export const efforts = ['low', 'medium', 'high', 'xhigh', 'max'] as const;
export type Effort = (typeof efforts)[number];

/** What one request asks of the CLI. */
export interface Turn {
  /** The user's words: text, or text and image blocks. */
  readonly content: string | readonly ContentBlock[];
  /** System and developer messages. */
  readonly system?: string | undefined;
  readonly model?: string | undefined;
  readonly effort?: Effort | undefined;
  /** A session to resume: its UUID. */
  readonly session?: string | undefined;
  /** The UUID of the assistant message to go on from, in a copy of the session: what came after it is left out. */
  readonly forkAt?: string | undefined;
  /** The JSON Schema that the answer must meet. */
  readonly schema?: object | undefined;
}

/** What becomes of a request's system messages: more of the CLI's system prompt, or all of it. */
export const systemMessageUses = ['append', 'replace'] as const;

/** The options that become the process: what to start, where, with which flags. */
export interface CommandOptions {
  /** The executable. Default `'claude'`, found on the server's PATH. */
  readonly command?: string | undefined;
  /** More arguments, put last, for flags that have no option here. Write `--flag=value`. */
  readonly args?: readonly string[] | undefined;
  /** The working directory; sessions belong to it. Default: the server's. */
  readonly cwd?: string | undefined;
  /** Variables added to the allowed ones of the server's environment; `undefined` removes one. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** `--model`. Default: the CLI's. */
  readonly model?: string | undefined;
  /** `--fallback-model`: tried in order when the model is overloaded. */
  readonly fallbackModel?: string | readonly string[] | undefined;
  /** Replaces the CLI's own system prompt, as `--system-prompt` does. */
  readonly systemPrompt?: string | undefined;
  /** Added to the system prompt, as `--append-system-prompt` does; a request's system messages come after it. */
  readonly appendSystemPrompt?: string | undefined;
  /** Whether a request's system messages are added to the system prompt or replace it. Default `'append'`. */
  readonly systemMessages?: (typeof systemMessageUses)[number] | undefined;
  /** `--tools`: the built-in tools that exist at all; `[]` for none. */
  readonly tools?: readonly string[] | undefined;
  /** `--allowedTools`: run without asking. */
  readonly allowedTools?: readonly string[] | undefined;
  /** `--disallowedTools`: never run. */
  readonly disallowedTools?: readonly string[] | undefined;
  /** `--permission-mode`. */
  readonly permissionMode?: string | undefined;
  /** `--add-dir`: more directories that the tools may touch. */
  readonly addDirs?: readonly string[] | undefined;
  /** `--mcp-config`: files, or objects that are passed as JSON. */
  readonly mcpConfig?: string | object | readonly (string | object)[] | undefined;
  /** `--strict-mcp-config`: no MCP servers but those of `mcpConfig`. */
  readonly strictMcpConfig?: boolean | undefined;
  /** `--settings`: a file, or an object that is passed as JSON. */
  readonly settings?: string | object | undefined;
  /** `--setting-sources`, of `user`, `project` and `local`; `[]` loads none. */
  readonly settingSources?: readonly string[] | undefined;
  /** `--max-turns`: model turns in one run. */
  readonly maxTurns?: number | undefined;
  /** `--max-budget-usd`: dollars in one run. */
  readonly maxBudgetUsd?: number | undefined;
  /** `--effort`. */
  readonly effort?: Effort | undefined;
  /** Lets a text that begins with `/` be run as a slash command by the CLI. Default `false`: it is text. */
  readonly slashCommands?: boolean | undefined;
  /**
   * Lets `@path` in a prompt attach that file, which the CLI does for any file that the server's user may read, outside
   * of `cwd` and without any tool. Default `false`: it is text.
   */
  readonly fileMentions?: boolean | undefined;
}

/** A process, ready to be started. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string | undefined;
  readonly env: Readonly<Record<string, string>>;
  /** What is written to stdin first, whole lines: how the process is set up, if anything is to be said of that. */
  readonly setup: string;
  /** What is written after it: the user message. Empty for a process that is asked later, or never. */
  readonly prompt: string;
}

/** The id of the control request that sets a process up; its answer bears the same. */
export const INITIALIZE_REQUEST = 'claude-stream-initialize';

/** The ids of those that change what a process was started with. */
export const SET_MODEL_REQUEST = 'claude-stream-set-model';
export const SET_PERMISSION_MODE_REQUEST = 'claude-stream-set-permission-mode';

/** Whether a control request is one without which a run would not be what was asked for. */
export function isSetupRequest(id: unknown): boolean {
  return (
    id === INITIALIZE_REQUEST || id === SET_MODEL_REQUEST || id === SET_PERMISSION_MODE_REQUEST
  );
}

/** Every process of a run carries the run's id in this variable; that is how its survivors are found. */
export const RUN_ID_VARIABLE = 'CLAUDE_STREAM_RUN_ID';

/**
 * Options and a turn become a process.
 *
 * The prompt goes over stdin, never as an argument: there it could be read as a flag, seen in `ps`, or be too long
 * (E2BIG above 128 KiB), and the system prompt goes the same way for the same reasons. Flags are one argument each,
 * `--flag=value`, so that no value is ever taken for a flag.
 *
 * @param asksPermission whether the CLI is to ask over stdin before a tool runs that is not allowed yet
 */
export function commandFor(
  options: CommandOptions,
  turn: Turn,
  runId: string,
  serverEnvironment: NodeJS.ProcessEnv,
  asksPermission = false,
): Command {
  const flags = flagsFor(options, turn);
  if (asksPermission) flags.push('--permission-prompt-tool=stdio');
  return {
    ...processFor(options, flags, runId, serverEnvironment),
    setup: initializeLine(options, turn),
    prompt: userMessageLine(turn.content, options),
  };
}

/** A process for the options alone, which has not been asked anything yet. */
export function spareFor(
  options: CommandOptions,
  id: string,
  serverEnvironment: NodeJS.ProcessEnv,
  asksPermission: boolean,
): Command {
  const command = commandFor(options, { content: '' }, id, serverEnvironment, asksPermission);
  return { ...command, prompt: '' };
}

/** A process that is asked what it offers and never given a prompt: no tools, no MCP servers, no session. */
export function inquiryFor(
  options: CommandOptions,
  runId: string,
  serverEnvironment: NodeJS.ProcessEnv,
): Command {
  const { settings, settingSources } = options;
  const flags = flagsFor({ settings, settingSources, tools: [], strictMcpConfig: true }, {});
  return {
    ...processFor(
      { ...options, args: [] },
      [...flags, '--no-session-persistence'],
      runId,
      serverEnvironment,
    ),
    setup: BARE_SETUP,
    prompt: '',
  };
}

function processFor(
  options: CommandOptions,
  flags: readonly string[],
  runId: string,
  serverEnvironment: NodeJS.ProcessEnv,
): Pick<Command, 'command' | 'args' | 'cwd' | 'env'> {
  return {
    command: options.command ?? 'claude',
    args: [
      '-p',
      '--input-format=stream-json',
      '--output-format=stream-json',
      '--verbose',
      '--include-partial-messages',
      ...flags,
      ...(options.args ?? []),
    ],
    cwd: options.cwd,
    env: {
      // Makes the CLI say when it has nothing left to do, which `result` alone does not mean.
      CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS: '1',
      // 2.1.330 honours it, 2.1.197 does not: the prompt is made plain text as well.
      ...(options.fileMentions ? {} : { CLAUDE_CODE_DISABLE_FILE_MENTIONS: '1' }),
      ...environmentFor(serverEnvironment, options.env ?? {}),
      [RUN_ID_VARIABLE]: runId,
    },
  };
}

/**
 * Sets the process up: the system prompt, and the schema of the answer. Empty when there is nothing to say.
 *
 * 2.1.330 records the system prompt with the session and sends the record on every resume, whatever it is told then. A
 * client may change its system messages between two turns, and the application its options between two deployments, so
 * nothing is recorded.
 */
function initializeLine(options: CommandOptions, { system, schema }: Turn): string {
  const replaced = system !== undefined && options.systemMessages === 'replace';
  const appended = [options.appendSystemPrompt, replaced ? undefined : system].filter(Boolean);
  const prompts = {
    systemPrompt: replaced ? system : options.systemPrompt,
    appendSystemPrompt: appended.length > 0 ? appended.join('\n\n') : undefined,
  };
  const isPrompted = Object.values(prompts).some((prompt) => prompt !== undefined);
  if (!isPrompted && schema === undefined) return '';
  const systemPromptSnapshot = isPrompted ? false : undefined;
  return line(initializeRequest({ ...prompts, systemPromptSnapshot, jsonSchema: schema }));
}

function initializeRequest(setup: object): object {
  return {
    type: 'control_request',
    request_id: INITIALIZE_REQUEST,
    request: { subtype: 'initialize', ...setup },
  };
}

function line(message: object): string {
  return `${JSON.stringify(message)}\n`;
}

/** Asks for an answer and changes nothing, in no byte of what the model is sent (2.1.197 and 2.1.330). */
export const BARE_SETUP = line(initializeRequest({}));

function flagsFor(options: CommandOptions, turn: Partial<Turn>): string[] {
  const values: Record<string, string | number | undefined> = {
    model: turn.model ?? options.model,
    'fallback-model': joined(options.fallbackModel),
    effort: turn.effort ?? options.effort,
    resume: turn.session,
    'resume-session-at': turn.forkAt,
    tools: joined(options.tools),
    allowedTools: joined(options.allowedTools),
    disallowedTools: joined(options.disallowedTools),
    'permission-mode': options.permissionMode,
    settings: options.settings === undefined ? undefined : textOrJson(options.settings),
    'setting-sources': joined(options.settingSources),
    'max-turns': options.maxTurns,
    'max-budget-usd': options.maxBudgetUsd,
  };
  const flags = Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([flag, value]) => `--${flag}=${value}`);
  if (turn.forkAt !== undefined) flags.push('--fork-session');
  for (const directory of options.addDirs ?? []) flags.push(`--add-dir=${directory}`);
  for (const config of listOf(options.mcpConfig)) flags.push(`--mcp-config=${textOrJson(config)}`);
  if (options.strictMcpConfig) flags.push('--strict-mcp-config');
  return flags;
}

/** The user message as one line of stream-json. */
function userMessageLine(content: Turn['content'], options: CommandOptions): string {
  const plain =
    typeof content === 'string'
      ? plainText(content, options)
      : content.map((block) =>
          block.text === undefined ? block : { ...block, text: plainText(block.text, options) },
        );
  return line({ type: 'user', message: { role: 'user', content: plain } });
}

/** Not the second half of a mail address or the like: there the CLI sees no mention either. */
const MENTION = /(?<![\w.+-])@/g;

/**
 * Text that is nothing but text.
 *
 * A leading `/` makes the CLI run it as a command of its own, also with `--disable-slash-commands`; one newline before
 * it makes it text. A `@path` at the beginning or after a space makes the CLI read that file into the prompt, whatever
 * tools are allowed; an invisible word joiner before it makes it text (2.1.197 and 2.1.330).
 */
function plainText(text: string, { slashCommands, fileMentions }: CommandOptions): string {
  const unmentioned = fileMentions ? text : text.replace(MENTION, '\u2060@');
  return !slashCommands && text.startsWith('/') ? `\n${unmentioned}` : unmentioned;
}

const ALLOWED_VARIABLES = new Set(
  (
    'PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TERM TMPDIR TMP TEMP ' +
    'HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY NODE_EXTRA_CA_CERTS SSL_CERT_FILE SSL_CERT_DIR ' +
    'CLAUDE_CONFIG_DIR MAX_THINKING_TOKENS MAX_MCP_OUTPUT_TOKENS MCP_TIMEOUT MCP_TOOL_TIMEOUT ' +
    'BASH_DEFAULT_TIMEOUT_MS BASH_MAX_TIMEOUT_MS BASH_MAX_OUTPUT_LENGTH'
  ).split(' '),
);

const ALLOWED_PREFIXES = ['LC_', 'XDG_', 'ANTHROPIC_', 'CLAUDE_CODE_', 'DISABLE_'];

/** Inherited from an outer Claude Code, these make the inner one fail or misbehave. */
const NESTING_VARIABLES = new Set([
  'CLAUDE_CODE_ENTRYPOINT',
  'CLAUDE_CODE_SSE_PORT',
  'CLAUDE_CODE_SESSION_ID',
  'CLAUDE_CODE_CHILD_SESSION',
]);

/**
 * The environment of the process: an allow-list, since the agent's shell can print whatever is in it, database
 * passwords of the server included. Names are compared in capitals, which lets `https_proxy` through as well.
 */
export function environmentFor(
  server: NodeJS.ProcessEnv,
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(server)) {
    if (value !== undefined && isAllowed(name.toUpperCase())) environment[name] = value;
  }
  for (const [name, value] of Object.entries(own)) {
    if (value === undefined) delete environment[name];
    else environment[name] = value;
  }
  return environment;
}

function isAllowed(name: string): boolean {
  if (NESTING_VARIABLES.has(name)) return false;
  return ALLOWED_VARIABLES.has(name) || ALLOWED_PREFIXES.some((prefix) => name.startsWith(prefix));
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value as T];
}

function joined(value: string | readonly string[] | undefined): string | undefined {
  return value === undefined ? undefined : listOf(value).join(',');
}

function textOrJson(value: string | object): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
