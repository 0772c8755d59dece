import { randomBytes } from 'node:crypto';
import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import createDebug from 'debug';
import { BackgroundTasks } from './claude/backgroundTasks.js';
import { isSetupRequest } from './claude/command.js';
import { killAtExit } from './claude/killAtExit.js';
import { type Line, readLines } from './claude/lines.js';
import {
  type ClaudeMessage,
  isAssistant,
  isControlResponse,
  isIdle,
  isResult,
  isStreamEvent,
  isSystem,
  type ResultMessage,
} from './claude/messages.js';
import {
  type PermissionDecision,
  PermissionPrompts,
  type PermissionRequest,
} from './claude/permissionPrompts.js';
import type { TakenProcess } from './claude/pool.js';
import type { ClaudeProcess } from './claude/process.js';
import { shutdown } from './claude/shutdown.js';
import { Coalescer } from './coalescer.js';
import { type DeadlineOptions, Deadlines } from './deadlines.js';
import type { Emit, Encoder } from './formats/format.js';
import {
  crash,
  type Deadline,
  type Ending,
  endingOf,
  interruption,
  isSessionLost,
  type Outcome,
  type StopReason,
  startFailure,
  timeout,
  usageOf,
} from './outcome.js';
import { FrameLog, type FrameReader } from './sse/frameLog.js';

const debug = createDebug('claude-stream:run');

/** How long stdout may stay open after the exit, in ms: a process that inherited it could hold it for ever. */
const EOF_GRACE = 500;

/**
 * How long a `result` waits for the CLI to say that it is idle, in ms. When another turn is queued instead, it begins
 * within 40 ms (2.1.197 and 2.1.330); a version that never says so costs this much at the end of a run.
 */
const IDLE_GRACE = 250;

/** Comes up with the process of a run: starts one, or takes one that waits, which may have been dying already. */
export type Launch = () => Promise<ClaudeProcess & Partial<Pick<TakenProcess, 'startAgain'>>>;

export interface RunOptions {
  readonly deadlines: DeadlineOptions;
  /** ms that the process may take to exit after its answer is complete. */
  readonly exitGrace: number;
  readonly maxLineLength: number;
  /** Whether the answer must meet a schema. */
  readonly structured?: boolean | undefined;
  readonly maxLogBytes: number;
  /** ms within which deltas are joined to one event. Default 0: each is its own. */
  readonly coalesce?: number | undefined;
  /** How much is held for clients that come back, of what everybody has read. Default 0. */
  readonly keepLogBytes?: number | undefined;
  /** Takes every frame as it is made; `false` has the process paused until `frameTaken`. */
  readonly onFrame?: ((number: number, frame: string) => boolean) | undefined;
  readonly onFirstToken?: ((ms: number) => void) | undefined;
  /** A process has been started: the first one, or the one that took its place. */
  readonly onSpawn?: (pid: number) => void;
  readonly onMessage?: ((message: ClaudeMessage) => void) | undefined;
  /** Answers the CLI's permission prompts. Default: each is denied. */
  readonly decidePermission?:
    | ((request: PermissionRequest, signal: AbortSignal) => unknown)
    | undefined;
  readonly onPermissionFailure?: (cause: unknown) => void;
}

/** An id that cannot be guessed, fit for a URL and an event id. */
export function createRunId(): string {
  return randomBytes(16).toString('base64url');
}

/**
 * One run of the CLI: the process, its deadlines, its frames and how it ended.
 *
 * It reads stdout as fast as the log has room and knows nothing of clients but that. Once started it does not throw:
 * whatever happens becomes its outcome.
 */
export class Run {
  readonly id: string;
  /** Settles when the answer is complete, or will never be. Never rejects. */
  readonly outcome: Promise<Outcome>;
  /** Settles when nothing of the run is alive any more. Never rejects. */
  readonly closed: Promise<void>;

  readonly #options: RunOptions;
  readonly #encoder: Encoder;
  readonly #log: FrameLog;
  readonly #coalescer: Coalescer | undefined;
  /** When it was started, on the clock of `performance.now()`; `undefined` while it waits. */
  #startedAt: number | undefined;
  /** Whether somebody was told that it waits: it has an outcome then, come what may. */
  #hasWaited = false;
  #deadlines: Deadlines | undefined;
  #process: ClaudeProcess | undefined;
  #shutdown: Promise<void> | undefined;
  #nextStep: { readonly ms: number; readonly take: () => void } | undefined;
  #nextStepTimer: NodeJS.Timeout | undefined;
  #resolveOutcome!: (outcome: Outcome) => void;
  #resolveClosed!: () => void;
  /** Settles when the process has exited, or could not be made to. */
  #gone: Promise<void> = Promise.resolve();
  #resolveGone: () => void = () => {};
  #ended = false;
  /** Whoever takes the frames has no room for more. */
  #heldBack = false;
  /** Comes up with another process when the first one cannot find its session, or ends before it has begun. */
  #fallback: Launch | undefined;
  /** The process found no session, or ended before it had begun: it is as if it had never been. */
  #lost = false;
  /** Whether the chunk of stdout that is being read holds a message. */
  #heard = false;
  /** Whether a turn of the conversation has begun. */
  #begun = false;
  #permissions: PermissionPrompts | undefined;

  /** Why the run was stopped, if it was; the first reason counts. */
  #stopped: Ending | undefined;
  #result: ResultMessage | undefined;
  /** Whether a turn is under way: something was said since the last `result`. */
  #turnOpen = true;
  readonly #tasks = new BackgroundTasks();
  #apiError: string | undefined;

  #firstMessage: number | undefined;
  #firstToken: number | undefined;
  #sessionId: string | undefined;
  #lastMessageId: string | undefined;
  #model: string | undefined;
  #turns = 0;
  #invalidLines = 0;

  constructor(id: string, options: RunOptions, createEncoder: (emit: Emit) => Encoder) {
    this.id = id;
    this.#options = options;
    this.#log = new FrameLog(id, {
      maxBytes: options.maxLogBytes,
      keepBytes: options.keepLogBytes,
      onDrain: () => {
        if (!this.#heldBack) this.#resumeReading();
      },
      onFrame:
        options.onFrame &&
        ((number, frame) => {
          if (options.onFrame?.(number, frame) === false) this.#heldBack = true;
        }),
    });
    this.#encoder = createEncoder((data, event) => this.#log.append(data, event));
    if (options.coalesce) {
      this.#coalescer = new Coalescer(options.coalesce, (message, text) =>
        this.#encode(message, text),
      );
    }
    this.outcome = new Promise((resolve) => {
      this.#resolveOutcome = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /**
   * The run's frames after the number `after`; the reader's `next` tells from where on they are still held.
   *
   * @throws RangeError when there has been no such frame yet
   */
  reader(highWaterMark: number, after = 0): FrameReader {
    return this.#log.reader(highWaterMark, after);
  }

  /** Whoever takes the frames has room for more again. */
  frameTaken(): void {
    this.#heldBack = false;
    if (!this.#log.full) this.#resumeReading();
  }

  /** Whether the last frame has been made. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Whether its process has been asked for. */
  get started(): boolean {
    return this.#startedAt !== undefined;
  }

  /** The number of the last frame so far. */
  get lastFrame(): number {
    return this.#log.last;
  }

  /**
   * Its turn has not come yet, and those who follow it are told.
   *
   * @param position 1 for the next; 0 when the turn has come
   */
  waiting(position: number): void {
    if (this.#ended) return;
    this.#hasWaited = true;
    this.#encoder.waiting(position);
  }

  /**
   * Starts the process. Settles as soon as it has been spawned, long before it speaks.
   *
   * @param fallback comes up with the process that takes its place if it cannot find the session it was to go on from
   * @throws ClaudeStreamError `command_not_found`, `cwd_not_found` or `spawn_failed`
   */
  async start(launch: Launch, fallback?: Launch): Promise<void> {
    this.#startedAt = performance.now();
    this.#fallback = fallback;
    try {
      await this.#spawn(launch);
    } catch (error) {
      this.#resolveClosed();
      throw error;
    }
    this.#deadlines = new Deadlines(this.#options.deadlines);
    this.#deadlines.signal.addEventListener('abort', () => {
      this.#stop(timeout(this.#deadlines?.signal.reason as Deadline));
    });
  }

  async #spawn(launch: Launch): Promise<void> {
    const process = await launch();
    const { decidePermission, deadlines, onPermissionFailure } = this.#options;
    killAtExit(process);
    this.#process = process;
    this.#fallback ??= process.startAgain;
    this.#options.onSpawn?.(process.pid);
    this.#encoder.spawned?.();
    this.#gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    this.#permissions = new PermissionPrompts({
      decide: decidePermission ?? nobodyToAsk,
      timeout: deadlines.permission,
      send: (message) => process.send(message),
      onFailure: (cause) => onPermissionFailure?.(cause),
      onWaiting: (waiting) =>
        waiting ? this.#deadlines?.pause('permission') : this.#deadlines?.resume('permission'),
    });
    this.#read(process);
    if (this.#stopped) this.#startShutdown(process);
  }

  /** Stops the run through the ladder; `closed` tells when nothing of it is left. */
  stop(reason: StopReason): void {
    if (this.started) this.#stop(interruption(reason));
    else if (this.#hasWaited) this.abandon(interruption(reason));
    else {
      // Nobody has been told of it, so nobody is told how it ended.
      this.#ended = true;
      this.#resolveClosed();
    }
  }

  /** Ends a run that has no process and will have none. */
  abandon(ending: Ending): void {
    if (this.#ended || this.#process) return;
    this.#stopped ??= ending;
    this.#end(undefined);
    this.#resolveClosed();
  }

  #stop(ending: Ending): void {
    if (this.#stopped || this.#ended) return;
    debug('%s stopped: %o', this.id, ending);
    // An answer that was complete before stays complete.
    if (!this.#answered) this.#stopped = ending;
    this.#permissions?.end();
    if (this.#process) this.#startShutdown(this.#process);
  }

  #startShutdown(process: ClaudeProcess): void {
    this.#shutdown ??= shutdown(process);
    void this.#shutdown.then(this.#resolveGone);
  }

  #read(process: ClaudeProcess): void {
    const { stdout } = process;
    let gone = false;
    void this.#gone.then(() => {
      gone = true;
    });
    const resolveGone = this.#resolveGone;
    const ended = new Promise<void>((resolve) => {
      const lines = readLines(
        this.#options.maxLineLength,
        (line) => this.#line(line),
        (error) => {
          if (error) this.#stop(crash(`The output could not be split into lines: ${error}`));
          resolve();
        },
      );
      stdout.on('data', (chunk: Buffer) => {
        lines.write(chunk);
        // Once for all the messages of a chunk: a clock reading for each would be a twelfth of what a delta costs.
        if (this.#heard) this.#deadlines?.touch();
        this.#heard = false;
        // What a dead process left in the pipe (64 KiB) is read whatever the log holds.
        if ((this.#log.full || this.#heldBack) && !gone) this.#pauseReading();
      });
      // Follows the end, and comes without one when stdout is given up: the last line counts either way.
      stdout.once('close', () => lines.end());
    });
    void process.exited.then(resolveGone);
    // Nothing more will be said, so the process has no reason to stay.
    void ended.then(() => this.#awaitExit(process));
    void this.#finish(process, ended);
  }

  async #finish(process: ClaudeProcess, stdoutEnded: Promise<void>): Promise<void> {
    await this.#gone;
    this.#resumeReading();
    await this.#restOfStdout(process, stdoutEnded);
    // A session that makes the CLI fail before it says a word is as good as lost.
    this.#lost ||= !this.#begun && this.#result === undefined;
    if (this.#lost && this.#fallback && !this.#stopped) {
      process.release();
      await this.#startAgain(process, this.#fallback);
      return;
    }
    this.#end(process);
    process.release();
    const { status } = await this.outcome;
    // A process that died on its own may have left its tools behind.
    if (status === 'crashed') this.#startShutdown(process);
    await this.#shutdown;
    debug('%s closed', this.id);
    this.#resolveClosed();
  }

  /** What goes wrong now can only be told as the run's outcome: its clients have their headers. */
  async #startAgain(lost: ClaudeProcess, fallback: Launch): Promise<void> {
    debug('%s: %d is lost, another takes its place', this.id, lost.pid);
    await this.#shutdown;
    this.#shutdown = undefined;
    this.#process = undefined;
    this.#fallback = undefined;
    this.#lost = false;
    this.#result = undefined;
    this.#sessionId = undefined;
    this.#turnOpen = true;
    this.#cancelNextStep();
    try {
      if (!this.#stopped) {
        await this.#spawn(fallback);
        return;
      }
    } catch (error) {
      this.#stopped = startFailure(error);
    }
    this.#end(lost);
    this.#resolveClosed();
  }

  /** Waits for the end of stdout, but not for a process that has inherited it and says nothing. */
  async #restOfStdout({ stdout }: ClaudeProcess, stdoutEnded: Promise<void>): Promise<void> {
    const end = new AbortController();
    void stdoutEnded.then(() => end.abort());
    let heard = true;
    stdout.on('data', () => {
      heard = true;
    });
    while (heard && !end.signal.aborted) {
      heard = false;
      await delay(EOF_GRACE, undefined, { signal: end.signal }).catch(() => undefined);
      // What came while the event loop was busy is read before the immediate, but not before the timer.
      await immediate();
    }
    stdout.destroy();
    await stdoutEnded;
  }

  /** While nothing is read, no silence counts: what the process has said already may be in the pipe. */
  #pauseReading(): void {
    this.#process?.stdout.pause();
    this.#deadlines?.pause('not_read');
    clearTimeout(this.#nextStepTimer);
  }

  #resumeReading(): void {
    this.#deadlines?.resume('not_read');
    if (this.#nextStep) this.#after(this.#nextStep.ms, this.#nextStep.take);
    this.#process?.stdout.resume();
  }

  #line(line: Line): void {
    if (line.kind === 'invalid') {
      this.#invalidLines += 1;
      debug('%s: %s line: %s', this.id, line.reason, line.text);
      return;
    }
    if (this.#ended) return;
    const { message } = line;
    // The answers to what was written to stdin are nobody else's business: they hold the account's name.
    if (isControlResponse(message)) {
      const { subtype, request_id, error } = message.response;
      if (subtype === 'error' && isSetupRequest(request_id)) {
        this.#stop(crash(`The CLI could not be set up: ${error}`));
      }
      return;
    }
    if (this.#fallback && !this.#begun && isResult(message) && isSessionLost(message)) {
      this.#lost = true;
      if (this.#process) this.#awaitExit(this.#process);
      return;
    }
    this.#heard = true;
    try {
      this.#permissions?.observe(message);
      this.#observe(message);
      if (this.#coalescer) this.#coalescer.message(message, line.text);
      else this.#encode(message, line.text);
    } catch (error) {
      this.#unreadable(message, error);
    }
    this.#options.onMessage?.(line.abridged ? JSON.parse(line.text) : message);
    if (isResult(message)) this.#resultSeen(message);
  }

  #encode(message: ClaudeMessage, text: string): void {
    try {
      this.#encoder.message(message, text);
    } catch (error) {
      this.#unreadable(message, error);
    }
  }

  /** A field of a shape that nobody has seen yet costs its message, neither the run nor the server. */
  #unreadable({ type }: ClaudeMessage, error: unknown): void {
    this.#invalidLines += 1;
    debug('%s: the message "%s" could not be read: %o', this.id, type, error);
  }

  #observe(message: ClaudeMessage): void {
    this.#firstMessage ??= this.#elapsed();
    if (isStreamEvent(message)) {
      const { type } = message.event;
      if (type === 'content_block_delta') this.#tokenSeen();
      else if (type === 'message_start' && message.parent_tool_use_id == null) this.#openTurn();
      return;
    }
    if (isAssistant(message)) {
      this.#tokenSeen();
      if (message.parent_tool_use_id == null) {
        this.#apiError = message.error;
        if (typeof message.uuid === 'string') this.#lastMessageId = message.uuid;
      }
      return;
    }
    if (isSystem(message) && message.subtype === 'init') {
      if (typeof message.session_id === 'string') this.#sessionId = message.session_id;
      if (typeof message.model === 'string') this.#model = message.model;
      this.#begun = true;
      this.#openTurn();
      return;
    }
    const changed = this.#tasks.observe(message);
    if (this.#turnOpen || !this.#process?.stdinOpen) return;
    if (changed) this.#awaitEnd(this.#process, this.#options.exitGrace);
    else if (isIdle(message)) this.#awaitEnd(this.#process, 0);
  }

  #tokenSeen(): void {
    if (this.#firstToken !== undefined) return;
    this.#firstToken = this.#elapsed();
    this.#options.onFirstToken?.(this.#firstToken);
  }

  /** Something is being said, so the run is not over. */
  #openTurn(): void {
    if (this.#turnOpen) return;
    this.#turnOpen = true;
    this.#cancelNextStep();
  }

  #resultSeen(result: ResultMessage): void {
    this.#result = result;
    this.#turnOpen = false;
    if (typeof result.num_turns === 'number') this.#turns += result.num_turns;
    if (typeof result.session_id === 'string') this.#sessionId = result.session_id;
    if (this.#process) this.#awaitEnd(this.#process, IDLE_GRACE);
  }

  /**
   * A turn is over. What is left decides how long another may take to begin: a subagent will report, however long it
   * takes; a shell command may never end and is waited for in bounds; with neither, `grace` ms are enough.
   */
  #awaitEnd(process: ClaudeProcess, grace: number): void {
    this.#cancelNextStep();
    if (this.#tasks.reporting > 0) return;
    const { background } = this.#options.deadlines;
    const wait = this.#tasks.commands > 0 ? background : grace;
    if (wait === 0) this.#awaitExit(process);
    else if (wait !== false) this.#after(wait, () => this.#awaitExit(process));
  }

  /** The answer is complete: the process may go now, and must soon. */
  #awaitExit(process: ClaudeProcess): void {
    if (this.#ended) return;
    process.closeStdin();
    this.#after(this.#options.exitGrace, () => {
      debug('%s lingers after its last word', this.id);
      if (!this.#lost) this.#end(process);
      this.#startShutdown(process);
    });
  }

  /** Takes a step unless something is said within `ms`; the clock begins again when reading was paused. */
  #after(ms: number, take: () => void): void {
    this.#nextStep = { ms, take };
    clearTimeout(this.#nextStepTimer);
    this.#nextStepTimer = setTimeout(take, ms).unref();
  }

  #cancelNextStep(): void {
    this.#nextStep = undefined;
    clearTimeout(this.#nextStepTimer);
  }

  #end(process: ClaudeProcess | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelNextStep();
    this.#permissions?.end();
    this.#deadlines?.end();
    // Before the outcome is read, which counts the messages that could not be.
    this.#coalescer?.end();
    const outcome = this.#readOutcome(process);
    try {
      this.#encoder.end(outcome);
    } catch (error) {
      debug('%s: the outcome could not be encoded: %o', this.id, error);
    }
    this.#log.end();
    debug('%s ended: %o', this.id, outcome);
    this.#resolveOutcome(outcome);
  }

  /** A result of a shape that nobody has seen yet must not leave the clients waiting. */
  #readOutcome(process: ClaudeProcess | undefined): Outcome {
    try {
      return { ...this.#ending(process), ...this.#facts(process, this.#result) };
    } catch (error) {
      return { ...crash(`The result could not be read: ${error}`), ...this.#facts(process) };
    }
  }

  #ending(process: ClaudeProcess | undefined): Ending {
    // An interrupted turn has a result too: it says that it was interrupted, but not why.
    if (this.#stopped) return this.#stopped;
    if (this.#result && !this.#turnOpen) {
      const ending = endingOf(this.#result, this.#apiError, this.#options.structured);
      // A subagent that never reported leaves the answer unfinished, whatever the last turn said.
      if (ending.status !== 'success' || this.#answered) return ending;
    }
    return crash(exitDetail(process));
  }

  /** Whether nothing more is to come of the answer. */
  get #answered(): boolean {
    return this.#result !== undefined && !this.#turnOpen && this.#tasks.reporting === 0;
  }

  #facts(process: ClaudeProcess | undefined, result?: ResultMessage) {
    return {
      runId: this.id,
      durationMs: this.#elapsed(),
      timeToFirstMessageMs: this.#firstMessage,
      timeToFirstTokenMs: this.#firstToken,
      exitCode: process?.exit?.code,
      signal: process?.exit?.signal,
      sessionId: this.#sessionId,
      lastMessageId: this.#lastMessageId,
      model: this.#model,
      turns: this.#turns,
      usage: result && usageOf(result, this.#model),
      costUsd: typeof result?.total_cost_usd === 'number' ? result.total_cost_usd : undefined,
      invalidLines: this.#invalidLines,
      stderrTail: process?.stderrTail ?? '',
    };
  }

  #elapsed(): number {
    return this.#startedAt === undefined ? 0 : Math.round(performance.now() - this.#startedAt);
  }
}

/** The CLI asks only when it was told that somebody is there; should it ask all the same, it must not wait for ever. */
function nobodyToAsk(): PermissionDecision {
  return { behavior: 'deny', message: 'Nobody can be asked for permission.' };
}

function exitDetail(process: ClaudeProcess | undefined): string {
  if (process === undefined) return 'There was no process.';
  const { exit, stderrTail } = process;
  const how = exit?.signal ? `was killed by ${exit.signal}` : `exited with code ${exit?.code}`;
  const reason = stderrTail.trim();
  return `The process ${how} before its answer was complete.${reason === '' ? '' : ` Its stderr ends:\n${reason}`}`;
}
