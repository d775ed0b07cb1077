import { sliceEnd } from '../../slices.ts';
import type { LogHead, StoredEvent } from '../contract/log.ts';
import type { Query } from './database.ts';
import { PAGE, type PageRow, toRecords } from './feed-page.ts';
import type { Commit } from './messages.ts';

/**
 * Gives the records of every node to the listeners of this one: each once, in order, without a hole.
 *
 * Records arrive from the commits of this node and in messages of the others, in any order. Those that continue the history
 * go to the listeners; later ones wait in a bounded buffer. Whatever is missing before a known position is read from the
 * log, one page at a time, and so are records that found no place in the buffer.
 *
 * A record continues the history if its position follows the head and the hash of the row before is that of the head. If
 * the position follows and the hash does not, the store has lost the end of the history that this node knows: `suspect`.
 */

/** UTF-16 units of JSON and number of chunks that wait for earlier records. */
const MAX_EARLY_LENGTH = 8 * 1024 * 1024;
const MAX_EARLY_CHUNKS = 1_024;
/** Time between two reads while the log cannot be read, or does not continue the history. */
const RETRY_MS = 250;

/** The position before the first row after $1. */
const FIRST = `SELECT seq - 1 AS seq, encode(substr(prev_hash, 1, 4), 'hex') AS "hashPrefix"
  FROM events WHERE seq > $1 ORDER BY seq LIMIT 1`;

/**
 * What this node knows of the log. `head`: the last record that it has given to its listeners. `recordedAtMs`: the time of
 * the newest record that it knows of. `erasures`: the number of erasures that it has applied to its memory.
 */
export type LogState = { epoch: string; head: LogHead; recordedAtMs: number; oldest: number; erasures: number };

/** Records of this node, after their commit. */
export type Committed = {
  /** The head of the store at the commit: the row before the first record. */
  before: LogHead;
  records: readonly StoredEvent[];
  /** The last record. */
  head: LogHead;
  recordedAtMs: number;
  /** `head.erasures` at the commit. */
  erasures: number;
};

/** An erasure of any node: the value of `head.erasures` after it, and the record that replaced the event. */
export type Tombstone = { generation: number; record: StoredEvent };

type FeedParts = {
  /** The feed changes this object. */
  state: LogState;
  /** Runs the reads of missing records, one at a time. */
  query: Query;
  /** Sends the records of a commit to the other nodes. */
  send: (commit: Commit) => void;
  /** Compares the history of this node with the store's. Resolves afterwards; false if the store could not be asked. */
  suspect: () => Promise<boolean>;
  /** Returns the erasures after a number, in order: at least one, if there is one. */
  tombstonesAfter: (generation: number) => Promise<Tombstone[]>;
  onFailure: (error: unknown, message: string) => void;
};

type Waiter = { seq: number; resolve: (isReached: boolean) => void };
type Chunk = Omit<Commit, 'records' | 'epoch'> & { records: readonly StoredEvent[]; length: number };

export class Feed {
  readonly #parts: FeedParts;
  readonly #listeners = new Set<(records: readonly StoredEvent[]) => void>();
  readonly #epochListeners = new Set<() => void>();
  readonly #erasureListeners = new Set<(record: StoredEvent) => void>();
  readonly #waiters = new Set<Waiter>();
  readonly #state: LogState;
  /** The last position that is known to be in the log. */
  #target: number;
  /** Records that wait for earlier ones, by their first position. */
  readonly #early = new Map<number, Chunk>();
  #earlyLength = 0;
  #isDelivering = false;
  #isReading = false;
  #isClosed = false;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#state = parts.state;
    this.#target = parts.state.head.seq;
  }

  get epoch(): string {
    return this.#state.epoch;
  }
  get head(): number {
    return this.#state.head.seq;
  }
  get erasures(): number {
    return this.#state.erasures;
  }
  /** Number of JSON units that wait for earlier records. */
  get earlyLength(): number {
    return this.#earlyLength;
  }

  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  onEpoch(listener: () => void): () => void {
    this.#epochListeners.add(listener);
    return () => this.#epochListeners.delete(listener);
  }
  onErased(listener: (record: StoredEvent) => void): () => void {
    this.#erasureListeners.add(listener);
    return () => this.#erasureListeners.delete(listener);
  }

  /** Takes the records of a commit of this node, and sends them to the others. They are at the listeners once `reached`. */
  committed({ before, records, head, recordedAtMs, erasures }: Committed): void {
    if (records.length === 0) return;
    const commit = { from: before.seq + 1, to: head.seq, prevHashPrefix: before.hashPrefix, erasures, records };
    this.#state.recordedAtMs = Math.max(this.#state.recordedAtMs, recordedAtMs);
    this.#parts.send({ ...commit, epoch: this.epoch });
    this.#take(commit);
  }

  /** Takes a commit that another node has sent. */
  received({ epoch, ...commit }: Commit): void {
    if (epoch === this.epoch) this.#take(commit);
    else void this.#parts.suspect();
  }

  /** Reads the log up to a position that the store has. */
  follow(seq: number): void {
    this.#target = Math.max(this.#target, seq);
    this.#read();
  }

  /**
   * Resolves to true once the listeners have the record at `seq`. Resolves to false if the store has no such position, at
   * the timeout, and when the log closes.
   */
  reached(seq: number, timeoutMs?: number): Promise<boolean> {
    if (this.head >= seq) return Promise.resolve(true);
    if (this.#isClosed) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => waiter.resolve(false), timeoutMs);
      const waiter = {
        seq,
        resolve: (isReached: boolean) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(isReached);
        },
      };
      this.#waiters.add(waiter);
      if (seq <= this.#target) return;
      void this.#parts.suspect().then((isKnown) => {
        if (isKnown && seq > this.#target) waiter.resolve(false);
      });
    });
  }

  /** Calls the listeners of `onErased` with the erasures up to a number. */
  async applyErasures(upTo: number): Promise<void> {
    while (this.erasures < upTo) {
      const tombstones = await this.#parts.tombstonesAfter(this.erasures);
      for (const { generation, record } of tombstones) {
        if (generation <= this.erasures) continue;
        this.#state.erasures = generation;
        this.#call(this.#erasureListeners, record);
      }
      // Retention has removed the records of the others, with the events.
      if (tombstones.length === 0) this.#state.erasures = upTo;
    }
  }

  /** Takes another epoch. With a `head`, this node goes on after it; without, its records are those of the new epoch. */
  replace(epoch: string, lastSeq: number, head?: LogHead): void {
    this.#state.epoch = epoch;
    if (head) {
      this.#state.head = head;
      this.#early.clear();
      this.#earlyLength = 0;
      this.#target = lastSeq;
    }
    this.#call(this.#epochListeners, undefined);
    // A position beyond the new history will not be reached by the record that was waited for.
    this.#forget(Math.max(lastSeq, this.#target));
    this.#settleWaiters();
    this.#read();
  }

  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiters) waiter.resolve(false);
    this.#early.clear();
  }

  #take({ records, ...range }: Omit<Commit, 'epoch'>): void {
    if (this.#isClosed) return;
    this.#target = Math.max(this.#target, range.to);
    if (records?.length === range.to - range.from + 1 && range.to > this.head) {
      const length = records.reduce((sum, { json }) => sum + json.length, 0);
      const hasPlace = this.#earlyLength + length <= MAX_EARLY_LENGTH && this.#early.size < MAX_EARLY_CHUNKS;
      if (hasPlace || range.from <= this.head + 1) this.#add({ ...range, records, length });
    }
    this.#deliver();
  }

  #add(chunk: Chunk): void {
    this.#remove(chunk.from);
    this.#early.set(chunk.from, chunk);
    this.#earlyLength += chunk.length;
  }

  #remove(from: number): void {
    const chunk = this.#early.get(from);
    if (!chunk) return;
    this.#early.delete(from);
    this.#earlyLength -= chunk.length;
  }

  /** Gives the listeners the records that continue the history, for a slice of a turn. */
  #deliver(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    const until = sliceEnd();
    for (let chunk = this.#next(); chunk; chunk = this.#next()) {
      this.#give(chunk);
      if (performance.now() < until || this.#early.size === 0) continue;
      setImmediate(() => {
        this.#isDelivering = false;
        if (!this.#isClosed) this.#deliver();
      });
      return;
    }
    this.#isDelivering = false;
    this.#read();
  }

  /** Removes the chunk with the record after the head from the buffer and returns it. */
  #next(): Chunk | undefined {
    const chunk = this.#early.get(this.head + 1) ?? this.#overlapping();
    if (chunk) this.#remove(chunk.from);
    return chunk;
  }

  #overlapping(): Chunk | undefined {
    for (const chunk of this.#early.values()) {
      if (chunk.to <= this.head) this.#remove(chunk.from);
      else if (chunk.from <= this.head) return chunk;
    }
    return undefined;
  }

  #give({ from, records, prevHashPrefix, erasures }: Chunk): void {
    const { head } = this.#state;
    // An erasure after these records may have removed their text.
    if (erasures < this.erasures) return;
    const known = head.seq + 1 - from;
    if ((records[known - 1]?.hashPrefix ?? prevHashPrefix) !== head.hashPrefix) {
      void this.#parts.suspect();
      return;
    }
    const rest = known > 0 ? records.slice(known) : records;
    const { seq, hashPrefix = '' } = rest.at(-1) as StoredEvent;
    this.#state.head = { seq, hashPrefix };
    this.#call(this.#listeners, rest);
    this.#settleWaiters();
  }

  #settleWaiters(): void {
    for (const waiter of this.#waiters) if (waiter.seq <= this.head) waiter.resolve(true);
  }

  #call<T>(listeners: Iterable<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) {
      try {
        listener(value);
      } catch (error) {
        this.#parts.onFailure(error, 'a listener of the event log failed');
      }
    }
  }

  /** Reads the missing records, if there are any and no read is in flight. */
  #read(): void {
    if (this.#isReading || this.#isDelivering || this.#isClosed || this.head >= this.#target) return;
    this.#isReading = true;
    this.#readPage().then(
      (hasProgress) => this.#readAgain(hasProgress),
      (error) => {
        if (!this.#isClosed) this.#parts.onFailure(error, 'the records of other nodes cannot be read');
        this.#readAgain(false);
      },
    );
  }

  #readAgain(hasProgress: boolean): void {
    const again = () => {
      this.#isReading = false;
      this.#deliver();
    };
    if (hasProgress) again();
    else setTimeout(again, RETRY_MS).unref();
  }

  /** Reads the records before the first chunk that waits. Returns whether the node may read on at once. */
  async #readPage(): Promise<boolean> {
    const { head } = this.#state;
    let upTo = this.#target;
    for (const { from } of this.#early.values()) upTo = Math.min(upTo, from - 1);
    const rows = await this.#parts.query<PageRow>({ name: 'feed-page', text: PAGE, values: [head.seq, upTo] });
    const [state] = rows as [PageRow];
    if (state.epoch !== this.epoch || state.head < head.seq) return this.#compare(head);
    if (state.erasures < this.erasures) return true;
    if (state.head <= head.seq) {
      this.#forget(state.head);
      return true;
    }
    const records = toRecords(state, rows, upTo);
    const [first] = records;
    if (first?.seq !== head.seq + 1) return this.#skip(head, { seq: state.head, hashPrefix: state.headHashPrefix });
    if (this.#state.head === head && state.prevHashPrefix !== head.hashPrefix) return this.#compare(head);
    const { seq: to } = records.at(-1) as StoredEvent;
    const { erasures, prevHashPrefix } = state;
    this.#add({ from: first.seq, to, prevHashPrefix, erasures, records, length: 0 });
    return true;
  }

  async #compare(head: LogHead): Promise<boolean> {
    await this.#parts.suspect();
    return this.#state.head !== head;
  }

  /** A message announced positions that the store does not have: it has lost them. */
  #forget(lastSeq: number): void {
    this.#target = Math.max(this.head, lastSeq);
    for (const waiter of this.#waiters) if (waiter.seq > this.#target) waiter.resolve(false);
  }

  /**
   * Retention has removed the rows after the head, while this node did not reach the store: goes on at the first row, or
   * after the last position of the store if no row is left.
   */
  async #skip(head: LogHead, last: LogHead): Promise<boolean> {
    const [first = last] = await this.#parts.query<LogHead>({ text: FIRST, values: [head.seq] });
    if (first.seq === head.seq || this.#state.head !== head) return false;
    this.#state.head = first;
    this.#settleWaiters();
    return true;
  }
}
