import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { BLOCK_EVENTS, Block, fieldTerm, KeptBlock, wordTerm } from '../search/block.ts';
import { eachText, wordsOf } from '../search/tokenizer.ts';
import { transact } from './database.ts';

/**
 * The words of the log, kept up by a reader of it: never in the way of who publishes. It reads on a little after each
 * commit, and puts events into the open block of their project, in memory. A block that is full is written, with the
 * position up to which no event is in memory alone, in one transaction; after a crash it reads on from there. A block
 * that falls far behind is written as it is, lest one quiet project hold that position back.
 *
 * It lives in the file of the events: what is erased or trimmed leaves both in one transaction, and there is one file
 * to copy, to guard and to lose. Why it is none of FTS5: docs/decisions/009.
 */

/** From a commit until it is looked at, unless somebody searches: a burst is logged first, and its words come after. */
const DELAY_MS = 400;
/** Between two slices of a long way: leaves two thirds of the loop to others. */
const PAUSE_MS = 10;
const RETRY_MS = 1_000;
const ROWS_AT_ONCE = 32;
/** What writing a full block takes: it begins only where there is as much left of the slice. */
const KEEP_MS = 4;
/** Events between an open block and the head. */
const SPAN = 16_384;
const CHUNKS_PER_BLOCK = 65_536;

type EventRow = { seq: number; project_id: string; payload: string };
type BlockRow = {
  block: number;
  project_id: string;
  first_seq: number;
  last_seq: number;
  seqs: string | null;
  firsts: string;
};

export type SearchIndexParts = {
  db: DatabaseSyncInstance;
  slice: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
};

export class SearchIndex {
  readonly #parts: SearchIndexParts;
  readonly #statements: ReturnType<typeof prepareIndex>;
  /** By project, the one that was opened first at first. */
  readonly #open = new Map<string, Block>();
  #position: number;
  #timer: NodeJS.Timeout | undefined;
  #isFeeding = false;
  #isClosed = false;
  #waiting: { position: number; resolve: () => void }[] = [];

  constructor(parts: SearchIndexParts) {
    this.#parts = parts;
    this.#statements = prepareIndex(parts.db);
    const row = this.#statements.position.get() as { value: string } | undefined;
    this.#position = Number(row?.value ?? 0);
    this.wake();
  }

  /** There may be something to read. */
  wake(): void {
    if (this.#timer || this.#isFeeding || this.#isClosed || this.#position >= this.#parts.head()) return;
    this.#schedule(DELAY_MS);
  }

  /** Resolves once all up to a position is in, or after a time. */
  async reached(position: number, mostMs: number): Promise<void> {
    if (this.#position >= position) return;
    if (!this.#isFeeding) this.#schedule(0);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#waiting.push({ position, resolve });
      timer = setTimeout(resolve, mostMs);
    });
    clearTimeout(timer);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { resolve } of this.#waiting) resolve();
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#feed(), ms).unref();
  }

  async #feed(): Promise<void> {
    this.#timer = undefined;
    this.#isFeeding = true;
    let waitMs = PAUSE_MS;
    try {
      await this.#parts.slice((until) => this.#read(until));
    } catch {
      // Whoever asks the log for anything is told, and the log has told why.
      waitMs = RETRY_MS;
    }
    this.#isFeeding = false;
    const reached = this.#waiting.filter(({ position }) => position <= this.#position);
    this.#waiting = this.#waiting.filter(({ position }) => position > this.#position);
    for (const { resolve } of reached) resolve();
    if (!this.#isClosed && this.#position < this.#parts.head()) this.#schedule(waitMs);
  }

  #read(until: number): void {
    for (;;) {
      const rows = this.#statements.eventsAfter.all(this.#position, ROWS_AT_ONCE) as EventRow[];
      for (const row of rows) {
        for (let due = this.#due(row); due; due = this.#due(row)) {
          if (performance.now() > until - KEEP_MS * (due.seqs.length / BLOCK_EVENTS)) return;
          this.#keep(due);
        }
        this.#take(row);
        if (performance.now() > until) return;
      }
      if (rows.length < ROWS_AT_ONCE) return;
    }
  }

  /** The block that has to be written before an event is taken. */
  #due({ seq, project_id: projectId }: EventRow): Block | undefined {
    const [oldest] = this.#open.values();
    if (oldest && oldest.firstSeq + SPAN <= seq) return oldest;
    const block = this.#open.get(projectId);
    return block?.isFull ? block : undefined;
  }

  #take({ seq, project_id: projectId, payload }: EventRow): void {
    let block = this.#open.get(projectId);
    if (!block) {
      // After a crash, what others keep the position back for may be here already.
      const last = this.#statements.lastOf.get(projectId) as { seq: number | null };
      if ((last.seq ?? 0) < seq) {
        block = new Block(projectId);
        this.#open.set(projectId, block);
      }
    }
    block?.add(seq, termsOf(payload));
    this.#position = seq;
  }

  /** Writes a block; from then on it is not in memory. */
  #keep(block: Block): void {
    const { insertBlock, setPosition } = this.#statements;
    const { projectId, seqs, firstSeq, lastSeq } = block;
    const chunks = block.encode();
    let position = this.#position;
    for (const other of this.#open.values()) if (other !== block) position = Math.min(position, other.firstSeq - 1);
    transact(this.#parts.db, 'NORMAL', () => {
      const isContiguous = lastSeq - firstSeq + 1 === seqs.length;
      const kept = isContiguous ? null : JSON.stringify(seqs);
      const row = insertBlock.run(projectId, firstSeq, lastSeq, kept, firstsOf(chunks));
      this.#writeChunks(Number(row.lastInsertRowid), chunks);
      setPosition.run(String(position));
    });
    this.#open.delete(projectId);
  }

  #writeChunks(block: number, chunks: readonly { lines: string }[]): void {
    for (const [index, { lines }] of chunks.entries()) {
      this.#statements.insertChunk.run(block * CHUNKS_PER_BLOCK + index, lines);
    }
  }

  /** Blocks that are in memory, of some projects. */
  openBlocks(isWanted: (projectId: string) => boolean): Block[] {
    return [...this.#open.values()].filter(({ projectId }) => isWanted(projectId));
  }

  /** The newest of the blocks that are written. */
  get newest(): number {
    return (this.#statements.newestBlock.get() as { block: number | null }).block ?? 0;
  }

  /** The next blocks of a project or of all, `lastSeq` falling, that have events before a position. */
  blocksBefore(
    projectId: string | undefined,
    { before, lastSeqBelow, newest, limit }: { before: number; lastSeqBelow: number; newest: number; limit: number },
  ): FoundBlock[] {
    const { blocksOfAll, blocksOf } = this.#statements;
    const rows =
      projectId === undefined
        ? blocksOfAll.all(lastSeqBelow, before, newest, limit)
        : blocksOf.all(projectId, lastSeqBelow, before, newest, limit);
    return (rows as BlockRow[]).map((row) => ({
      lastSeq: row.last_seq,
      open: () => new KeptBlock(seqsOf(row), JSON.parse(row.firsts), (index) => this.#chunk(row.block, index)),
    }));
  }

  #chunk(block: number, index: number): string {
    const row = this.#statements.chunk.get(block * CHUNKS_PER_BLOCK + index) as { lines: string } | undefined;
    return row?.lines ?? '\n';
  }

  /**
   * An event of the log is given another payload: what it said before leaves the written blocks, what it says now is
   * found. Inside the transaction that changes it; that what is deleted is overwritten, too, is `secure_delete`'s business.
   */
  erasing(seq: number): void {
    const row = this.#statements.event.get(seq) as EventRow | undefined;
    if (!row) return;
    const kept = this.#statements.blockWith.get(row.project_id, seq) as BlockRow | undefined;
    if (kept && kept.first_seq <= seq) this.#rewrite(kept, (block) => block.replace(seq, termsOf(row.payload)));
  }

  /** The same in memory, which no rollback would undo: once it is committed. */
  erased(seq: number): void {
    const row = this.#statements.event.get(seq) as EventRow | undefined;
    if (row) this.#open.get(row.project_id)?.replace(seq, termsOf(row.payload));
  }

  /** Everything up to a position has left the log. Inside the transaction that took it. */
  trimmed(seq: number): void {
    for (const { block } of this.#statements.blocksUpTo.all(seq) as { block: number }[]) {
      this.#statements.deleteChunks.run(block * CHUNKS_PER_BLOCK, (block + 1) * CHUNKS_PER_BLOCK - 1);
      this.#statements.deleteBlock.run(block);
    }
  }

  /** Takes what was trimmed out of the blocks that also hold younger events. */
  async cut(oldest: number): Promise<void> {
    const isGone = (seq: number) => seq < oldest;
    for (const block of [...this.#open.values()]) {
      if (block.firstSeq < oldest) await this.#parts.slice(() => block.drop(isGone));
    }
    // After those in memory: one that was written meanwhile is among these.
    const across = await this.#parts.slice(() => this.#statements.blocksAcross.all(oldest, oldest) as BlockRow[]);
    for (const { block: id } of across) {
      await this.#parts.slice(() => {
        const row = this.#statements.block.get(id) as BlockRow | undefined;
        if (row) transact(this.#parts.db, 'NORMAL', () => this.#rewrite(row, (block) => block.drop(isGone)));
      });
    }
  }

  #rewrite(row: BlockRow, change: (block: Block) => void): void {
    const from = row.block * CHUNKS_PER_BLOCK;
    const to = from + CHUNKS_PER_BLOCK - 1;
    const lines = this.#statements.chunks.all(from, to).map((chunk) => (chunk as { lines: string }).lines);
    const block = Block.decode(row.project_id, seqsOf(row), lines);
    change(block);
    const chunks = block.encode();
    this.#statements.deleteChunks.run(from, to);
    this.#writeChunks(row.block, chunks);
    this.#statements.setFirsts.run(firstsOf(chunks), row.block);
  }
}

export type FoundBlock = { lastSeq: number; open: () => KeptBlock };

/** All that an event is found by; nothing where somebody has made it unreadable: those after it are to be found. */
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

const firstsOf = (chunks: readonly { first: string }[]): string => JSON.stringify(chunks.map(({ first }) => first));

function seqsOf({ seqs, first_seq, last_seq }: BlockRow): number[] {
  if (seqs !== null) return JSON.parse(seqs) as number[];
  return Array.from({ length: last_seq - first_seq + 1 }, (_, index) => first_seq + index);
}

export function prepareIndex(db: DatabaseSyncInstance) {
  const inOrder = 'AND block <= ? ORDER BY last_seq DESC LIMIT ?';
  return {
    position: db.prepare(`SELECT value FROM meta WHERE key = 'search_position'`),
    setPosition: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('search_position', ?)`),
    eventsAfter: db.prepare('SELECT seq, project_id, payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?'),
    event: db.prepare('SELECT seq, project_id, payload FROM events WHERE seq = ?'),
    lastOf: db.prepare('SELECT max(last_seq) AS seq FROM search_blocks WHERE project_id = ?'),
    newestBlock: db.prepare('SELECT max(block) AS block FROM search_blocks'),
    insertBlock: db.prepare(
      'INSERT INTO search_blocks (project_id, first_seq, last_seq, seqs, firsts) VALUES (?, ?, ?, ?, ?)',
    ),
    setFirsts: db.prepare('UPDATE search_blocks SET firsts = ? WHERE block = ?'),
    insertChunk: db.prepare('INSERT INTO search_chunks (chunk, lines) VALUES (?, ?)'),
    chunk: db.prepare('SELECT lines FROM search_chunks WHERE chunk = ?'),
    chunks: db.prepare('SELECT lines FROM search_chunks WHERE chunk BETWEEN ? AND ? ORDER BY chunk'),
    blocksOfAll: db.prepare(`SELECT * FROM search_blocks WHERE last_seq < ? AND first_seq < ? ${inOrder}`),
    blocksOf: db.prepare(
      `SELECT * FROM search_blocks WHERE project_id = ? AND last_seq < ? AND first_seq < ? ${inOrder}`,
    ),
    blockWith: db.prepare(
      'SELECT * FROM search_blocks WHERE project_id = ? AND last_seq >= ? ORDER BY last_seq LIMIT 1',
    ),
    block: db.prepare('SELECT * FROM search_blocks WHERE block = ?'),
    blocksUpTo: db.prepare('SELECT block FROM search_blocks WHERE last_seq <= ?'),
    blocksAcross: db.prepare('SELECT * FROM search_blocks WHERE last_seq >= ? AND first_seq < ?'),
    deleteChunks: db.prepare('DELETE FROM search_chunks WHERE chunk BETWEEN ? AND ?'),
    deleteBlock: db.prepare('DELETE FROM search_blocks WHERE block = ?'),
  };
}
