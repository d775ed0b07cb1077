import { BLOCK_EVENTS, Block, type Chunk, fieldTerm, type StoredBlock, wordTerm } from './block.ts';
import { eachText, wordsOf } from './tokenizer.ts';

/**
 * Keeps the search index up to date. It is a reader of the log, so that publishing never waits for it.
 *
 * 1. Shortly after a commit it reads new events, and adds each to the open block of its project, in memory.
 * 2. It stores a full block in one transaction, together with the position before which every event is in a stored block.
 *    After a crash it continues there.
 * 3. It stores a block that is far behind the head before it is full: otherwise one quiet project would hold back the position.
 *
 * The store keeps the index with the events: erasing and trimming change both in one transaction. Why not FTS5:
 * docs/decisions/009.
 */

/** Delay after a commit, unless a search waits: a burst of events is stored first and indexed later. */
const DELAY_MS = 400;
/** Pause between two slices: leaves two thirds of the event loop to others. */
const PAUSE_MS = 10;
const RETRY_MS = 1_000;
const ROWS_AT_ONCE = 32;
/** Time to store a full block: it starts only if this much is left of the slice. */
const INSERT_MS = 4;
/** An open block may begin this many events before the head. */
const MAX_SPAN = 16_384;

export type IndexedEvent = { seq: number; projectId: string; payload: string };
export type BlockId = number;
/** A stored block with events before a position. */
export type FoundBlock = { lastSeq: number; open: () => StoredBlock };
export type BlockQuery = { before: number; lastSeqBelow: number; newest: BlockId; limit: number };

/** The blocks of a store. Calls are synchronous and run inside a slice. */
export interface BlockStore {
  /** The stored position: every event up to it is in a stored block. */
  position(): number;
  eventsAfter(position: number, limit: number): IndexedEvent[];
  event(seq: number): IndexedEvent | undefined;
  /** Last event of a project that is in a stored block; 0 for none. */
  lastSeqOf(projectId: string): number;
  /** Inserts a block and moves the position, in one transaction. */
  insert(block: Block, chunks: readonly Chunk[], position: number): void;
  /** Greatest block id: ids grow. */
  newest(): BlockId;
  /** Stored blocks up to `newest`, of one project or of all, `lastSeq` falling. */
  before(projectId: string | undefined, query: BlockQuery): FoundBlock[];
  /** Rewrites the block that contains an event, if there is one. Inside the transaction of the caller. */
  rewriteWith(projectId: string, seq: number, change: (block: Block) => void): void;
  /** Rewrites a block in its own transaction, if it still exists. */
  rewrite(id: BlockId, change: (block: Block) => void): void;
  /** Blocks with events before and from a position on. */
  across(position: number): BlockId[];
  /** Deletes blocks without an event after `seq`. Inside the transaction of the caller. */
  deleteUpTo(seq: number): void;
}

export type IndexerParts = {
  blocks: BlockStore;
  slice: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
};

export class SearchIndexer {
  readonly blocks: BlockStore;
  readonly #slice: IndexerParts['slice'];
  readonly #head: () => number;
  /** By project, the oldest block first. */
  readonly #open = new Map<string, Block>();
  #position: number;
  #timer: NodeJS.Timeout | undefined;
  #isReading = false;
  #isClosed = false;
  #waiting: { position: number; resolve: () => void }[] = [];

  constructor({ blocks, slice, head }: IndexerParts) {
    this.blocks = blocks;
    this.#slice = slice;
    this.#head = head;
    this.#position = blocks.position();
    this.wake();
  }

  /** Called after a commit. */
  wake(): void {
    if (this.#timer || this.#isReading || this.#isClosed || this.#position >= this.#head()) return;
    this.#schedule(DELAY_MS);
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
    clearTimeout(this.#timer);
    for (const { resolve } of this.#waiting) resolve();
  }

  /** Blocks in memory, of some projects. */
  readonly openBlocks = (isWanted: (projectId: string) => boolean): Block[] =>
    [...this.#open.values()].filter(({ projectId }) => isWanted(projectId));

  /** An event has another payload. Called inside the transaction that replaces it: its old words leave the stored block. */
  erasing(seq: number): void {
    const event = this.blocks.event(seq);
    if (event) this.blocks.rewriteWith(event.projectId, seq, (block) => block.replace(seq, termsOf(event.payload)));
  }

  /** The same for the block in memory. Called after the transaction, since a rollback would not undo it. */
  erased(seq: number): void {
    const event = this.blocks.event(seq);
    if (event) this.#open.get(event.projectId)?.replace(seq, termsOf(event.payload));
  }

  /** All events up to a position were deleted. Called inside the transaction that deletes them. */
  trimmed(seq: number): void {
    this.blocks.deleteUpTo(seq);
  }

  /** Removes trimmed events from blocks that also have newer ones. */
  async cut(oldest: number): Promise<void> {
    const isGone = (seq: number) => seq < oldest;
    for (const block of [...this.#open.values()]) {
      if (block.firstSeq < oldest) await this.#slice(() => block.drop(isGone));
    }
    // After the blocks in memory: one of them may be stored meanwhile.
    for (const id of await this.#slice(() => this.blocks.across(oldest))) {
      await this.#slice(() => this.blocks.rewrite(id, (block) => block.drop(isGone)));
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
      await this.#slice((until) => this.#read(until));
    } catch {
      // `slice` has reported the error.
      waitMs = RETRY_MS;
    }
    this.#isReading = false;
    const reached = this.#waiting.filter(({ position }) => position <= this.#position);
    this.#waiting = this.#waiting.filter(({ position }) => position > this.#position);
    for (const { resolve } of reached) resolve();
    if (!this.#isClosed && this.#position < this.#head()) this.#schedule(waitMs);
  }

  #read(until: number): void {
    for (;;) {
      const events = this.blocks.eventsAfter(this.#position, ROWS_AT_ONCE);
      for (const event of events) {
        for (let due = this.#due(event); due; due = this.#due(event)) {
          if (performance.now() > until - INSERT_MS * (due.seqs.length / BLOCK_EVENTS)) return;
          this.#insert(due);
        }
        this.#add(event);
        if (performance.now() > until) return;
      }
      if (events.length < ROWS_AT_ONCE) return;
    }
  }

  /** The block that must be stored before an event is added. */
  #due({ seq, projectId }: IndexedEvent): Block | undefined {
    const [oldest] = this.#open.values();
    if (oldest && oldest.firstSeq + MAX_SPAN <= seq) return oldest;
    const block = this.#open.get(projectId);
    return block?.isFull ? block : undefined;
  }

  #add({ seq, projectId, payload }: IndexedEvent): void {
    let block = this.#open.get(projectId);
    // After a crash, the position may be before events that are in stored blocks.
    if (!block && this.blocks.lastSeqOf(projectId) < seq) {
      block = new Block(projectId);
      this.#open.set(projectId, block);
    }
    block?.add(seq, termsOf(payload));
    this.#position = seq;
  }

  #insert(block: Block): void {
    let position = this.#position;
    for (const other of this.#open.values()) if (other !== block) position = Math.min(position, other.firstSeq - 1);
    this.blocks.insert(block, block.encode(), position);
    this.#open.delete(block.projectId);
  }
}

/** The terms of an event. An unreadable payload has none: the events after it must still be indexed. */
function termsOf(payload: string): Set<string> {
  let event: { type: string; runId: string; actor: string };
  try {
    event = JSON.parse(payload);
  } catch {
    return new Set();
  }
  const terms = new Set([
    fieldTerm('type', event.type),
    fieldTerm('run', event.runId),
    fieldTerm('actor', event.actor),
  ]);
  eachText(event, (text) => {
    for (const word of wordsOf(text)) terms.add(wordTerm(word));
  });
  return terms;
}
