import type { ProducerState } from '../contract/producer-state.ts';
import { transact } from './database.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

const PAGE_ROWS = 1_000;

type Slice = <T>(work: () => T) => Promise<T>;

export class SqliteProducerState implements ProducerState {
  readonly #db: DatabaseSyncInstance;
  readonly #slice: Slice;
  readonly #write: Slice;
  readonly #get: StatementSyncInstance;
  readonly #put: StatementSyncInstance;
  readonly #trim: StatementSyncInstance;

  constructor(db: DatabaseSyncInstance, { slice, write }: { slice: Slice; write: Slice }) {
    this.#db = db;
    this.#slice = slice;
    this.#write = write;
    this.#get = db.prepare('SELECT value FROM producer_state WHERE scope = ? AND key = ?');
    this.#put = db.prepare(
      'INSERT OR REPLACE INTO producer_state (scope, key, value, written_at_ms) VALUES (?, ?, ?, ?)',
    );
    this.#trim = db.prepare(
      `DELETE FROM producer_state WHERE (scope, key) IN
       (SELECT scope, key FROM producer_state WHERE written_at_ms < ? LIMIT ${PAGE_ROWS})`,
    );
  }

  async read(scope: string, keys: readonly string[]): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    for (let at = 0; at < keys.length; at += PAGE_ROWS) {
      await this.#slice(() => {
        for (const key of keys.slice(at, at + PAGE_ROWS)) {
          const row = this.#get.get(scope, key) as { value: string } | undefined;
          if (row) values.set(key, row.value);
        }
      });
    }
    return values;
  }

  async write(scope: string, entries: ReadonlyMap<string, string>): Promise<void> {
    if (entries.size === 0) return;
    await this.#write(() =>
      transact(this.#db, 'FULL', () => {
        const now = Date.now();
        for (const [key, value] of entries) this.#put.run(scope, key, value, now);
      }),
    );
  }

  /** Deletes the entries that were last written before an instant (Unix ms), in slices. */
  async trim(beforeMs: number): Promise<void> {
    for (let removed = PAGE_ROWS; removed === PAGE_ROWS; ) {
      removed = await this.#write(() => Number(this.#trim.run(beforeMs).changes));
    }
  }
}
