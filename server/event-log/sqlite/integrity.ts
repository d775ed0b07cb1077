import type { Checkpoint, ClockRepair, Erasure, Verdict } from '../../../shared/audit.ts';
import type { ChainHead } from '../commit/commit-fold.ts';
import type { EraseRequest, ErasuresQuery, Integrity, VerifyOptions } from '../contract/integrity.ts';
import type { StoredEvent } from '../contract/log.ts';
import { attest, checkpointAt, isAttested, renewalOf, type Trimming } from '../integrity/attestation.ts';
import { type ChainedRow, GENESIS, rowHash } from '../integrity/canonical.ts';
import { type ChainSource, type Link, type StoredRow, verifyChain, verifyInSlices } from '../integrity/chain.ts';
import { ClockRepairs } from '../integrity/clock.ts';
import { Listeners } from '../listeners.ts';
import { isDamage, type SqliteDatabase, storeEpoch, transact } from './database.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';
import type { SqliteErasure } from './erasure.ts';
import { CHAINED_ROWS, safeInteger } from './schema.ts';

/** Where the log begins and ends. `SqliteLog` updates this object at each commit and each trim. */
export type LogState = {
  /** Position and hash that the next row continues from. */
  head: ChainHead;
  /**
   * The copy of `head` that each commit writes into a table of its own. It differs from `head` only if the file was damaged
   * when it was opened, and until the next event is logged.
   */
  storedHead: Link | undefined;
  oldest: number;
  /** Number of erasures since the log was opened. */
  erasures: number;
  repairs: ClockRepairs;
};

export type SqliteIntegrityParts = {
  database: SqliteDatabase;
  state: LogState;
  erasure: SqliteErasure;
  now: () => number;
  /** Sets the times of access entries that are after an instant to this instant. */
  capAccessTimes: (ms: number) => Promise<void>;
  /** Called when the tombstone of an event has been committed. */
  onErased: (seq: number) => void;
  /** Called when the log has a new epoch. */
  onEpoch: () => void;
  onFailure: (error: unknown, message?: string) => void;
};

export class SqliteIntegrity implements Integrity {
  readonly publicKey: string;
  readonly #parts: SqliteIntegrityParts;
  readonly #chain: SqliteChain;
  readonly #lastCheckpoint: StatementSyncInstance;
  readonly #insertCheckpoint: StatementSyncInstance;
  readonly #insertRepair: StatementSyncInstance;
  readonly #erasures: StatementSyncInstance;
  readonly #erasureCount: StatementSyncInstance;
  readonly #erased: Listeners<[record: StoredEvent]>;
  readonly onErased: Integrity['onErased'];

  constructor(parts: SqliteIntegrityParts) {
    const { db, epoch, keys } = parts.database;
    this.publicKey = keys.publicKey;
    this.#parts = parts;
    this.#erased = new Listeners((error) => parts.onFailure(error, 'a listener of erasures failed'));
    this.onErased = this.#erased.add;
    this.#chain = new SqliteChain(db, epoch);
    this.#lastCheckpoint = db.prepare(
      'SELECT checkpoint FROM checkpoints WHERE seq = (SELECT max(seq) FROM checkpoints)',
    );
    this.#insertCheckpoint = db.prepare('INSERT OR REPLACE INTO checkpoints (seq, checkpoint) VALUES (?, ?)');
    this.#erasures = db.prepare('SELECT seq, erasure FROM erasures WHERE seq > ? ORDER BY seq LIMIT ?');
    this.#erasureCount = db.prepare('SELECT count(*) AS count FROM erasures');
    this.#insertRepair = db.prepare('INSERT OR REPLACE INTO clock_repairs (seq, at_ms, repair) VALUES (?, ?, ?)');
  }

  verify({ checkpoints, signal }: VerifyOptions = {}): Promise<Verdict> {
    const { database, state } = this.#parts;
    const verifying = verifyChain({ head: state.storedHead, keys: database.keys, checkpoints });
    return verifyInSlices(verifying, this.#chain, database.slice, signal);
  }

  erasuresOf({
    projectId,
    runId,
    after,
    limit,
    ...caller
  }: ErasuresQuery): Promise<{ erasures: Erasure[]; next?: number }> {
    return this.#parts.database.slice(() => {
      const rows = this.#erasures.all(after, limit) as { seq: number; erasure: string }[];
      const all = rows.map((row) => JSON.parse(row.erasure) as Erasure);
      const erasures = all.filter((erasure) => erasure.projectId === projectId && erasure.runId === runId);
      const last = rows.at(-1)?.seq;
      return rows.length < limit || last === undefined ? { erasures } : { erasures, next: last };
    }, caller);
  }

  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }> {
    const { database, state, now } = this.#parts;
    return database.write(() => {
      const { historyEpoch: epoch, keys } = database;
      const taken = checkpointAt(this.#last(), state.head, { epoch, oldest: state.oldest, keys, nowMs: now() });
      if (taken.isNew) this.#insertCheckpoint.run(state.head.seq, JSON.stringify(taken.checkpoint));
      return taken;
    });
  }

  signed(): Promise<{ checkpoint: Checkpoint | undefined; erasures: number }> {
    return this.#parts.database.slice(() => {
      const { count } = this.#erasureCount.get() as { count: number };
      return { checkpoint: this.#last(), erasures: count };
    });
  }

  #last(): Checkpoint | undefined {
    const row = this.#lastCheckpoint.get() as { checkpoint: string } | undefined;
    return row && (JSON.parse(row.checkpoint) as Checkpoint);
  }

  compare(checkpoint: Checkpoint): Promise<'held' | 'lost' | 'foreign'> {
    const { database, state } = this.#parts;
    return database.slice(() => {
      const { epoch, seq, hash } = checkpoint;
      if (epoch !== database.historyEpoch || !isAttested(database.keys, 'checkpoint', checkpoint)) return 'foreign';
      if (seq < state.oldest - 1) return 'held';
      const known = seq === state.head.seq ? state.head.hash : this.#chain.prevHash(seq + 1);
      return known !== undefined && Buffer.from(known).toString('hex') === hash ? 'held' : 'lost';
    });
  }

  renewEpoch(reason: string): Promise<string> {
    const { database, state, now, onEpoch } = this.#parts;
    return database.write(() => {
      const { db, keys, historyEpoch } = database;
      const renewal = renewalOf(historyEpoch, state.head.seq, reason, { keys, nowMs: now() });
      transact(db, 'FULL', () => storeEpoch(db, renewal));
      database.historyEpoch = renewal.epoch;
      onEpoch();
      return renewal.epoch;
    });
  }

  erase(request: EraseRequest): Promise<Erasure> {
    const { database, erasure: files, onErased } = this.#parts;
    return database.write(() => {
      const { erasure, record } = files.erase(request);
      if (record) {
        onErased(record.seq);
        this.#erased.call(record);
      }
      files.clean();
      return erasure;
    });
  }

  async repairClock({ by }: { by: string }): Promise<ClockRepair | undefined> {
    const { database, state, now, capAccessTimes } = this.#parts;
    const { db, epoch, keys, write } = database;
    let atMs = 0;
    const repair = await write(() => {
      atMs = now();
      const { head } = state;
      if (head.recordedAtMs <= atMs) return undefined;
      const [from, at] = [new Date(head.recordedAtMs).toISOString(), new Date(atMs).toISOString()];
      const repair = attest(keys, 'clock', { epoch, seq: head.seq, from, at, by });
      transact(db, 'FULL', () => this.#insertRepair.run(head.seq, atMs, JSON.stringify(repair)));
      state.head = { ...head, recordedAtMs: atMs, recordedAt: undefined };
      state.repairs.add({ seq: head.seq, atMs });
      return repair;
    });
    await capAccessTimes(atMs);
    return repair;
  }
}

/** Reads the rows for verification. Another program may have written to the file, so a column may have any value. */
export class SqliteChain implements ChainSource {
  readonly epoch: string;
  readonly rowsAtOnce = 16;
  readonly #db: DatabaseSyncInstance;
  readonly #statements;

  constructor(db: DatabaseSyncInstance, epoch: string) {
    this.epoch = epoch;
    this.#db = db;
    this.#statements = {
      head: db.prepare(STORED_HEAD),
      trimming: db.prepare(`SELECT value FROM meta WHERE key = 'trimming'`),
      first: db.prepare('SELECT CAST(min(seq) AS REAL) AS seq FROM events'),
      last: db.prepare('SELECT CAST(max(seq) AS REAL) AS seq FROM events'),
      rows: db.prepare(
        `SELECT e.seq, e.project_id AS projectId, r.run_id AS runId, ${safeInteger('e.run_seq')} AS runSeq, e.type,
           e.event_id AS eventId, e.actor, ${safeInteger('e.recorded_at_ms')} AS recordedAtMs, e.payload, e.salt,
           e.payload_hash AS payloadHash, e.prev_hash AS prevHash, x.erasure, c.checkpoint, k.repair
         FROM events e LEFT JOIN runs r ON r.row_id = e.run_row AND r.project_id = e.project_id
           LEFT JOIN erasures x ON x.seq = e.seq LEFT JOIN checkpoints c ON c.seq = e.seq
           LEFT JOIN clock_repairs k ON k.seq = e.seq
         WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?`,
      ),
      prevHash: db.prepare('SELECT prev_hash AS hash FROM events WHERE seq = ?'),
      firstWithPrevHash: db.prepare('SELECT min(seq) AS seq FROM events WHERE prev_hash = ? AND seq BETWEEN ? AND ?'),
      signedAfter: db.prepare(
        'SELECT 1 AS seq WHERE EXISTS (SELECT 1 FROM erasures WHERE seq > ?1) OR EXISTS (SELECT 1 FROM checkpoints WHERE seq > ?1)',
      ),
    };
  }

  atOnce<T>(work: () => T): T {
    this.#db.exec('BEGIN');
    try {
      return work();
    } finally {
      this.#db.exec('ROLLBACK'); // Nothing was written. COMMIT fails after a damaged page.
    }
  }

  head(): Link | undefined {
    return linkOf(this.#statements.head);
  }

  trimming(): Trimming | undefined {
    const row = this.#statements.trimming.get() as { value: string } | undefined;
    try {
      return row && (JSON.parse(row.value) as Trimming);
    } catch {
      return {} as Trimming; // Verification refuses a record without a valid signature.
    }
  }

  extent(): { first: number; last: number } | undefined {
    const first = this.#statements.first.get() as { seq: number | null };
    const last = this.#statements.last.get() as { seq: number | null };
    return first.seq === null || last.seq === null ? undefined : { first: first.seq, last: last.seq };
  }

  rows(after: number, upTo: number, count: number): StoredRow[] {
    const rows = this.#statements.rows.all(after, upTo, count) as (StoredRow &
      Record<'erasure' | 'checkpoint' | 'repair', unknown>)[];
    return rows.map(({ erasure, checkpoint, repair, ...row }) => ({
      ...row,
      ...(erasure === null ? {} : { erasure: String(erasure) }),
      ...(checkpoint === null ? {} : { checkpoint: String(checkpoint) }),
      ...(repair === null ? {} : { repair: String(repair) }),
    }));
  }

  isDamage(error: unknown): boolean {
    return isDamage(error);
  }

  prevHash(seq: number): Uint8Array | undefined {
    const row = this.#statements.prevHash.get(seq) as { hash: unknown } | undefined;
    return row?.hash instanceof Uint8Array ? row.hash : undefined;
  }

  firstWithPrevHash(hash: Uint8Array, from: number, upTo: number): number | undefined {
    return (this.#statements.firstWithPrevHash.get(hash, from, upTo) as { seq: number | null }).seq ?? undefined;
  }

  hasSignedAfter(seq: number): boolean {
    return this.#statements.signedAfter.get(seq) !== undefined;
  }
}

const STORED_HEAD = `SELECT ${safeInteger('seq')} AS seq, hash FROM log_head`;

function linkOf(statement: StatementSyncInstance): Link | undefined {
  const row = statement.get() as { seq: number | null; hash: unknown } | undefined;
  if (!row || row.seq === null || !(row.hash instanceof Uint8Array)) return undefined;
  return { seq: row.seq, hash: row.hash };
}

/**
 * Reads where the log begins and ends. If the last row is not the stored head, rows were altered or deleted (`damage`). The
 * log still accepts new events: if it refused them, they would be lost too. But the next row does not continue from an
 * altered row. It stores the hash of the stored head, at a position that was never used, so `verify` finds the damage as
 * long as the rows are kept.
 */
export function readState(db: DatabaseSyncInstance, now: number): { state: LogState; damage?: { seq: number } } {
  const storedHead = linkOf(db.prepare(STORED_HEAD));
  const last = db.prepare(`${CHAINED_ROWS} WHERE seq < ${Number.MAX_SAFE_INTEGER} ORDER BY seq DESC LIMIT 1`).get() as
    | ChainedRow
    | undefined;
  const found = { seq: last?.seq ?? 0, hash: last ? rowHash(last) : GENESIS };
  const repairs = new ClockRepairs(
    db.prepare('SELECT seq, at_ms AS atMs FROM clock_repairs').all() as { seq: number; atMs: number }[],
  );
  const recordedAtMs = last ? repairs.timeOf(last.seq, last.recordedAtMs) : 0;
  const first = db.prepare('SELECT min(seq) AS seq FROM events').get() as { seq: number | null };
  const stateOf = (head: ChainHead): LogState => ({
    head,
    storedHead,
    oldest: first.seq ?? head.seq + 1,
    erasures: 0,
    repairs,
  });
  if (storedHead?.seq === found.seq && found.hash.equals(storedHead.hash)) {
    return { state: stateOf({ ...found, recordedAtMs }) };
  }
  const seq = Math.max(found.seq, storedHead?.seq ?? 0);
  const hash = Buffer.from(storedHead?.hash ?? GENESIS);
  return { state: stateOf({ seq, hash, recordedAtMs: Math.min(recordedAtMs, now) }), damage: { seq } };
}
