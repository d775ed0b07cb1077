import { statSync } from 'node:fs';
import { RunwireError } from '../../../shared/errors.ts';
import type { RunRows } from '../../../shared/run.ts';
import type { EraseRequest, Erasure } from '../contract/integrity.ts';
import { StoredEvent } from '../contract/log.ts';
import { attest } from '../integrity/attestation.ts';
import { canonicalJson } from '../integrity/canonical.ts';
import { isAsLogged, tombstoneHash } from '../integrity/chain.ts';
import { type SqliteDatabase, transact } from './database.ts';
import { type RowStatements, SqliteRows } from './rows.ts';

/**
 * Erases events for good. The tombstone is folded again in its event's place: the registers that the event had won it wins
 * again, so its text leaves the rows of its run, and the rest of them stays as it is.
 *
 * SQLite overwrites what it deletes (`secure_delete`), but where it has moved a row from page to page, the old copy may
 * stay in a gap; and the WAL has what it ever had. So after an erasure the WAL is emptied and the file made anew. That
 * holds the loop: of a large file it is left for the next start, which finds it on record that it is due.
 */

/** Files up to this are made anew at once. */
const AT_ONCE_BYTES = 16 * 1024 * 1024;
/** Somebody else may be reading, and is waited for. */
const RETRY_MS = 1_000;

type Parts = {
  database: SqliteDatabase;
  rows: RowStatements;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  onFailure: (error: unknown) => void;
  /** Inside the transaction: whatever else in the file is made of the text follows. */
  onErasing: (seq: number) => void;
};

export class SqliteErasure {
  readonly #parts: Parts;
  readonly #statements;
  #retry: NodeJS.Timeout | undefined;
  /** Whether the file has been made anew since the last erasure. */
  #isAnew = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { db } = parts.database;
    this.#statements = {
      event: db.prepare(
        `SELECT e.seq, e.run_seq AS runSeq, e.project_id AS projectId, r.run_id AS runId, e.type, e.payload, e.salt,
           e.payload_hash AS payloadHash FROM events e JOIN runs r ON r.row_id = e.run_row WHERE e.seq = ?`,
      ),
      erasure: db.prepare('SELECT erasure FROM erasures WHERE seq = ?'),
      keep: db.prepare('INSERT INTO erasures (seq, erasure) VALUES (?, ?)'),
      replace: db.prepare(`UPDATE events SET payload = ?, salt = x'' WHERE seq = ?`),
      users: db.prepare('SELECT user_id AS user FROM event_users WHERE seq = ? ORDER BY user_id'),
      forgetUser: db.prepare('DELETE FROM event_users WHERE user_id = ? AND seq = ?'),
      due: db.prepare(`INSERT OR REPLACE INTO meta (key, value) VALUES ('cleaning', 'due')`),
      isDue: db.prepare(`SELECT 1 FROM meta WHERE key = 'cleaning'`),
      done: db.prepare(`DELETE FROM meta WHERE key = 'cleaning'`),
    };
  }

  /** Erases in one transaction. Without a record, it was erased before. Throws `EVENT_NOT_FOUND`. */
  erase({ seq, by, reason, mayErase, tombstone }: EraseRequest): { erasure: Erasure; record?: StoredEvent } {
    const { database, rows, fold, now, onErasing } = this.#parts;
    const { db, epoch, keys } = database;
    const found = this.#statements.event.get(seq) as
      | (Omit<StoredEvent, 'json' | 'event' | 'users'> & { payload: string; salt: Uint8Array; payloadHash: Uint8Array })
      | undefined;
    if (!found || !mayErase(found.projectId))
      throw new RunwireError('EVENT_NOT_FOUND', 'no such event', { path: 'seq' });
    const before = this.#statements.erasure.get(seq) as { erasure: string } | undefined;
    if (before) return { erasure: JSON.parse(before.erasure) as Erasure };

    const { projectId, runId, runSeq, type, payload, payloadHash } = found;
    const original = eventOf(payload);
    const event = tombstone(original);
    const json = canonicalJson(event);
    const erasure = attest(keys, 'erasure', {
      epoch,
      seq,
      projectId,
      runId,
      payloadHash: Buffer.from(payloadHash).toString('hex'),
      tombstoneHash: tombstoneHash(json),
      at: new Date(now()).toISOString(),
      by,
      reason,
      ...(isAsLogged(found) ? {} : { altered: true as const }),
    });
    this.#isAnew = false;
    transact(db, 'FULL', () => {
      this.#statements.replace.run(json, seq);
      this.#statements.keep.run(seq, JSON.stringify(erasure));
      const ofRun = new SqliteRows(rows, projectId, runId);
      fold(ofRun, event as never);
      ofRun.write();
      const creator = ofRun.header()?.createdBy;
      for (const user of original.audience ?? []) {
        if (user !== creator && !original.approvers?.includes(user)) this.#statements.forgetUser.run(user, seq);
      }
      onErasing(seq);
      this.#statements.due.run();
    });
    const users = (this.#statements.users.all(seq) as { user: string }[]).map(({ user }) => user);
    return { erasure, record: new StoredEvent({ seq, runSeq, projectId, runId, type, json, users }) };
  }

  /** Rids the files of what has been erased. `isStart`: nobody waits, however long it takes. */
  clean(isStart = false): void {
    const { database, onFailure } = this.#parts;
    const { db, path } = database;
    if (path === ':memory:' || !this.#statements.isDue.get()) return;
    try {
      if (!this.#isAnew && (isStart || statSync(path).size <= AT_ONCE_BYTES)) {
        // What it makes of a large file does not belong into memory.
        db.exec('PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY');
        this.#isAnew = true;
      }
      if (!this.emptyWal()) this.#retry ??= setTimeout(() => this.#again(), RETRY_MS).unref();
      else if (this.#isAnew) this.#statements.done.run();
    } catch (error) {
      onFailure(error);
    }
  }

  close(): void {
    clearTimeout(this.#retry);
  }

  /** Moves the WAL into the file, and its length to 0. False while somebody else reads. */
  emptyWal(): boolean {
    const { db } = this.#parts.database;
    db.exec('PRAGMA busy_timeout = 0');
    try {
      return (db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number }).busy === 0;
    } catch {
      return false;
    } finally {
      db.exec('PRAGMA busy_timeout = 5000');
    }
  }

  #again(): void {
    this.#retry = undefined;
    this.clean();
  }
}

/** What a parser says quotes what it was given, which is what is to be erased. */
function eventOf(payload: string): { audience?: string[]; approvers?: string[] } {
  try {
    return JSON.parse(payload);
  } catch {
    throw new RunwireError('INTERNAL', 'the event cannot be read: `runwire verify` tells more', { path: 'seq' });
  }
}
