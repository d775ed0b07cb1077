import type { SessionStore, StoredSession } from '../contract/sessions.ts';
import { transact } from './database.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

/** Rows in one slice. */
const PAGE_ROWS = 1_000;

type Slice = <T>(work: () => T) => Promise<T>;

export class SqliteSessions implements SessionStore {
  readonly #db: DatabaseSyncInstance;
  readonly #slice: Slice;
  readonly #write: Slice;
  readonly #list: StatementSyncInstance;
  readonly #get: StatementSyncInstance;
  readonly #put: StatementSyncInstance;
  readonly #remove: StatementSyncInstance;

  constructor(db: DatabaseSyncInstance, { slice, write }: { slice: Slice; write: Slice }) {
    this.#db = db;
    this.#slice = slice;
    this.#write = write;
    this.#list = db.prepare('SELECT id, sealed, ends_at_ms AS endsAtMs FROM sessions WHERE id > ? ORDER BY id LIMIT ?');
    this.#get = db.prepare('SELECT id, sealed, ends_at_ms AS endsAtMs FROM sessions WHERE id = ?');
    this.#put = db.prepare('INSERT OR REPLACE INTO sessions (id, sealed, ends_at_ms) VALUES (?, ?, ?)');
    this.#remove = db.prepare('DELETE FROM sessions WHERE id = ?');
  }

  async all(): Promise<StoredSession[]> {
    const sessions: StoredSession[] = [];
    for (;;) {
      const after = sessions.at(-1)?.id ?? '';
      const page = await this.#slice(() => this.#list.all(after, PAGE_ROWS) as StoredSession[]);
      sessions.push(...page);
      if (page.length < PAGE_ROWS) return sessions;
    }
  }

  get(id: string): Promise<StoredSession | undefined> {
    return this.#slice(() => this.#get.get(id) as StoredSession | undefined);
  }

  async put({ id, sealed, endsAtMs }: StoredSession): Promise<void> {
    await this.#write(() => transact(this.#db, 'FULL', () => this.#put.run(id, sealed, endsAtMs)));
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += PAGE_ROWS) {
      const page = ids.slice(at, at + PAGE_ROWS);
      await this.#write(() =>
        transact(this.#db, 'FULL', () => {
          for (const id of page) this.#remove.run(id);
        }),
      );
    }
  }

  /** No other node has the file open. */
  onChange(): () => void {
    return () => undefined;
  }
}
