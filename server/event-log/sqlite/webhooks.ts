import type { DeadLetter, WebhookTry } from '../../../shared/webhooks.ts';
import type { Slice } from '../../slices.ts';
import type {
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
import { transact } from './database.ts';
import type { DatabaseSyncInstance } from './driver.ts';

const PAGE_ROWS = 1_000;
type Parts = { db: DatabaseSyncInstance; slice: Slice; write: Slice };

export class SqliteWebhooks implements WebhookStore {
  readonly #parts: Parts;
  readonly #statements: ReturnType<typeof prepare>;
  /** Tries that were written since the older ones were deleted, by the row of their webhook. */
  readonly #written = new Map<number, number>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#statements = prepare(parts.db);
  }

  async load(): Promise<LoadedWebhook[]> {
    const { slice } = this.#parts;
    const { list, pending, countDead } = this.#statements;
    const rows = await slice(() => list.all() as { row_id: number; record: string; position: string }[]);
    const loaded: LoadedWebhook[] = [];
    for (const { row_id: row, record, position } of rows) {
      const webhook: LoadedWebhook = {
        record: JSON.parse(record) as WebhookRecord,
        position: JSON.parse(position) as WebhookPosition,
        pending: [],
        deadLetters: await slice(() => (countDead.get(row) as { count: number }).count),
      };
      for (let last = { seq: -1, kind: '' }, isDone = false; !isDone; ) {
        const page = await slice(() => pending.all(row, last.seq, last.kind, PAGE_ROWS) as { state: string }[]);
        webhook.pending.push(...page.map(({ state }) => JSON.parse(state) as PendingDelivery));
        last = webhook.pending.at(-1) ?? last;
        isDone = page.length < PAGE_ROWS;
      }
      loaded.push(webhook);
    }
    return loaded;
  }

  /** No other node has the file open. */
  onChange(): () => void {
    return () => undefined;
  }

  async put(record: WebhookRecord, position?: WebhookPosition): Promise<void> {
    const { insert, update } = this.#statements;
    const text = JSON.stringify(record);
    // Each statement is its own transaction (synchronous=FULL), so it is durable when it has run.
    await this.#parts.write(() => {
      if (position) insert.run(record.id, text, JSON.stringify(position));
      else update.run(text, record.id);
    });
  }

  /** Removes the row of the webhook first: whatever a crash leaves of the rest belongs to no webhook. */
  async remove(id: string): Promise<void> {
    const { write, db } = this.#parts;
    const { removeWebhook, removeRows } = this.#statements;
    const row = await this.#rowOf(id);
    if (row === undefined) return;
    await write(() => void removeWebhook.run(row));
    this.#written.delete(row);
    for (const statement of removeRows) {
      for (let removed = PAGE_ROWS; removed === PAGE_ROWS; ) {
        removed = await write(() => {
          let changes = 0;
          transact(db, 'NORMAL', () => {
            changes = Number(statement.run(row, PAGE_ROWS).changes);
          });
          return changes;
        });
      }
    }
  }

  async advance(id: string, progress: WebhookProgress): Promise<void> {
    const { position, pending = [], done = [], dead = [], revived = [], tries = [] } = progress;
    const { db, write } = this.#parts;
    const { move, putPending, deletePending, putDead, deleteDead, insertTry, trimTries } = this.#statements;
    await write(() => {
      const row = this.#findRow(id);
      if (row === undefined) return;
      transact(db, 'NORMAL', () => {
        move.run(JSON.stringify(position), row);
        for (const { seq, kind } of done) deletePending.run(row, seq, kind);
        for (const { seq, kind } of revived) deleteDead.run(row, seq, kind);
        for (const each of pending) putPending.run(row, each.seq, each.kind, JSON.stringify(each));
        for (const each of dead) putDead.run(row, each.seq, each.kind, JSON.stringify(each));
        for (const { answer, ...rest } of tries) {
          insertTry.run(row, rest.seq, Date.parse(rest.at), JSON.stringify(rest), answer);
        }
        const written = (this.#written.get(row) ?? SPARE_TRIES) + tries.length;
        if (written > SPARE_TRIES) trimTries.run(row, row, MAX_TRIES);
        this.#written.set(row, written > SPARE_TRIES ? 0 : written);
      });
    });
  }

  async tries(id: string, { cursor, limit }: WebhookPageQuery): Promise<WebhookPage<WebhookTry>> {
    const { slice } = this.#parts;
    const rows = await slice(() => {
      const row = this.#findRow(id);
      if (row === undefined) return [];
      return this.#statements.tries.all(row, cursor ?? Number.MAX_SAFE_INTEGER, limit + 1) as TryRow[];
    });
    return pageOf(rows.map(tryOf), limit, ({ id }) => id);
  }

  async try(id: string, tryId: number): Promise<(WebhookTry & { answer: string }) | undefined> {
    return this.#parts.slice(() => {
      const row = this.#findRow(id);
      const found = row === undefined ? undefined : (this.#statements.oneTry.get(row, tryId) as TryRow | undefined);
      return found && { ...tryOf(found), answer: found.answer };
    });
  }

  async deadLetters(id: string, { cursor, limit }: WebhookPageQuery): Promise<WebhookPage<DeadLetter>> {
    const rows = await this.#parts.slice(() => {
      const row = this.#findRow(id);
      if (row === undefined) return [];
      return this.#statements.deadLetters.all(row, cursor ?? -1, limit + 1) as {
        state: string;
        answer: string | null;
      }[];
    });
    const letters = rows.map(({ state, answer }) => ({
      ...(JSON.parse(state) as DeadLetter),
      ...(answer ? { answer } : {}),
    }));
    return pageOf(letters, limit, ({ seq, kind }) => 2 * seq + Number(kind === 'gap'));
  }

  /** Deletes the tries before an instant (Unix ms), in slices. */
  async trim(beforeMs: number): Promise<void> {
    for (let removed = PAGE_ROWS; removed === PAGE_ROWS; ) {
      removed = await this.#parts.write(() => Number(this.#statements.trimOld.run(beforeMs, PAGE_ROWS).changes));
    }
  }

  /** Removes the answers to an event. Called inside the transaction that erases it. */
  erasing(seq: number): void {
    this.#statements.eraseAnswers.run(seq);
  }

  #findRow(id: string): number | undefined {
    return (this.#statements.rowOf.get(id) as { row_id: number } | undefined)?.row_id;
  }

  #rowOf(id: string): Promise<number | undefined> {
    return this.#parts.slice(() => this.#findRow(id));
  }
}

function prepare(db: DatabaseSyncInstance) {
  const remove = (table: string, keys: string) =>
    db.prepare(`DELETE FROM ${table} WHERE (${keys}) IN (SELECT ${keys} FROM ${table} WHERE webhook = ? LIMIT ?)`);
  const put = (table: string) =>
    db.prepare(`INSERT OR REPLACE INTO ${table} (webhook, seq, kind, state) VALUES (?, ?, ?, ?)`);
  const deleteFrom = (table: string) => db.prepare(`DELETE FROM ${table} WHERE webhook = ? AND seq = ? AND kind = ?`);
  const key = 'webhook, seq, kind';
  return {
    list: db.prepare('SELECT row_id, record, position FROM webhooks ORDER BY row_id'),
    rowOf: db.prepare('SELECT row_id FROM webhooks WHERE id = ?'),
    insert: db.prepare('INSERT INTO webhooks (id, record, position) VALUES (?, ?, ?)'),
    update: db.prepare('UPDATE webhooks SET record = ? WHERE id = ?'),
    move: db.prepare('UPDATE webhooks SET position = ? WHERE row_id = ?'),
    removeWebhook: db.prepare('DELETE FROM webhooks WHERE row_id = ?'),
    removeRows: [remove('webhook_pending', key), remove('webhook_dead_letters', key), remove('webhook_tries', 'id')],
    pending: db.prepare(
      'SELECT state FROM webhook_pending WHERE webhook = ? AND (seq, kind) > (?, ?) ORDER BY seq, kind LIMIT ?',
    ),
    countDead: db.prepare('SELECT count(*) AS count FROM webhook_dead_letters WHERE webhook = ?'),
    putPending: put('webhook_pending'),
    deletePending: deleteFrom('webhook_pending'),
    putDead: put('webhook_dead_letters'),
    deleteDead: deleteFrom('webhook_dead_letters'),
    deadLetters: db.prepare(
      `SELECT state, (SELECT answer FROM webhook_tries AS try WHERE try.seq = letter.seq AND try.webhook = letter.webhook
         AND json_extract(try.state, '$.kind') = letter.kind ORDER BY try.id DESC LIMIT 1) AS answer
       FROM webhook_dead_letters AS letter WHERE webhook = ? AND 2 * seq + (kind = 'gap') > ? ORDER BY seq, kind LIMIT ?`,
    ),
    insertTry: db.prepare('INSERT INTO webhook_tries (webhook, seq, at_ms, state, answer) VALUES (?, ?, ?, ?, ?)'),
    tries: db.prepare('SELECT * FROM webhook_tries WHERE webhook = ? AND id < ? ORDER BY id DESC LIMIT ?'),
    oneTry: db.prepare('SELECT * FROM webhook_tries WHERE webhook = ? AND id = ?'),
    trimTries: db.prepare(
      `DELETE FROM webhook_tries WHERE webhook = ? AND id <=
       (SELECT id FROM webhook_tries WHERE webhook = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`,
    ),
    trimOld: db.prepare(
      'DELETE FROM webhook_tries WHERE id IN (SELECT id FROM webhook_tries WHERE at_ms < ? ORDER BY at_ms LIMIT ?)',
    ),
    eraseAnswers: db.prepare(`UPDATE webhook_tries SET answer = '' WHERE seq = ? AND answer <> ''`),
  };
}
