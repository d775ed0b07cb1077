import { isAscii } from '../../../shared/search-text.ts';
import type { Projects } from '../contract/search.ts';
import { BLOCK_EVENTS, Block, type Chunk } from './block.ts';
import type { BlockReader, RecentEvents } from './candidates.ts';
import { type CommittedEvent, CommittedEvents } from './committed.ts';
import type { SearchIndex } from './search.ts';
import { termsOf } from './terms.ts';

/**
 * Keeps the search index up to date. Publishing never waits for it.
 *
 * 1. Shortly after a commit the indexer adds each new event to the open block of its project, in memory. The log has given it
 *    the events ({@link CommittedEvents}); it reads from the store those that did not fit into memory, and those before a
 *    start.
 * 2. It stores a full block. The same transaction stores a position: every event up to it is in a stored block. After a
 *    restart the indexer continues from this position.
 * 3. It stores a block that begins far behind the head, even if the block is not full: otherwise a project with few events
 *    would hold back the position.
 * 4. Blocks that an earlier release stored may have other terms for texts that are not ASCII or begin with a time. It renews
 *    them one by one, the newest first. Meanwhile a search finds by their old terms.
 *
 * An erasure or a trim changes the events and their stored blocks in one transaction. Why not SQLite's full-text search
 * (FTS5): docs/decisions/009.
 */

/** Delay after a commit: a burst of events is logged first and indexed later. If a search is waiting, there is no delay. */
const DELAY_MS = 400;
/** Pause between two slices of work (5 ms each), so that two thirds of the time are left to other work. */
const PAUSE_MS = 10;
const RETRY_MS = 1_000;
/** Maximum time that a search waits for the index to include all logged events. Then the search uses the index as it is. */
const MAX_LAG_MS = 1_000;
const ROWS_AT_ONCE = 32;
/** Time to store a full block. Storing begins with a slice, or while this much time of it is left. */
const INSERT_MS = 4;
/** A block in memory is stored at the latest when its first event is this many positions behind. */
const MAX_SPAN = 16_384;

export type IndexedEvent = { seq: number; projectId: string; payload: string };
export type BlockId = number;
/** A stored block with terms by earlier rules. */
export type OutdatedBlock = { id: BlockId; projectId: string; firstSeq: number; lastSeq: number };

/** The stored blocks. Calls are synchronous and run inside a slice. */
export interface BlockStore extends BlockReader {
  /** The stored position: every event up to it is in a stored block. */
  position(): number;
  eventsAfter(position: number, limit: number): IndexedEvent[];
  /** Returns events of a project after one position, up to another. */
  eventsOf(projectId: string, after: number, upTo: number, limit: number): IndexedEvent[];
  event(seq: number): IndexedEvent | undefined;
  /** Position of the last event of a project that is in a stored block; 0 if there is none. */
  lastSeqOf(projectId: string): number;
  /** Inserts a block and stores the new position, in one transaction. */
  insert(block: Block, chunks: readonly Chunk[], position: number): void;
  /** Rewrites the stored block that contains an event, if there is one. Runs inside the caller's transaction. */
  rewriteWith(projectId: string, seq: number, change: (block: Block) => void): void;
  /** Rewrites a block in its own transaction, if it still exists. */
  rewrite(id: BlockId, change: (block: Block) => void): void;
  /** Returns the newest block with terms of an earlier `TERMS_VERSION`. */
  outdated(): OutdatedBlock | undefined;
  /** Reads a block, if it still exists. */
  load(id: BlockId): Block | undefined;
  /** Marks a block as up to date, and stores new terms if there are any, in one transaction. */
  renew(id: BlockId, block: Block | undefined): void;
  /** Returns the blocks that have events before a position, and events at this position or after it. */
  across(position: number): BlockId[];
  /** Deletes the blocks without an event after `seq`. Runs inside the caller's transaction. */
  deleteUpTo(seq: number): void;
}

export type IndexerParts = {
  blocks: BlockStore;
  slice: <T>(work: (until: number) => T) => Promise<T>;
  /** As `slice`, for work that writes. */
  write: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
};

/**
 * `position`: events up to it have been read. `terms`: the new terms of events, by position. `renewed`: the block with these
 * terms, until it is stored.
 */
type Renewal = {
  outdated: OutdatedBlock;
  position: number;
  terms: Map<number, ReadonlySet<string>>;
  renewed?: Block | undefined;
};

export class SearchIndexer implements SearchIndex {
  readonly blocks: BlockStore;
  readonly #slice: IndexerParts['slice'];
  readonly #write: IndexerParts['write'];
  readonly #head: () => number;
  /** The blocks in memory, by project. The oldest block is first. */
  readonly #open = new Map<string, Block>();
  readonly #committed = new CommittedEvents();
  #position: number;
  /** The block that is being renewed; undefined once all are up to date. */
  #renewal: Renewal | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isReading = false;
  #isClosed = false;
  #waiting: { position: number; resolve: () => void }[] = [];

  constructor({ blocks, slice, write, head }: IndexerParts) {
    this.blocks = blocks;
    this.#slice = slice;
    this.#write = write;
    this.#head = head;
    this.#position = blocks.position();
    this.#renewal = this.#nextRenewal();
    this.#wake();
  }

  /** Takes the events of a commit. */
  add(records: readonly CommittedEvent[]): void {
    if (this.#isClosed) return;
    this.#committed.add(records);
    this.#wake();
  }

  /** Schedules the indexing of new events. */
  #wake(): void {
    if (this.#timer || this.#isReading || this.#isClosed || !this.#hasWork) return;
    this.#schedule(DELAY_MS);
  }

  /** Number of positions between the last indexed event and the head of the log. */
  get lag(): number {
    return Math.max(0, this.#head() - this.#position);
  }

  /** Resolves once all events up to a position are indexed, or after `timeoutMs`. */
  async reached(position: number, timeoutMs: number): Promise<void> {
    if (this.#position >= position) return;
    if (!this.#isReading) this.#schedule(0);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ position, resolve });
      timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }

  close(): void {
    this.#isClosed = true;
    this.#committed.clear();
    clearTimeout(this.#timer);
    for (const { resolve } of this.#waiting) resolve();
  }

  /** Waits for the index, at most {@link MAX_LAG_MS}, and returns the blocks in memory of the wanted projects. */
  async recent(projects: Projects): Promise<RecentEvents> {
    await this.reached(this.#head(), MAX_LAG_MS);
    const wanted = new Set(projects === 'all' ? [] : projects);
    const open = [...this.#open.values()];
    return { open: projects === 'all' ? open : open.filter(({ projectId }) => wanted.has(projectId)) };
  }

  /**
   * Removes the old words of an erased event from its stored block. Called inside the transaction that replaces the
   * payload.
   */
  erasing(seq: number): void {
    const event = this.blocks.event(seq);
    if (!event) return;
    const terms = new Map([[seq, termsOf(event.payload)]]);
    this.blocks.rewriteWith(event.projectId, seq, (block) => block.replace(terms));
  }

  /**
   * Removes the old words of an erased event from its block in memory. Called after the transaction, in the same turn: a
   * rollback would not undo it.
   */
  erased(seq: number): void {
    this.#committed.clear();
    const event = this.blocks.event(seq);
    if (!event) return;
    const terms = new Map([[seq, termsOf(event.payload)]]);
    this.#open.get(event.projectId)?.replace(terms);
    this.#renewal?.terms.delete(seq); // The stored block has the new terms already.
    this.#renewal?.renewed?.replace(terms);
  }

  /** Deletes the stored blocks that contain only trimmed events. Called inside the transaction that deletes the events. */
  trimmed(seq: number): void {
    this.#committed.clear();
    this.blocks.deleteUpTo(seq);
  }

  /** Removes the words of trimmed events from blocks that also contain newer events. */
  async cut(oldest: number): Promise<void> {
    const isGone = (seq: number) => seq < oldest;
    for (const block of [...this.#open.values()]) {
      if (block.firstSeq < oldest) await this.#slice(() => block.drop(isGone));
    }
    // Stored blocks come second: a block in memory may have been stored during the loop above.
    for (const id of await this.#slice(() => this.blocks.across(oldest))) {
      await this.#write(() => {
        this.blocks.rewrite(id, (block) => block.drop(isGone));
        // A renewal may have read the trimmed events, or the block, before.
        if (this.#renewal?.outdated.id !== id) return;
        for (const seq of this.#renewal.terms.keys()) if (isGone(seq)) this.#renewal.terms.delete(seq);
        this.#renewal.renewed?.drop(isGone);
      });
    }
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#readOn(), ms).unref();
  }

  async #readOn(): Promise<void> {
    this.#timer = undefined;
    this.#isReading = true;
    let waitMs = PAUSE_MS;
    try {
      await this.#write((until) => this.#read(until));
      if (this.#renewal) await this.#renew(this.#renewal);
    } catch {
      // `write` has already reported the error. Indexing is tried again after `RETRY_MS`.
      waitMs = RETRY_MS;
    }
    this.#isReading = false;
    const reached = this.#waiting.filter(({ position }) => position <= this.#position);
    this.#waiting = this.#waiting.filter(({ position }) => position > this.#position);
    for (const { resolve } of reached) resolve();
    if (!this.#isClosed && this.#hasWork) this.#schedule(waitMs);
  }

  get #hasWork(): boolean {
    return this.#position < this.#head() || this.#renewal !== undefined;
  }

  #nextRenewal(): Renewal | undefined {
    const outdated = this.blocks.outdated();
    return outdated && { outdated, position: outdated.firstSeq - 1, terms: new Map() };
  }

  /** Reads events of an outdated block for a slice. After the last event, it renews the block in two further slices. */
  async #renew(renewal: Renewal): Promise<void> {
    const { projectId, lastSeq, id } = renewal.outdated;
    const isRead = await this.#slice((until) => {
      for (;;) {
        const events = this.blocks.eventsOf(projectId, renewal.position, lastSeq, ROWS_AT_ONCE);
        for (const { seq, payload } of events) {
          if (!isAscii(payload) || TIMED_TEXT.test(payload)) renewal.terms.set(seq, termsOf(payload));
          renewal.position = seq;
          if (performance.now() > until) return false;
        }
        if (events.length < ROWS_AT_ONCE) return true;
      }
    });
    if (!isRead) return;
    if (renewal.terms.size > 0) {
      await this.#slice(() => {
        renewal.renewed = this.blocks.load(id);
        renewal.renewed?.replace(renewal.terms);
      });
    }
    await this.#write(() => {
      this.blocks.renew(id, renewal.renewed);
      this.#renewal = this.#nextRenewal();
    });
  }

  #read(until: number): void {
    let isFirst = true;
    for (;;) {
      const events = this.#nextEvents();
      for (const event of events) {
        for (let due = this.#due(event); due; due = this.#due(event)) {
          if (!isFirst && performance.now() > until - INSERT_MS * (due.seqs.length / BLOCK_EVENTS)) return;
          this.#insert(due);
          isFirst = false;
        }
        this.#add(event);
        isFirst = false;
        if (performance.now() > until) return;
      }
      if (events.length === 0) return;
    }
  }

  #nextEvents(): readonly CommittedEvent[] {
    const committed = this.#committed.after(this.#position, ROWS_AT_ONCE);
    if (committed) return committed;
    const stored = this.blocks.eventsAfter(this.#position, ROWS_AT_ONCE);
    return stored.map(({ seq, projectId, payload: json }) => ({ seq, projectId, json }));
  }

  /** Returns a block that must be stored before the event can be added. */
  #due({ seq, projectId }: CommittedEvent): Block | undefined {
    const [oldest] = this.#open.values();
    if (oldest && oldest.firstSeq + MAX_SPAN <= seq) return oldest;
    const block = this.#open.get(projectId);
    return block?.isFull ? block : undefined;
  }

  #add({ seq, projectId, json }: CommittedEvent): void {
    let block = this.#open.get(projectId);
    // After a restart, indexing begins at the stored position. A later event may already be in a stored block; it is
    // skipped.
    if (!block && this.blocks.lastSeqOf(projectId) < seq) {
      block = new Block(projectId);
      this.#open.set(projectId, block);
    }
    block?.add(seq, json);
    this.#position = seq;
  }

  #insert(block: Block): void {
    let position = this.#position;
    for (const other of this.#open.values()) if (other !== block) position = Math.min(position, other.firstSeq - 1);
    this.blocks.insert(block, block.encode(), position);
    this.#open.delete(block.projectId);
  }
}

/** A text that begins with a time. Earlier releases did not index it. */
const TIMED_TEXT = /"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?!\.\d{3}Z")/;
