import type { DeadLetter, WebhookTry } from '../../../shared/webhooks.ts';
import type {
  DeliveryKey,
  LoadedWebhook,
  PendingDelivery,
  WebhookPage,
  WebhookPageQuery,
  WebhookPosition,
  WebhookProgress,
  WebhookRecord,
  WebhookStore,
} from '../contract/webhooks.ts';
import { MAX_TRIES, pageOf, SPARE_TRIES, type TryRow, tryOf } from '../webhook-pages.ts';
import type { Query, Statement } from './database.ts';
import { counted, type KeptParts } from './revisions.ts';

/** Webhooks in PostgreSQL. A change of one webhook locks its row first. */

const PAGE_ROWS = 1_000;

const LIST = 'SELECT row_id, record, position FROM webhooks ORDER BY row_id';
const PENDING = `SELECT state FROM webhook_pending WHERE webhook = $1 AND (seq, kind) > ($2, $3)
  ORDER BY seq, kind LIMIT ${PAGE_ROWS}`;
const COUNT_DEAD = 'SELECT count(*) AS count FROM webhook_dead_letters WHERE webhook = $1';
const INSERT = counted('webhooks', 'INSERT INTO webhooks (id, record, position) VALUES ($1, $2, $3)');
const UPDATE = counted('webhooks', 'UPDATE webhooks SET record = $2 WHERE id = $1');
/** $3: this node. Once another one has the lease, a progress that is still on its way MUST NOT replace the other's. */
const MOVE = `UPDATE webhooks SET position = $2 WHERE id = $1 AND NOT EXISTS (SELECT FROM leases l
  WHERE l.name = 'webhooks' AND l.node_id <> $3 AND l.lease_until > clock_timestamp()) RETURNING row_id`;
const DELETE_WEBHOOK = counted('webhooks', 'DELETE FROM webhooks WHERE id = $1 RETURNING row_id');
const TRIES = `SELECT t.id, t.state, t.answer FROM webhooks w JOIN webhook_tries t ON t.webhook = w.row_id
  WHERE w.id = $1 AND t.id < $2 ORDER BY t.id DESC LIMIT $3`;
const ONE_TRY = `SELECT t.id, t.state, t.answer FROM webhooks w JOIN webhook_tries t ON t.webhook = w.row_id
  WHERE w.id = $1 AND t.id = $2`;
const DEAD_LETTERS = `SELECT l.state, (SELECT t.answer FROM webhook_tries t
    WHERE t.seq = l.seq AND t.webhook = l.webhook AND t.kind = l.kind ORDER BY t.id DESC LIMIT 1) AS answer
  FROM webhooks w JOIN webhook_dead_letters l ON l.webhook = w.row_id
  WHERE w.id = $1 AND (l.seq, l.kind) > ($2, $3) ORDER BY l.seq, l.kind LIMIT $4`;
const INSERT_TRIES = `INSERT INTO webhook_tries (webhook, seq, kind, at_ms, state, answer)
  SELECT $1, seq, kind, at_ms, state, answer
  FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[]) WITH ORDINALITY
    AS t (seq, kind, at_ms, state, answer, place) ORDER BY place`;
const TRIM_TRIES = `DELETE FROM webhook_tries WHERE webhook = $1 AND id <=
  (SELECT id FROM webhook_tries WHERE webhook = $1 ORDER BY id DESC LIMIT 1 OFFSET ${MAX_TRIES})`;
const TRIM_OLD = `DELETE FROM webhook_tries WHERE id IN
  (SELECT id FROM webhook_tries WHERE at_ms < $1 ORDER BY at_ms LIMIT ${PAGE_ROWS}) RETURNING 1`;
const ERASE_ANSWERS = `UPDATE webhook_tries SET answer = '' WHERE seq = $1 AND answer <> ''`;

type StateTable = 'webhook_pending' | 'webhook_dead_letters';

/** `rows`: distinct keys, since one statement cannot change a row twice. */
const putRows = (table: StateTable, webhook: number, rows: readonly DeliveryKey[]): Statement => ({
  text: `INSERT INTO ${table} (webhook, seq, kind, state) SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[])
    ON CONFLICT (webhook, seq, kind) DO UPDATE SET state = excluded.state`,
  values: [webhook, rows.map(({ seq }) => seq), rows.map(({ kind }) => kind), rows.map((row) => JSON.stringify(row))],
});
const deleteRows = (table: StateTable, webhook: number, keys: readonly DeliveryKey[]): Statement => ({
  text: `DELETE FROM ${table} WHERE webhook = $1 AND (seq, kind) IN (SELECT * FROM unnest($2::bigint[], $3::text[]))`,
  values: [webhook, keys.map(({ seq }) => seq), keys.map(({ kind }) => kind)],
});
/** The last of the rows with one key counts. */
const distinct = <Row extends DeliveryKey>(rows: readonly Row[]): Row[] => [
  ...new Map(rows.map((row) => [`${row.seq} ${row.kind}`, row])).values(),
];

export class PostgresWebhooks implements WebhookStore {
  readonly #parts: KeptParts & { nodeId: string };
  /** Tries that were written since the older ones were deleted, by the id of their webhook. */
  readonly #written = new Map<string, number>();

  constructor(parts: KeptParts & { nodeId: string }) {
    this.#parts = parts;
  }

  async load(): Promise<LoadedWebhook[]> {
    const { database } = this.#parts;
    const rows = await database.read<{ row_id: number; record: string; position: string }>({ text: LIST });
    const loaded: LoadedWebhook[] = [];
    for (const { row_id: row, record, position } of rows) {
      const [dead] = await database.read<{ count: number }>({ text: COUNT_DEAD, values: [row] });
      const pending: PendingDelivery[] = [];
      for (let isDone = false; !isDone; ) {
        const { seq, kind } = pending.at(-1) ?? { seq: -1, kind: '' };
        const page = await database.read<{ state: string }>({ text: PENDING, values: [row, seq, kind] });
        pending.push(...page.map(({ state }) => JSON.parse(state) as PendingDelivery));
        isDone = page.length < PAGE_ROWS;
      }
      loaded.push({
        record: JSON.parse(record) as WebhookRecord,
        position: JSON.parse(position) as WebhookPosition,
        pending,
        deadLetters: dead?.count ?? 0,
      });
    }
    return loaded;
  }

  async put(record: WebhookRecord, position?: WebhookPosition): Promise<void> {
    const text = JSON.stringify(record);
    await this.#change(
      position
        ? { text: INSERT, values: [record.id, text, JSON.stringify(position)] }
        : { text: UPDATE, values: [record.id, text] },
    );
  }

  /** Removes the row of the webhook first: whatever a crash leaves of the rest belongs to no webhook. */
  async remove(id: string): Promise<void> {
    const [webhook] = await this.#change<{ row_id: number }>({ text: DELETE_WEBHOOK, values: [id] });
    this.#written.delete(id);
    if (!webhook) return;
    for (const table of ['webhook_pending', 'webhook_dead_letters', 'webhook_tries']) {
      const text = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY
        (SELECT ctid FROM ${table} WHERE webhook = $1 LIMIT ${PAGE_ROWS})) RETURNING 1`;
      for (let count = PAGE_ROWS; count === PAGE_ROWS; ) {
        count = (await this.#parts.database.run({ text, values: [webhook.row_id] })).length;
      }
    }
  }

  async advance(id: string, progress: WebhookProgress): Promise<void> {
    const { position, pending = [], done = [], dead = [], revived = [], tries = [] } = progress;
    const written = (this.#written.get(id) ?? SPARE_TRIES) + tries.length;
    const isTrimmed = written > SPARE_TRIES;
    const { database, nodeId } = this.#parts;
    await database.write(async (query) => {
      // Locks the webhook, so that it is not removed meanwhile.
      const [moved] = await query<{ row_id: number }>({ text: MOVE, values: [id, JSON.stringify(position), nodeId] });
      if (!moved) return;
      const webhook = moved.row_id;
      if (done.length > 0) await query(deleteRows('webhook_pending', webhook, done));
      if (revived.length > 0) await query(deleteRows('webhook_dead_letters', webhook, revived));
      if (pending.length > 0) await query(putRows('webhook_pending', webhook, distinct(pending)));
      if (dead.length > 0) await query(putRows('webhook_dead_letters', webhook, distinct(dead)));
      if (tries.length > 0) {
        const states = tries.map(({ answer: _, ...rest }) => JSON.stringify(rest));
        const columns = [tries.map(({ seq }) => seq), tries.map(({ kind }) => kind)];
        const times = tries.map(({ at }) => Date.parse(at));
        // PostgreSQL has no NUL in a text.
        const answers = tries.map(({ answer }) => answer.replaceAll('\0', '\uFFFD'));
        await query({ text: INSERT_TRIES, values: [webhook, ...columns, times, states, answers] });
      }
      if (isTrimmed) await query({ text: TRIM_TRIES, values: [webhook] });
    });
    this.#written.set(id, isTrimmed ? 0 : written);
  }

  async tries(id: string, { cursor, limit }: WebhookPageQuery): Promise<WebhookPage<WebhookTry>> {
    const values = [id, cursor ?? Number.MAX_SAFE_INTEGER, limit + 1];
    const rows = await this.#parts.database.read<TryRow>({ text: TRIES, values });
    return pageOf(rows.map(tryOf), limit, (item) => item.id);
  }

  async try(id: string, tryId: number): Promise<(WebhookTry & { answer: string }) | undefined> {
    const [found] = await this.#parts.database.read<TryRow>({ text: ONE_TRY, values: [id, tryId] });
    return found && { ...tryOf(found), answer: found.answer };
  }

  async deadLetters(id: string, { cursor = -1, limit }: WebhookPageQuery): Promise<WebhookPage<DeadLetter>> {
    const after = cursor < 0 ? [-1, ''] : [Math.floor(cursor / 2), cursor % 2 === 0 ? 'event' : 'gap'];
    const rows = await this.#parts.database.read<{ state: string; answer: string | null }>({
      text: DEAD_LETTERS,
      values: [id, ...after, limit + 1],
    });
    const letters = rows.map(({ state, answer }) => ({
      ...(JSON.parse(state) as DeadLetter),
      ...(answer ? { answer } : {}),
    }));
    return pageOf(letters, limit, ({ seq, kind }) => 2 * seq + Number(kind === 'gap'));
  }

  onChange(listener: () => void): () => void {
    return this.#parts.onChange('webhooks', listener);
  }

  /** Deletes the tries before an instant (Unix ms), in batches. */
  async trim(beforeMs: number): Promise<void> {
    const statement = { text: TRIM_OLD, values: [Math.floor(beforeMs)] };
    for (let removed = PAGE_ROWS; removed === PAGE_ROWS; ) {
      removed = (await this.#parts.database.run(statement)).length;
    }
  }

  /** Removes the answers to an event. Called inside the transaction that erases it. */
  async erasing(query: Query, seq: number): Promise<void> {
    await query({ text: ERASE_ANSWERS, values: [seq] });
  }

  async #change<Row extends object>(statement: Statement): Promise<Row[]> {
    const rows = await this.#parts.database.run<Row>(statement);
    this.#parts.changed('webhooks');
    return rows;
  }
}
