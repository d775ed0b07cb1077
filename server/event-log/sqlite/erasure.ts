import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Erasure } from '../../../shared/audit.ts';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import type { Problem } from '../../health.ts';
import { type RunCache, runKey } from '../commit/run-cache.ts';
import { CommitRows } from '../commit/run-rows.ts';
import type { EraseRequest } from '../contract/integrity.ts';
import { StoredEvent } from '../contract/log.ts';
import { hashPrefixOf } from '../cursor.ts';
import { type ChainedRow, rowHash } from '../integrity/canonical.ts';
import { type ErasableEvent, eventNotFound, formerUsers, planErasure } from '../integrity/erase.ts';
import { causeOf, isBusy, type SqliteDatabase, transact } from './database.ts';
import { sqliteDriver } from './driver.ts';
import { type RowStatements, SqliteRun } from './rows.ts';
import { CHAINED_ROWS } from './schema.ts';

/**
 * Erases the text of events from the tables, then from the files.
 *
 * SQLite overwrites deleted rows (`secure_delete`). But if SQLite has moved a row between pages, a copy may stay in unused
 * space, and the WAL (write-ahead log) contains old versions. So after an erasure, `VACUUM` rebuilds the database file, and
 * a WAL checkpoint empties the WAL. `VACUUM` holds the event loop, so a large file is rebuilt only at the next start: a row
 * in `meta` records that this is due.
 */

/**
 * A larger file is rebuilt after the next start of the server, by a process of its own: the server reads meanwhile, and its
 * writes wait for the lock, or are refused if that takes longer than they may wait.
 */
const MAX_VACUUM_BYTES = 16 * 1024 * 1024;
const REBUILD = `
  const [driver, path] = process.argv.slice(1);
  const { DatabaseSync } = require(driver);
  const db = new DatabaseSync(path, { timeout: 60_000 });
  db.exec('PRAGMA secure_delete = ON; PRAGMA temp_store = FILE; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
`;
/** Delay before the next try to clean the files, if another process was reading the WAL or held the write lock. */
const RETRY_MS = 1_000;
/** Delay after another failure: a try may hold the event loop for the time of a `VACUUM`. */
const FAILED_RETRY_MS = 60_000;

type Parts = {
  database: SqliteDatabase;
  rows: RowStatements;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  /** Receives what keeps erased text in the files; undefined once they are clean, or wait for the next start. */
  report: (problem: Problem | undefined) => void;
  /** Called inside the transaction, to remove the event's words from the search index. */
  onErasing: (seq: number) => void;
  /** The rows of hot runs: those of the event's run are dropped. */
  cache: RunCache;
};

export class SqliteErasure {
  readonly #parts: Parts;
  readonly #statements;
  #retry: NodeJS.Timeout | undefined;
  #rebuilder: ChildProcess | undefined;
  #erasures = 0;
  /** Whether `VACUUM` has rebuilt the file since the last erasure. */
  #isRebuilt = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { db } = parts.database;
    this.#statements = {
      event: db.prepare(
        `SELECT e.seq, e.run_seq AS runSeq, e.project_id AS projectId, r.run_id AS runId, e.type, e.payload, e.salt,
           e.payload_hash AS payloadHash FROM events e JOIN runs r ON r.row_id = e.run_row WHERE e.seq = ?`,
      ),
      row: db.prepare(`${CHAINED_ROWS} WHERE seq = ?`),
      erasure: db.prepare('SELECT erasure FROM erasures WHERE seq = ?'),
      insertErasure: db.prepare('INSERT INTO erasures (seq, erasure) VALUES (?, ?)'),
      replace: db.prepare(`UPDATE events SET payload = ?, salt = x'' WHERE seq = ?`),
      users: db.prepare('SELECT user_id AS user FROM event_users WHERE seq = ? ORDER BY user_id'),
      deleteUser: db.prepare('DELETE FROM event_users WHERE user_id = ? AND seq = ?'),
      setDue: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('cleaning', 'due')`),
      isDue: db.prepare(`SELECT 1 FROM meta WHERE key = 'cleaning'`),
      clearDue: db.prepare(`DELETE FROM meta WHERE key = 'cleaning'`),
    };
  }

  /**
   * Erases an event in one transaction. Returns its tombstone as `record`, or no `record` if the event was erased before.
   * Throws `EVENT_NOT_FOUND`.
   */
  erase(request: EraseRequest): { erasure: Erasure; record?: StoredEvent } {
    const { database, rows, fold, now, onErasing, cache } = this.#parts;
    const { epoch, keys } = database;
    const { seq } = request;
    const found = this.#statements.event.get(seq) as ErasableEvent | undefined;
    if (!found || !request.mayErase(found.projectId)) throw eventNotFound();
    const before = this.#statements.erasure.get(seq) as { erasure: string } | undefined;
    if (before) return { erasure: JSON.parse(before.erasure) as Erasure };

    const { projectId, runId, runSeq, type } = found;
    const { original, event, json, erasure } = planErasure(found, request, { epoch, keys, nowMs: now() });
    this.#isRebuilt = false;
    this.#erasures++;
    cache.delete(runKey(projectId, runId));
    transact(database.db, 'FULL', () => {
      this.#statements.replace.run(json, seq);
      this.#statements.insertErasure.run(seq, JSON.stringify(erasure));
      const ofRun = new CommitRows(SqliteRun.find(rows, projectId, runId));
      fold(ofRun, event as never);
      const changes = ofRun.changes();
      if (changes) for (const _ of ofRun.tables.write(changes));
      for (const user of formerUsers(original, ofRun.header()?.createdBy)) this.#statements.deleteUser.run(user, seq);
      onErasing(seq);
      this.#statements.setDue.run();
    });
    const users = (this.#statements.users.all(seq) as { user: string }[]).map(({ user }) => user);
    const hashPrefix = hashPrefixOf(rowHash(this.#statements.row.get(seq) as ChainedRow));
    return { erasure, record: new StoredEvent({ seq, runSeq, projectId, runId, type, json, hashPrefix, users }) };
  }

  /**
   * Removes erased text from the files, if this is due. `isStart`: a large file is rebuilt too.
   */
  clean(isStart = false): void {
    const { database, report } = this.#parts;
    const { db, path } = database;
    if (path === ':memory:') return;
    try {
      if (!this.#statements.isDue.get()) return;
      const isLarge = statSync(path).size > MAX_VACUUM_BYTES;
      if (isLarge && isStart) {
        this.#rebuildBeside();
        return;
      }
      if (!isLarge && !this.#isRebuilt) {
        // VACUUM writes a temporary copy of the database. The copy goes into a file, because a large one does not fit into
        // memory.
        db.exec('PRAGMA temp_store = FILE');
        try {
          db.exec('VACUUM');
        } finally {
          db.exec('PRAGMA temp_store = MEMORY');
        }
        this.#isRebuilt = true;
      }
      const problem = database.emptyWal();
      if (problem !== undefined) throw problem;
      if (this.#isRebuilt) this.#statements.clearDue.run();
      report(undefined);
    } catch (error) {
      this.#cleanLater(error);
    }
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#rebuilder?.kill('SIGKILL'); // SQLite discards the unfinished transaction.
  }

  #rebuildBeside(): void {
    const { database } = this.#parts;
    const driver = sqliteDriver();
    const rebuilder = spawn(process.execPath, ['--eval', REBUILD, driver, database.path], { stdio: 'ignore' });
    this.#rebuilder = rebuilder;
    const erasures = this.#erasures;
    rebuilder.once('error', (error) => this.#report(error));
    rebuilder.once('exit', (code) => {
      this.#rebuilder = undefined;
      if (database.isClosed) return;
      if (code !== 0) return this.#report(NOT_REBUILT);
      this.#isRebuilt = erasures === this.#erasures; // An erasure meanwhile needs another rebuild.
      this.#cleanAgain();
    });
    rebuilder.unref();
  }

  #report(error: unknown): void {
    const cause = error instanceof RunwireError ? error.message : causeOf(error);
    const message = `erased text is still in the files of the database: ${cause}`;
    this.#parts.report({ message, path: this.#parts.database.path, err: error, isWarning: true });
  }

  #cleanLater(error: unknown): void {
    this.#report(error);
    const delayMs = error instanceof RunwireError || isBusy(error) ? RETRY_MS : FAILED_RETRY_MS;
    this.#retry ??= setTimeout(() => this.#cleanAgain(), delayMs).unref();
  }

  #cleanAgain(): void {
    this.#retry = undefined;
    // In a slice, because a commit may have a transaction open.
    const { database } = this.#parts;
    database.slice(() => this.clean()).catch((error) => database.isClosed || this.#cleanLater(error));
  }
}

const NOT_REBUILT = new RunwireError('UNAVAILABLE', 'it cannot be rebuilt, and the next start tries it again');
