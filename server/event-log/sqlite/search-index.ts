import { Block, type Chunk, StoredBlock } from '../search/block.ts';
import type { BlocksOf, FoundBlock } from '../search/candidates.ts';
import type { BlockId, BlockStore, IndexedEvent, OutdatedBlock } from '../search/indexer.ts';
import { TERMS_VERSION } from '../search/terms.ts';
import { transact } from './database.ts';
import type { DatabaseSyncInstance } from './driver.ts';

/**
 * Stores the blocks of the search index in two tables: a row for each block, and a row for each of its chunks. These
 * transactions do not wait for the disk (`NORMAL`): if a power cut loses a block, the indexer builds it from the log again.
 * SQLite's `secure_delete` overwrites deleted chunks, so that no erased word stays in the file.
 */

/** The chunks of a block have the ids `block * CHUNKS_PER_BLOCK + index`. */
const CHUNKS_PER_BLOCK = 65_536;

type BlockRow = {
  block: BlockId;
  project_id: string;
  first_seq: number;
  last_seq: number;
  seqs: string | null;
  firsts: string;
};

export class SqliteBlocks implements BlockStore {
  readonly queriesAtOnce = 1;
  readonly #db: DatabaseSyncInstance;
  readonly #statements: ReturnType<typeof prepareBlocks>;

  constructor(db: DatabaseSyncInstance) {
    this.#db = db;
    this.#statements = prepareBlocks(db);
  }

  position(): number {
    const row = this.#statements.position.get() as { value: string } | undefined;
    return Number(row?.value ?? 0);
  }

  eventsAfter(position: number, limit: number): IndexedEvent[] {
    return this.#statements.eventsAfter.all(position, limit) as IndexedEvent[];
  }

  eventsOf(projectId: string, after: number, upTo: number, limit: number): IndexedEvent[] {
    return this.#statements.eventsOf.all(projectId, after, upTo, limit) as IndexedEvent[];
  }

  event(seq: number): IndexedEvent | undefined {
    return this.#statements.event.get(seq) as IndexedEvent | undefined;
  }

  lastSeqOf(projectId: string): number {
    return (this.#statements.lastOf.get(projectId) as { seq: number | null }).seq ?? 0;
  }

  insert({ projectId, seqs, firstSeq, lastSeq }: Block, chunks: readonly Chunk[], position: number): void {
    transact(this.#db, 'NORMAL', () => {
      const isContiguous = lastSeq - firstSeq + 1 === seqs.length;
      const list = isContiguous ? null : JSON.stringify(seqs);
      const row = this.#statements.insertBlock.run(projectId, firstSeq, lastSeq, list, firstsOf(chunks), TERMS_VERSION);
      this.#insertChunks(Number(row.lastInsertRowid), chunks);
      this.#statements.setPosition.run(String(position));
    });
  }

  before(of: readonly BlocksOf[], { before, limit }: { before: number; limit: number }): FoundBlock[][] {
    const { beforeOfAll, beforeOf } = this.#statements;
    return of.map(({ projectId, lastSeqBelow }) => {
      const rows =
        projectId === undefined
          ? beforeOfAll.all(lastSeqBelow, before, limit)
          : beforeOf.all(projectId, lastSeqBelow, before, limit);
      return (rows as BlockRow[]).map((row) => ({
        lastSeq: row.last_seq,
        open: () => new StoredBlock(seqsOf(row), JSON.parse(row.firsts), (index) => this.#chunk(row.block, index)),
      }));
    });
  }

  rewriteWith(projectId: string, seq: number, change: (block: Block) => void): void {
    const row = this.#statements.blockWith.get(projectId, seq) as BlockRow | undefined;
    if (row && row.first_seq <= seq) this.#rewrite(row, change);
  }

  rewrite(id: BlockId, change: (block: Block) => void): void {
    const row = this.#statements.block.get(id) as BlockRow | undefined;
    if (row) transact(this.#db, 'NORMAL', () => this.#rewrite(row, change));
  }

  outdated(): OutdatedBlock | undefined {
    const row = this.#statements.outdated.get(TERMS_VERSION) as BlockRow | undefined;
    return row && { id: row.block, projectId: row.project_id, firstSeq: row.first_seq, lastSeq: row.last_seq };
  }

  load(id: BlockId): Block | undefined {
    const row = this.#statements.block.get(id) as BlockRow | undefined;
    return row && this.#load(row);
  }

  renew(id: BlockId, block: Block | undefined): void {
    transact(this.#db, 'NORMAL', () => {
      const isStored = this.#statements.setVersion.run(TERMS_VERSION, id).changes > 0;
      if (block && isStored) this.#replace(id, block);
    });
  }

  across(position: number): BlockId[] {
    return (this.#statements.across.all(position, position) as { block: BlockId }[]).map(({ block }) => block);
  }

  deleteUpTo(seq: number): void {
    for (const { block } of this.#statements.upTo.all(seq) as { block: BlockId }[]) {
      this.#statements.deleteChunks.run(...chunkRange(block));
      this.#statements.deleteBlock.run(block);
    }
  }

  #rewrite(row: BlockRow, change: (block: Block) => void): void {
    const block = this.#load(row);
    change(block);
    this.#replace(row.block, block);
  }

  #load(row: BlockRow): Block {
    const chunks = this.#statements.chunks.all(...chunkRange(row.block)) as { lines: string }[];
    return Block.decode(
      row.project_id,
      seqsOf(row),
      chunks.map(({ lines }) => lines),
    );
  }

  #replace(id: BlockId, block: Block): void {
    const chunks = block.encode();
    this.#statements.deleteChunks.run(...chunkRange(id));
    this.#insertChunks(id, chunks);
    this.#statements.setFirsts.run(firstsOf(chunks), id);
  }

  #insertChunks(block: BlockId, chunks: readonly Chunk[]): void {
    for (const [index, { lines }] of chunks.entries()) {
      this.#statements.insertChunk.run(block * CHUNKS_PER_BLOCK + index, lines);
    }
  }

  #chunk(block: BlockId, index: number): string {
    const row = this.#statements.chunk.get(block * CHUNKS_PER_BLOCK + index) as { lines: string } | undefined;
    return row?.lines ?? '\n';
  }
}

const chunkRange = (block: BlockId): [from: number, to: number] => [
  block * CHUNKS_PER_BLOCK,
  (block + 1) * CHUNKS_PER_BLOCK - 1,
];

const firstsOf = (chunks: readonly Chunk[]): string => JSON.stringify(chunks.map(({ first }) => first));

function seqsOf({ seqs, first_seq, last_seq }: BlockRow): number[] {
  if (seqs !== null) return JSON.parse(seqs) as number[];
  return Array.from({ length: last_seq - first_seq + 1 }, (_, index) => first_seq + index);
}

export function prepareBlocks(db: DatabaseSyncInstance) {
  const inOrder = 'ORDER BY last_seq DESC LIMIT ?';
  const event = 'SELECT seq, project_id AS projectId, payload FROM events WHERE';
  return {
    position: db.prepare(`SELECT value FROM meta WHERE key = 'search_position'`),
    setPosition: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('search_position', ?)`),
    eventsAfter: db.prepare(`${event} seq > ? ORDER BY seq LIMIT ?`),
    eventsOf: db.prepare(`${event} project_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`),
    event: db.prepare(`${event} seq = ?`),
    lastOf: db.prepare('SELECT max(last_seq) AS seq FROM search_blocks WHERE project_id = ?'),
    insertBlock: db.prepare(
      'INSERT INTO search_blocks (project_id, first_seq, last_seq, seqs, firsts, terms_version) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    setFirsts: db.prepare('UPDATE search_blocks SET firsts = ? WHERE block = ?'),
    setVersion: db.prepare('UPDATE search_blocks SET terms_version = ? WHERE block = ?'),
    outdated: db.prepare(
      'SELECT * FROM search_blocks WHERE terms_version < ? ORDER BY terms_version DESC, block DESC LIMIT 1',
    ),
    insertChunk: db.prepare('INSERT INTO search_chunks (chunk, lines) VALUES (?, ?)'),
    chunk: db.prepare('SELECT lines FROM search_chunks WHERE chunk = ?'),
    chunks: db.prepare('SELECT lines FROM search_chunks WHERE chunk BETWEEN ? AND ? ORDER BY chunk'),
    beforeOfAll: db.prepare(`SELECT * FROM search_blocks WHERE last_seq < ? AND first_seq < ? ${inOrder}`),
    beforeOf: db.prepare(
      `SELECT * FROM search_blocks WHERE project_id = ? AND last_seq < ? AND first_seq < ? ${inOrder}`,
    ),
    blockWith: db.prepare(
      'SELECT * FROM search_blocks WHERE project_id = ? AND last_seq >= ? ORDER BY last_seq LIMIT 1',
    ),
    block: db.prepare('SELECT * FROM search_blocks WHERE block = ?'),
    upTo: db.prepare('SELECT block FROM search_blocks WHERE last_seq <= ?'),
    across: db.prepare('SELECT block FROM search_blocks WHERE last_seq >= ? AND first_seq < ?'),
    deleteChunks: db.prepare('DELETE FROM search_chunks WHERE chunk BETWEEN ? AND ?'),
    deleteBlock: db.prepare('DELETE FROM search_blocks WHERE block = ?'),
  };
}
