import { randomBytes } from 'node:crypto';
import createDebug from 'debug';
import { LRUCache } from 'lru-cache';
import type { KeptRun, Recording, RunPage, RunRecord, RunStore } from '../store.js';
import type { Connection } from './connection.js';
import { BEAT, FIND, WRITE } from './scripts.js';
import { numberOf, rangeEntries, type StreamEntry } from './streamEntries.js';
import { StreamWaiter } from './streamWaiter.js';

const debug = createDebug('claude-stream:store');

/** How many entries one command reads; all of them together are at most what is kept of a run. */
const PAGE = 64;

/** How long a run that has expired is known to have been there, in ms. */
const REMEMBERED_FOR = 24 * 60 * 60 * 1_000;

/** How long the inbox of an instance that may be gone is kept, in ms, and how many entries. */
const INBOX_TTL = 60_000;
const INBOX_LENGTH = '1000';

export interface RedisRunsOptions {
  readonly prefix: string;
  readonly ttl: number;
  readonly maxRunBytes: number;
  readonly ownerTimeout: number;
}

/**
 * Runs as streams in Redis.
 *
 * Who owns a run says so every eighth of `ownerTimeout`, with a lease of half of it. A reader that finds nothing new and
 * no lease for another quarter takes the owner for dead: at the latest after seven eighths. What Redis forgets when it
 * starts anew, the owner's next sign of life writes again, all but the frames.
 */
export class RedisRuns implements RunStore {
  readonly #connection: Connection;
  readonly #options: RedisRunsOptions;
  readonly #instance = randomBytes(12).toString('base64url');
  readonly #waiter: StreamWaiter;
  readonly #owned = new Map<string, OwnedRun>();
  #beats: NodeJS.Timeout | undefined;
  /** The runs whose attendance was noted a moment ago. */
  readonly #attended: LRUCache<string, true>;

  constructor(connection: Connection, blocking: Connection, options: RedisRunsOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#attended = new LRUCache({ max: 10_000, ttl: this.#beat });
    this.#waiter = new StreamWaiter(
      blocking,
      this.#inbox(this.#instance),
      this.#beat,
      () => this.#tell(this.#instance, 'wake', ''),
      ({ fields: [subject, runId = ''] }) => {
        if (subject === 'cancel') this.#owned.get(runId)?.onCancel();
      },
    );
  }

  record(record: RunRecord, onCancel: () => void): Recording {
    const { runId } = record;
    const window = new KeptWindow(this.#options.maxRunBytes);
    const stopListening = this.#waiter.listen();
    this.#owned.set(runId, { record, onCancel });
    this.#beats ??= setInterval(() => this.#beatAll(), this.#beat).unref();
    return {
      known: this.#beatFor(record),
      append: (first, frames) => this.#write(runId, first, frames, '', window),
      finish: (first, frames, end) => this.#write(runId, first, frames, end, window),
      release: () => {
        if (!this.#owned.delete(runId)) return;
        stopListening();
        if (this.#owned.size > 0) return;
        clearInterval(this.#beats);
        this.#beats = undefined;
      },
    };
  }

  async read(runId: string, after: number, follow?: AbortSignal): Promise<RunPage> {
    // Who always finds something attends it too.
    if (follow) await this.#attend(runId);
    const page = await this.#page(runId, after);
    if (page) return page;
    if (follow) return this.#follow(runId, after, follow);
    const kept = await this.find(runId);
    if (kept === undefined || kept.state === 'expired') return { kind: 'gone' };
    return kept.end === undefined
      ? { kind: 'nothing' }
      : this.#end(runId, after, kept.last, kept.end);
  }

  async #page(runId: string, after: number): Promise<RunPage | undefined> {
    const found = rangeEntries(
      await this.#connection.send(
        'XRANGE',
        ...[this.#key('frames', runId), `(${after}-0`, '+', 'COUNT', String(PAGE)],
      ),
    );
    return found.length > 0 ? pageOf(found) : undefined;
  }

  /** The run has ended since it was looked at, and before that it may have had more frames. */
  async #end(runId: string, after: number, last: number, end: string): Promise<RunPage> {
    return (await this.#page(runId, after)) ?? { kind: 'ended', last, end };
  }

  async #follow(runId: string, after: number, signal: AbortSignal): Promise<RunPage> {
    let missingSince: number | undefined;
    for (;;) {
      await this.#attend(runId);
      const entries = await this.#waiter.entries(this.#key('frames', runId), after, signal);
      if (entries.length > 0) return pageOf(entries);
      const { kept, hasOwner } = await this.#look(runId);
      if (kept?.end !== undefined) return this.#end(runId, after, kept.last, kept.end);
      if (hasOwner) {
        missingSince = undefined;
        continue;
      }
      // Redis may have started anew, and the owner not have said a word since.
      missingSince ??= performance.now();
      if (performance.now() - missingSince < this.#options.ownerTimeout / 4) continue;
      return kept?.state === 'running' ? { kind: 'lost', last: kept.last } : { kind: 'gone' };
    }
  }

  async find(runId: string): Promise<KeptRun | undefined> {
    return (await this.#look(runId)).kept;
  }

  async #look(runId: string): Promise<{ kept: KeptRun | undefined; hasOwner: boolean }> {
    const keys = [
      this.#key('run', runId),
      this.#key('frames', runId),
      this.#key('owner', runId),
    ] as const;
    const reply = (await this.#connection.send('EVAL', FIND, '3', ...keys)) as unknown[];
    const [json, top, end, owners] = reply.map(String);
    const hasOwner = owners === '1';
    const record = asRecord(runId, json);
    if (record === undefined) return { kept: undefined, hasOwner };
    const last = top === undefined || top === '' ? 0 : numberOf(top);
    if (end !== undefined && end !== '') {
      return { kept: { record, state: 'ended', last, end }, hasOwner };
    }
    const state = hasOwner || (top !== undefined && top !== '') ? 'running' : 'expired';
    return { kept: { record, state, last, end: undefined }, hasOwner };
  }

  async list(): Promise<KeptRun[]> {
    const ids = (await this.#connection.send('ZRANGE', this.#index, '0', '-1')) as unknown[];
    const found = await Promise.all(
      ids.map(async (id) => {
        const runId = String(id);
        const kept = await this.find(runId);
        if (kept !== undefined && kept.state !== 'expired') return [kept];
        await this.#connection.send('ZREM', this.#index, runId);
        return [];
      }),
    );
    return found.flat();
  }

  async remove(runId: string): Promise<void> {
    await this.#connection.send('DEL', this.#key('frames', runId), this.#key('run', runId));
    await this.#connection.send('ZREM', this.#index, runId);
  }

  async cancel(runId: string): Promise<void> {
    const owner = await this.#connection.send('GET', this.#key('owner', runId));
    if (owner !== null) await this.#tell(String(owner), 'cancel', runId);
  }

  async isAttended(runId: string): Promise<boolean> {
    return Number(await this.#connection.send('EXISTS', this.#key('attended', runId))) === 1;
  }

  conclude(runId: string, first: number, frames: readonly string[], end: string): Promise<boolean> {
    return this.#write(runId, first, frames, end);
  }

  /** @param window of the owner; without it the run is concluded for one that is gone */
  async #write(
    runId: string,
    first: number,
    frames: readonly string[],
    end: string,
    window?: KeptWindow,
  ): Promise<boolean> {
    const written = await this.#connection.send(
      'EVAL',
      WRITE,
      '2',
      this.#key('frames', runId),
      this.#key('owner', runId),
      String(first),
      String(window?.firstToKeep(first, frames) ?? 0),
      String(end === '' ? this.#liveTtl : this.#options.ttl),
      window ? this.#instance : 'reader',
      end,
      window ? '0' : '1',
      ...frames,
    );
    return Number(written) === 1;
  }

  /** Says that somebody follows the run, now and for a while. */
  async #attend(runId: string): Promise<void> {
    if (this.#attended.has(runId)) return;
    this.#attended.set(runId, true);
    const lease = String(Math.ceil(this.#options.ownerTimeout / 2));
    await this.#connection.send('SET', this.#key('attended', runId), '1', 'PX', lease);
  }

  #beatAll(): void {
    for (const { record } of this.#owned.values()) void this.#beatFor(record);
    const inbox = this.#inbox(this.#instance);
    this.#connection
      .send('PEXPIRE', inbox, String(INBOX_TTL))
      .catch((error) => debug('the inbox could not be kept: %o', error));
  }

  /** Never rejects. */
  async #beatFor(record: RunRecord): Promise<void> {
    const { runId } = record;
    const now = Date.now();
    const { ttl, ownerTimeout } = this.#options;
    await this.#connection
      .send(
        'EVAL',
        BEAT,
        '4',
        ...[this.#key('owner', runId), this.#key('run', runId), this.#key('frames', runId)],
        this.#index,
        ...[this.#instance, String(Math.ceil(ownerTimeout / 2))],
        ...[JSON.stringify(record), String(ttl + REMEMBERED_FOR), String(this.#liveTtl)],
        ...[String(now), runId, String(now - this.#liveTtl - 2 * ownerTimeout)],
      )
      .catch((error) => debug('%s: no sign of life: %o', runId, error));
  }

  async #tell(instance: string, subject: 'wake' | 'cancel', runId: string): Promise<void> {
    const inbox = this.#inbox(instance);
    await this.#connection.send('XADD', inbox, 'MAXLEN', '~', INBOX_LENGTH, '*', subject, runId);
    await this.#connection.send('PEXPIRE', inbox, String(INBOX_TTL));
  }

  /** How long the frames of a run outlive the last sign of life of its owner, in ms. */
  get #liveTtl(): number {
    return Math.max(this.#options.ttl, this.#options.ownerTimeout);
  }

  get #beat(): number {
    return Math.ceil(this.#options.ownerTimeout / 8);
  }

  get #index(): string {
    return `${this.#options.prefix}runs`;
  }

  #inbox(instance: string): string {
    return `${this.#options.prefix}inbox:${instance}`;
  }

  #key(kind: 'run' | 'frames' | 'owner' | 'attended', runId: string): string {
    return `${this.#options.prefix}${kind}:${runId}`;
  }
}

interface OwnedRun {
  readonly record: RunRecord;
  readonly onCancel: () => void;
}

/** Which frames of a run are to be kept: the last ones that fit, and at least the last batch. */
class KeptWindow {
  readonly #maxBytes: number;
  #batches: { readonly first: number; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes a batch, once or again, and tells the number of the first frame to be kept. */
  firstToKeep(first: number, frames: readonly string[]): number {
    if (frames.length > 0 && this.#batches.at(-1)?.first !== first) {
      const bytes = frames.reduce((sum, frame) => sum + Buffer.byteLength(frame), 0);
      this.#batches.push({ first, bytes });
      this.#bytes += bytes;
    }
    while (this.#bytes > this.#maxBytes && this.#batches.length > 1) {
      this.#bytes -= this.#batches.shift()?.bytes ?? 0;
    }
    return this.#batches[0]?.first ?? 0;
  }
}

/** The frames up to a gap or the end, or the end. */
function pageOf(entries: readonly StreamEntry[]): RunPage {
  const frames: string[] = [];
  const first = entries[0] as StreamEntry;
  for (const { number, fields } of entries) {
    const [field, text = ''] = fields;
    if (field !== 'frame' || number !== first.number + frames.length) break;
    frames.push(text);
  }
  if (frames.length > 0) return { kind: 'frames', first: first.number, frames };
  return { kind: 'ended', last: first.number, end: first.fields[1] ?? '' };
}

/** What a store holds may have been written by another version, or by somebody else. */
function asRecord(runId: string, json: string | undefined): RunRecord | undefined {
  if (json === undefined) return undefined;
  const { startedAt, user } = (JSON.parse(json) ?? {}) as Partial<RunRecord>;
  return {
    runId,
    startedAt: typeof startedAt === 'number' ? startedAt : 0,
    user: typeof user === 'string' ? user : undefined,
  };
}
