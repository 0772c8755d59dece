import { ClaudeStreamError } from './errors.js';

/**
 * The pause between two tellings of positions, in ms: a second, and with more than a thousand in the queue one more for
 * each thousand. Every start moves everybody up by one; so it costs a thousand events a second at most.
 */
const SHORTEST_PAUSE = 1_000;
const PAUSE_PER_WAITER = 1;

export interface AdmissionOptions {
  /** Most that have a place at once; `false` for no limit. */
  readonly concurrency: number | false;
  /** Most that wait for one. */
  readonly maxQueue: number;
}

/** A place, or a position in the queue for one. */
export interface Place {
  /** 0 for one that is there, 1 for the next that becomes free. */
  readonly position: number;
  /**
   * Settles when the place is there, or was given up. Never rejects.
   *
   * @param onPosition told the position at once, again from time to time when it has changed, and 0 at once when the
   * place is there; not called when nothing had to be waited for
   */
  wait(onPosition: (position: number) => void): Promise<void>;
  /** Gives the place up, or the position: somebody else may have it. Once counts. */
  leave(): void;
}

/**
 * A time at which one of a key's requests is served. It belongs to the key: when a request leaves, those behind it move
 * up, and it is the last slot of the key that ends.
 */
interface Slot {
  readonly round: number;
  /** Tells apart the slots of one round: the earlier one comes first. */
  readonly number: number;
  readonly queue: KeyQueue;
}

/** What waits of one key: the first ticket has the first slot, and so on. */
interface KeyQueue {
  readonly key: string | undefined;
  readonly slots: Slot[];
  readonly tickets: Ticket[];
}

interface Ticket {
  /** Where it waits; `undefined` once it does not. */
  queue: KeyQueue | undefined;
  hasPlace: boolean;
  /** The position that was told last. */
  told: number;
  onPosition: ((position: number) => void) | undefined;
  settle: () => void;
}

/**
 * How many may go on at once, and in what order the others follow.
 *
 * Those without a key follow in the order in which they came. Keys take turns, in rounds: each has one slot in a round,
 * and one that comes anew is part of the next round, behind those that are in it. So one request of a key waits for one
 * of every other key, however many those have; and since nobody can join the round under way, everybody's comes.
 */
export class Admission {
  readonly #concurrency: number;
  readonly #maxQueue: number;
  #taken = 0;
  /** In the order in which they are served. */
  readonly #slots: Slot[] = [];
  readonly #queues = new Map<string, KeyQueue>();
  /** The round of the slot that was served last. */
  #round = 0;
  #lastNumber = 0;
  /** Runs while somebody may have a position that has not been told. */
  #teller: NodeJS.Timeout | undefined;

  constructor({ concurrency, maxQueue }: AdmissionOptions) {
    this.#concurrency = concurrency === false ? Number.POSITIVE_INFINITY : concurrency;
    this.#maxQueue = maxQueue;
  }

  /** How many have a place. */
  get taken(): number {
    return this.#taken;
  }

  /** How many wait for one. */
  get waiting(): number {
    return this.#slots.length;
  }

  /**
   * Asks for a place: it is there at once, or the request has joined the queue.
   *
   * @param key those of one key wait for each other; without it a request is on its own
   * @throws ClaudeStreamError `queue_full`
   */
  enter(key?: string): Place {
    const ticket: Ticket = {
      queue: undefined,
      hasPlace: this.#taken < this.#concurrency,
      told: 0,
      onPosition: undefined,
      settle: () => {},
    };
    if (ticket.hasPlace) this.#taken += 1;
    else if (this.#slots.length < this.#maxQueue) this.#join(ticket, key);
    else {
      throw new ClaudeStreamError('queue_full', 'Too many requests are waiting; try again later.');
    }
    const positionOf = () => this.#positionOf(ticket);
    return {
      get position() {
        return positionOf();
      },
      wait: (onPosition) => wait(ticket, positionOf(), onPosition),
      leave: () => this.#leave(ticket),
    };
  }

  #join(ticket: Ticket, key: string | undefined): void {
    const known = key === undefined ? undefined : this.#queues.get(key);
    const queue: KeyQueue = known ?? { key, slots: [], tickets: [] };
    if (key !== undefined) this.#queues.set(key, queue);
    const round = Math.max(this.#round, queue.slots.at(-1)?.round ?? 0) + 1;
    this.#lastNumber += 1;
    const slot = { round, number: this.#lastNumber, queue };
    queue.slots.push(slot);
    queue.tickets.push(ticket);
    ticket.queue = queue;
    this.#slots.splice(this.#indexOf(slot), 0, slot);
    this.#planTelling();
  }

  #leave(ticket: Ticket): void {
    if (ticket.hasPlace) {
      ticket.hasPlace = false;
      this.#taken -= 1;
      this.#admitNext();
      return;
    }
    const { queue } = ticket;
    if (queue === undefined) return;
    ticket.queue = undefined;
    queue.tickets.splice(queue.tickets.indexOf(ticket), 1);
    const last = queue.slots.pop();
    if (last) this.#slots.splice(this.#indexOf(last), 1);
    this.#forgetIfEmpty(queue);
    this.#planTelling();
    ticket.settle();
  }

  #admitNext(): void {
    const slot = this.#slots.shift();
    if (slot === undefined) return;
    const { queue } = slot;
    this.#round = slot.round;
    queue.slots.shift();
    const ticket = queue.tickets.shift();
    this.#forgetIfEmpty(queue);
    this.#planTelling();
    if (ticket === undefined) return;
    this.#taken += 1;
    ticket.queue = undefined;
    ticket.hasPlace = true;
    tell(ticket, 0);
    ticket.settle();
  }

  #forgetIfEmpty({ key, tickets }: KeyQueue): void {
    if (tickets.length === 0 && key !== undefined) this.#queues.delete(key);
  }

  #positionOf(ticket: Ticket): number {
    const { queue } = ticket;
    const slot = queue?.slots[queue.tickets.indexOf(ticket)];
    return slot === undefined ? 0 : this.#indexOf(slot) + 1;
  }

  /** Where a slot is in the queue, or belongs. */
  #indexOf(slot: Slot): number {
    let [low, high] = [0, this.#slots.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#slots[middle] as Slot, slot)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #planTelling(): void {
    if (this.#slots.length === 0) {
      clearTimeout(this.#teller);
      this.#teller = undefined;
      return;
    }
    const pause = Math.max(SHORTEST_PAUSE, this.#slots.length * PAUSE_PER_WAITER);
    this.#teller ??= setTimeout(() => {
      this.#teller = undefined;
      this.#tellAll();
    }, pause).unref();
  }

  /** In one pass: a position by itself costs a search. */
  #tellAll(): void {
    const passed = new Map<KeyQueue, number>();
    for (const [index, { queue }] of this.#slots.entries()) {
      const place = passed.get(queue) ?? 0;
      passed.set(queue, place + 1);
      const ticket = queue.tickets[place];
      if (ticket) tell(ticket, index + 1);
    }
  }
}

function wait(
  ticket: Ticket,
  position: number,
  onPosition: (position: number) => void,
): Promise<void> {
  if (position === 0) return Promise.resolve();
  return new Promise((resolve) => {
    ticket.settle = resolve;
    ticket.onPosition = onPosition;
    tell(ticket, position);
  });
}

function tell(ticket: Ticket, position: number): void {
  if (ticket.told === position) return;
  ticket.told = position;
  ticket.onPosition?.(position);
}

function isBefore(one: Slot, other: Slot): boolean {
  return one.round === other.round ? one.number < other.number : one.round < other.round;
}
