import pg from 'pg';
import type { Outbox, OutboxDraft, OutboxPage, OutboxRefusal } from '../contract/outbox.ts';
import type { PostgresDatabase, Query } from './database.ts';

/** The outbox of PostgreSQL. Its tables and SQL functions are in `outbox-schema.ts`. */

const MAX_DRAFTS = 1_000;
const MAX_BYTES = 1_048_576;
const REFUSED_DAYS = 30;
const MAX_REFUSED = 100_000;
const RECONNECT_MS = 1_000;
const CHANNEL = 'runwire_outbox';

/** The first call is returned whatever its size. Each draft is a row: `pg` parses a row in one turn of the event loop. */
const NEXT = `
  WITH calls AS (
    SELECT *, row_number() OVER in_order AS nth, sum(draft_count) OVER in_order AS sum_drafts, sum(bytes) OVER in_order AS sum_bytes
    FROM (SELECT * FROM outbox ORDER BY position NULLS FIRST, id LIMIT ${MAX_DRAFTS}) AS first
    WINDOW in_order AS (ORDER BY position NULLS FIRST, id)
  )
  SELECT id, actor, (extract(epoch FROM clock_timestamp() - called_at) * 1000)::bigint AS age_ms, n - 1 AS index,
    draft::text AS text
  FROM calls LEFT JOIN LATERAL jsonb_array_elements(drafts) WITH ORDINALITY AS e(draft, n)
    ON jsonb_typeof(draft) = 'object'
  WHERE nth = 1 OR (sum_drafts <= ${MAX_DRAFTS} AND sum_bytes <= ${MAX_BYTES})
  ORDER BY nth, n`;

/** One statement: a call that is gone was settled by another server, with its refusals. */
const SETTLE = `
  WITH gone AS (DELETE FROM outbox WHERE id = ANY($1::bigint[]) RETURNING *)
  INSERT INTO outbox_refused (actor, called_at, refused_at, code, path, message, draft)
    SELECT actor, called_at, clock_timestamp(), code, path, message, drafts -> index
    FROM jsonb_to_recordset($2::jsonb) AS r("callId" bigint, index integer, code text, path text, message text)
      JOIN gone ON gone.id = r."callId"
    WHERE jsonb_typeof(drafts -> index) = 'object'
    ORDER BY position NULLS FIRST, gone.id, index`;

const FORGET = `
  WITH gone AS (
    DELETE FROM outbox_refused WHERE refused_at < clock_timestamp() - interval '${REFUSED_DAYS} days'
      OR id <= (SELECT id FROM outbox_refused ORDER BY id DESC OFFSET ${MAX_REFUSED} LIMIT 1)
    RETURNING 1
  ) SELECT count(*) AS removed FROM gone`;

type Row = { id: number; actor: string; age_ms: number; index: number | null; text: string | null };

export class PostgresOutbox implements Outbox {
  readonly #database: PostgresDatabase;

  constructor(database: PostgresDatabase) {
    this.#database = database;
  }

  async next(): Promise<OutboxPage> {
    const rows = await this.#database.read<Row>({ name: 'outbox_next', text: NEXT });
    const drafts: OutboxDraft[] = [];
    for (const { id, actor, index, text } of rows) {
      if (index !== null && text !== null) drafts.push({ callId: id, index, actor, text });
    }
    return { callIds: [...new Set(rows.map((row) => row.id))], drafts, waitingMs: Math.max(0, rows[0]?.age_ms ?? 0) };
  }

  async settle(callIds: readonly number[], refused: readonly OutboxRefusal[]): Promise<void> {
    const values = [callIds, JSON.stringify(refused)];
    await this.#database.write((query) => query({ name: 'outbox_settle', text: SETTLE, values }));
  }

  async forgetRefused(): Promise<number> {
    const rows = await this.#database.write((query) => query<{ removed: number }>({ text: FORGET }));
    return rows[0]?.removed ?? 0;
  }

  onWork(listener: () => void): () => void {
    let isEnded = false;
    let client: pg.Client | undefined;
    let timer: NodeJS.Timeout | undefined;
    const connect = async () => {
      const next = new pg.Client(this.#database.options);
      client = next;
      let isBroken = false;
      const broken = () => {
        if (isBroken) return;
        isBroken = true;
        next.end().catch(() => undefined);
        if (!isEnded) timer = setTimeout(connect, RECONNECT_MS).unref();
      };
      next.on('error', broken).on('end', broken).on('notification', listener);
      try {
        await next.connect();
        if (isEnded) return broken();
        await next.query(`LISTEN ${CHANNEL}`);
        listener(); // Calls of before may be waiting.
      } catch {
        broken(); // Not reported: without this connection, the caller polls.
      }
    };
    void connect();
    return () => {
      isEnded = true;
      clearTimeout(timer);
      client?.end().catch(() => undefined);
    };
  }
}

/**
 * Removes the text of an erased event from waiting and refused drafts with its id. Call it inside the transaction of the
 * erasure.
 */
export async function eraseFromOutbox(query: Query, projectId: string, eventId: string): Promise<void> {
  const values = [projectId, eventId];
  await query({ name: 'outbox_erase_refused', text: ERASE_REFUSED, values });
  await query({ name: 'outbox_erase', text: ERASE_WAITING, values });
}

const ERASE_REFUSED = `DELETE FROM outbox_refused WHERE draft ->> 'eventId' = $2 AND draft ->> 'projectId' = $1`;
const ERASE_WAITING = `
  UPDATE outbox SET drafts = (
    SELECT jsonb_agg(CASE WHEN draft ->> 'eventId' = $2 AND draft ->> 'projectId' = $1 THEN 'null' ELSE draft END ORDER BY n)
    FROM jsonb_array_elements(drafts) WITH ORDINALITY AS e(draft, n)
  ) WHERE drafts @> jsonb_build_array(jsonb_build_object('eventId', $2::text, 'projectId', $1::text))`;
