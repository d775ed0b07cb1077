import type { PutRevocation, Revocation, Revocations } from '../contract/revocations.ts';
import type { DatabaseSyncInstance, StatementSyncInstance } from './driver.ts';

/** Rows in one slice. */
const PAGE_ROWS = 1_000;

type Slice = <T>(work: () => T) => Promise<T>;

export class SqliteRevocations implements Revocations {
  readonly #slice: Slice;
  readonly #write: Slice;
  readonly #list: StatementSyncInstance;
  readonly #put: StatementSyncInstance;
  readonly #forget: StatementSyncInstance;

  constructor(db: DatabaseSyncInstance, { slice, write }: { slice: Slice; write: Slice }) {
    this.#slice = slice;
    this.#write = write;
    // Reading an integer beyond 2^53 throws, so one such row would keep the server from starting.
    this.#list = db.prepare(
      'SELECT kind, id, at_ms, min(until_ms, 9007199254740991) AS until_ms FROM revocations WHERE (kind, id) > (?, ?) ORDER BY kind, id LIMIT ?',
    );
    this.#put = db.prepare(
      `INSERT INTO revocations (kind, id, at_ms, until_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
       SET at_ms = max(at_ms, excluded.at_ms), until_ms = coalesce(excluded.until_ms, until_ms)
       RETURNING kind, id, at_ms, min(until_ms, 9007199254740991) AS until_ms`,
    );
    this.#forget = db.prepare('DELETE FROM revocations WHERE until_ms < ?');
  }

  async all(): Promise<Revocation[]> {
    const revocations: Revocation[] = [];
    for (;;) {
      const { kind = '', id = '' } = revocations.at(-1) ?? {};
      const page = await this.#slice(() => this.#list.all(kind, id, PAGE_ROWS).map(toRevocation));
      revocations.push(...page);
      if (page.length < PAGE_ROWS) return revocations;
    }
  }

  /** The statement is its own transaction (synchronous=FULL), so the entry is durable when it has run. */
  put({ kind, id, atMs = Date.now(), untilMs }: PutRevocation): Promise<Revocation> {
    const until = untilMs === undefined ? null : Math.min(untilMs, Number.MAX_SAFE_INTEGER);
    return this.#write(() => toRevocation(this.#put.all(kind, id, atMs, until)[0]));
  }

  async forget(expiredBeforeMs: number): Promise<void> {
    await this.#write(() => this.#forget.run(expiredBeforeMs));
  }

  /** No other node has the file open. */
  onChange(): () => void {
    return () => undefined;
  }
}

function toRevocation(value: unknown): Revocation {
  const row = value as { kind: Revocation['kind']; id: string; at_ms: number; until_ms: number | null };
  return { kind: row.kind, id: row.id, atMs: row.at_ms, ...(row.until_ms === null ? {} : { untilMs: row.until_ms }) };
}
