import type { PutRevocation, Revocation, Revocations } from '../contract/revocations.ts';
import { CLOCK_MS } from './clock.ts';
import { counted, type KeptParts } from './revisions.ts';

const PAGE_ROWS = 1_000;

const LIST = `SELECT kind, id, at_ms AS "atMs", until_ms AS "untilMs" FROM revocations WHERE (kind, id) > ($1, $2)
  ORDER BY kind, id LIMIT ${PAGE_ROWS}`;
/** $3: the given time. $5: the node's clock, in case it is ahead of the database's. */
const PUT = counted(
  'revocations',
  `INSERT INTO revocations AS r (kind, id, at_ms, until_ms) VALUES ($1, $2, coalesce($3, greatest($5, ${CLOCK_MS})), $4)
    ON CONFLICT (kind, id) DO UPDATE
    SET at_ms = greatest(r.at_ms, excluded.at_ms), until_ms = coalesce(excluded.until_ms, r.until_ms)
    RETURNING kind, id, at_ms AS "atMs", until_ms AS "untilMs"`,
);
const FORGET = 'DELETE FROM revocations WHERE until_ms < $1';

type Row = { kind: Revocation['kind']; id: string; atMs: number; untilMs: number | null };

export class PostgresRevocations implements Revocations {
  readonly #parts: KeptParts;

  constructor(parts: KeptParts) {
    this.#parts = parts;
  }

  async all(): Promise<Revocation[]> {
    const revocations: Revocation[] = [];
    for (;;) {
      const { kind = '', id = '' } = revocations.at(-1) ?? {};
      const page = await this.#parts.database.read<Row>({ text: LIST, values: [kind, id] });
      revocations.push(...page.map(toRevocation));
      if (page.length < PAGE_ROWS) return revocations;
    }
  }

  async put({ kind, id, atMs, untilMs }: PutRevocation): Promise<Revocation> {
    const until = untilMs === undefined ? null : Math.min(untilMs, Number.MAX_SAFE_INTEGER);
    const stored = await this.#parts.database.run<Row>({
      text: PUT,
      values: [kind, id, atMs ?? null, until, Date.now()],
    });
    this.#parts.changed('revocations');
    return toRevocation(stored[0] as Row);
  }

  /** Not counted as a change: the tokens of the deleted entries have expired. */
  async forget(expiredBeforeMs: number): Promise<void> {
    await this.#parts.database.run({ text: FORGET, values: [Math.ceil(expiredBeforeMs)] });
  }

  onChange(listener: () => void): () => void {
    return this.#parts.onChange('revocations', listener);
  }
}

const toRevocation = ({ untilMs, ...row }: Row): Revocation => (untilMs === null ? row : { ...row, untilMs });
