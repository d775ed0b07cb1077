import type { SessionStore, StoredSession } from '../contract/sessions.ts';
import type { Statement } from './database.ts';
import { counted, type KeptParts } from './revisions.ts';

const PAGE_ROWS = 1_000;

const LIST = `SELECT id, sealed, ends_at_ms AS "endsAtMs" FROM sessions WHERE id > $1 ORDER BY id LIMIT ${PAGE_ROWS}`;
const GET = 'SELECT id, sealed, ends_at_ms AS "endsAtMs" FROM sessions WHERE id = $1';
const PUT = counted(
  'sessions',
  `INSERT INTO sessions (id, sealed, ends_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, ends_at_ms = excluded.ends_at_ms`,
);
/** In the order of the ids: two removals of the same sessions would deadlock otherwise. */
const REMOVE = counted(
  'sessions',
  'DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE)',
);

export class PostgresSessions implements SessionStore {
  readonly #parts: KeptParts;

  constructor(parts: KeptParts) {
    this.#parts = parts;
  }

  async all(): Promise<StoredSession[]> {
    const sessions: StoredSession[] = [];
    for (;;) {
      const values = [sessions.at(-1)?.id ?? ''];
      const page = await this.#parts.database.read<StoredSession>({ text: LIST, values });
      sessions.push(...page);
      if (page.length < PAGE_ROWS) return sessions;
    }
  }

  async get(id: string): Promise<StoredSession | undefined> {
    const [session] = await this.#parts.database.read<StoredSession>({ name: 'get-session', text: GET, values: [id] });
    return session;
  }

  put({ id, sealed, endsAtMs }: StoredSession): Promise<void> {
    return this.#write({ text: PUT, values: [id, sealed, endsAtMs] });
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (let at = 0; at < ids.length; at += PAGE_ROWS) {
      await this.#write({ text: REMOVE, values: [ids.slice(at, at + PAGE_ROWS)] });
    }
  }

  onChange(listener: () => void): () => void {
    return this.#parts.onChange('sessions', listener);
  }

  async #write(statement: Statement): Promise<void> {
    await this.#parts.database.run(statement);
    this.#parts.changed('sessions');
  }
}
