import { isStorable } from '../../../shared/issues.ts';
import type { ProducerState } from '../contract/producer-state.ts';
import type { PostgresDatabase } from './database.ts';

const PAGE_ROWS = 1_000;

const NOW_MS = 'floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint';
const STATEMENTS = {
  get: 'SELECT key, value FROM producer_state WHERE scope = $1 AND key = ANY ($2)',
  put: `INSERT INTO producer_state (scope, key, value, written_at_ms)
    SELECT $1, key, value, ${NOW_MS} FROM unnest($2::text[], $3::text[]) AS e (key, value)
    ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value, written_at_ms = excluded.written_at_ms`,
  trim: `DELETE FROM producer_state WHERE (scope, key) IN
    (SELECT scope, key FROM producer_state WHERE written_at_ms < $1 ORDER BY written_at_ms LIMIT ${PAGE_ROWS}) RETURNING 1`,
};

export class PostgresProducerState implements ProducerState {
  readonly #database: Pick<PostgresDatabase, 'read' | 'write'>;

  constructor(database: Pick<PostgresDatabase, 'read' | 'write'>) {
    this.#database = database;
  }

  async read(scope: string, keys: readonly string[]): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    const wanted = isStorable(scope) ? keys.filter(isStorable) : [];
    for (let at = 0; at < wanted.length; at += PAGE_ROWS) {
      const statement = { text: STATEMENTS.get, values: [scope, wanted.slice(at, at + PAGE_ROWS)] };
      for (const { key, value } of await this.#database.read<{ key: string; value: string }>(statement)) {
        values.set(key, value);
      }
    }
    return values;
  }

  async write(scope: string, entries: ReadonlyMap<string, string>): Promise<void> {
    if (entries.size === 0) return;
    // Sorted: transactions that lock the same rows in different orders would deadlock.
    const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
    await this.#database.write(async (query) => {
      for (let at = 0; at < sorted.length; at += PAGE_ROWS) {
        const some = sorted.slice(at, at + PAGE_ROWS);
        await query({
          text: STATEMENTS.put,
          values: [scope, some.map(([key]) => key), some.map(([, value]) => value)],
        });
      }
    });
  }

  /** Deletes the entries that were last written before an instant (Unix ms), some at a time. */
  async trim(beforeMs: number): Promise<void> {
    for (let removed = PAGE_ROWS; removed === PAGE_ROWS; ) {
      const rows = await this.#database.write((query) => query({ text: STATEMENTS.trim, values: [beforeMs] }));
      removed = rows.length;
    }
  }
}
