import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import type { Trimming } from '../integrity/attestation.ts';
import { type ChainedRow, GENESIS, rowHash } from '../integrity/canonical.ts';
import type { ChainSource, Link, StoredRow } from '../integrity/chain.ts';
import type { ChainHead } from './commit-group.ts';
import { CHAINED_ROWS, safeInteger } from './schema.ts';

/** Reads what there is to verify. Nothing is taken for granted: somebody else may have written here. */
export class SqliteChain implements ChainSource {
  readonly epoch: string;
  readonly #db: DatabaseSyncInstance;
  readonly #statements;

  constructor(db: DatabaseSyncInstance, epoch: string) {
    this.epoch = epoch;
    this.#db = db;
    this.#statements = {
      head: db.prepare(`SELECT ${safeInteger('seq')} AS seq, hash FROM log_head`),
      trimming: db.prepare(`SELECT value FROM meta WHERE key = 'trimming'`),
      first: db.prepare('SELECT CAST(min(seq) AS REAL) AS seq FROM events'),
      last: db.prepare('SELECT CAST(max(seq) AS REAL) AS seq FROM events'),
      rows: db.prepare(
        `SELECT e.seq, e.project_id AS projectId, r.run_id AS runId, ${safeInteger('e.run_seq')} AS runSeq, e.type,
           e.event_id AS eventId, e.actor, ${safeInteger('e.recorded_at_ms')} AS recordedAtMs, e.payload, e.salt,
           e.payload_hash AS payloadHash, e.prev_hash AS prevHash, x.erasure, c.checkpoint
         FROM events e LEFT JOIN runs r ON r.row_id = e.run_row AND r.project_id = e.project_id
           LEFT JOIN erasures x ON x.seq = e.seq LEFT JOIN checkpoints c ON c.seq = e.seq
         WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?`,
      ),
      prevHash: db.prepare('SELECT prev_hash AS hash FROM events WHERE seq = ?'),
      builtOn: db.prepare('SELECT min(seq) AS seq FROM events WHERE prev_hash = ? AND seq BETWEEN ? AND ?'),
      saidAfter: db.prepare(
        'SELECT 1 AS seq WHERE EXISTS (SELECT 1 FROM erasures WHERE seq > ?1) OR EXISTS (SELECT 1 FROM checkpoints WHERE seq > ?1)',
      ),
    };
  }

  atOnce<T>(work: () => T): T {
    this.#db.exec('BEGIN');
    try {
      return work();
    } finally {
      this.#db.exec('COMMIT');
    }
  }

  head(): Link | undefined {
    const row = this.#statements.head.get() as { seq: number | null; hash: unknown } | undefined;
    if (!row || row.seq === null || !(row.hash instanceof Uint8Array)) return undefined;
    return { seq: row.seq, hash: row.hash };
  }

  trimming(): Trimming | undefined {
    const row = this.#statements.trimming.get() as { value: string } | undefined;
    try {
      return row && (JSON.parse(row.value) as Trimming);
    } catch {
      return {} as Trimming; // Signed by nobody.
    }
  }

  extent(): { first: number; last: number } | undefined {
    const first = this.#statements.first.get() as { seq: number | null };
    const last = this.#statements.last.get() as { seq: number | null };
    return first.seq === null || last.seq === null ? undefined : { first: first.seq, last: last.seq };
  }

  rows(after: number, upTo: number, count: number): StoredRow[] {
    const rows = this.#statements.rows.all(after, upTo, count) as (StoredRow &
      Record<'erasure' | 'checkpoint', unknown>)[];
    return rows.map(({ erasure, checkpoint, ...row }) => ({
      ...row,
      ...(erasure === null ? {} : { erasure: String(erasure) }),
      ...(checkpoint === null ? {} : { checkpoint: String(checkpoint) }),
    }));
  }

  prevHash(seq: number): Uint8Array | undefined {
    const row = this.#statements.prevHash.get(seq) as { hash: unknown } | undefined;
    return row?.hash instanceof Uint8Array ? row.hash : undefined;
  }

  firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): number | undefined {
    return (this.#statements.builtOn.get(hash, from, upTo) as { seq: number | null }).seq ?? undefined;
  }

  hasSignedAfter(seq: number): boolean {
    return this.#statements.saidAfter.get(seq) !== undefined;
  }
}

/**
 * What the next row builds on: the end that the last commit has told of. Where the last row is not that one, it was altered
 * or is gone. The log goes on all the same, since events that cannot be published are lost too, but never from what it
 * found: the next row names the hash that was there, at a position that was never used, so that the break can be seen
 * for as long as the rows are kept.
 */
export function readHead(
  db: DatabaseSyncInstance,
  told: Link | undefined,
  now: number,
): { tip: ChainHead; damage?: { seq: number } } {
  const last = db.prepare(`${CHAINED_ROWS} WHERE seq < ${Number.MAX_SAFE_INTEGER} ORDER BY seq DESC LIMIT 1`).get() as
    | ChainedRow
    | undefined;
  const found = { seq: last?.seq ?? 0, hash: last ? rowHash(last) : GENESIS };
  const recordedAtMs = last?.recordedAtMs ?? 0;
  if (told?.seq === found.seq && found.hash.equals(told.hash)) return { tip: { ...found, recordedAtMs } };
  const seq = Math.max(found.seq, told?.seq ?? 0);
  const hash = Buffer.from(told?.hash ?? GENESIS);
  return { tip: { seq, hash, recordedAtMs: Math.min(recordedAtMs, now) }, damage: { seq } };
}
