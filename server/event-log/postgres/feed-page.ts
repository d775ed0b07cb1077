import { StoredEvent } from '../contract/log.ts';

/** A page of records that a node has not got in a message. Each page is of one moment, and has bounded rows and bytes. */

const PAGE_BYTES = 1 << 18;
const PAGE_ROWS = 512;

/**
 * $1: position after which the rows are read. $2: last position. The row after the last one gives its hash. The first row has
 * the state of the log and the users of all rows: a look-up and four more columns for each row cost as much as the rows.
 */
export const PAGE = `
  SELECT r.seq, r."runSeq", r."projectId", r."runId", r.type, r.payload, r."atMs", r.hash, s.* FROM head h
  LEFT JOIN LATERAL (
    SELECT p.* FROM (
      SELECT row_number() OVER w AS n, seq, run_seq AS "runSeq", project_id AS "projectId", run_id AS "runId", type, payload,
        recorded_at_ms AS "atMs", encode(substr(lead(prev_hash) OVER w, 1, 4), 'hex') AS hash, substr(prev_hash, 1, 4) AS prev,
        sum(octet_length(payload)) OVER w - octet_length(payload) AS before
      FROM events WHERE seq > $1 AND seq <= $2 + 1 WINDOW w AS (ORDER BY seq) ORDER BY seq LIMIT ${PAGE_ROWS}
    ) p WHERE p.before < ${PAGE_BYTES}
  ) r ON true
  LEFT JOIN LATERAL (
    SELECT h.seq AS head, encode(substr(h.hash, 1, 4), 'hex') AS "headHashPrefix", h.epoch, h.erasures,
      encode(r.prev, 'hex') AS "prevHashPrefix",
      (SELECT json_object_agg(u.seq, u.users) FROM (
        SELECT seq, json_agg(user_id ORDER BY user_id) AS users FROM event_users
        WHERE seq > $1 AND seq <= least($2, $1 + ${PAGE_ROWS}) GROUP BY seq) u) AS users
    WHERE coalesce(r.n, 1) = 1
  ) s ON true
  ORDER BY r.seq`;

type EventRow = {
  /** Null in the only row of a page without records. */
  seq: number | null;
  runSeq: number;
  projectId: string;
  runId: string;
  type: string;
  payload: string;
  atMs: number;
  hash: string | null;
};
/** The first row of a page. */
export type PageRow = EventRow & {
  head: number;
  headHashPrefix: string;
  epoch: string;
  erasures: number;
  prevHashPrefix: string;
  users: { [seq: string]: string[] } | null;
};

/** Returns the records of a page with a known hash, up to the end of a commit where the page has one. */
export function toRecords(state: PageRow, rows: readonly EventRow[], upTo: number): StoredEvent[] {
  const records: StoredEvent[] = [];
  let whole = 0;
  for (const [index, row] of rows.entries()) {
    const { seq, runSeq, projectId, runId, type, payload: json } = row;
    const hashPrefix = row.hash ?? (seq === state.head ? state.headHashPrefix : undefined);
    if (seq === null || seq > upTo || hashPrefix === undefined) continue;
    const users = state.users?.[seq] ?? [];
    records.push(new StoredEvent({ seq, runSeq, projectId, runId, type, json, hashPrefix, users }));
    // The events of a commit have the same time. After the last row of a full page, its commit may go on.
    const next = rows[index + 1];
    if (seq === upTo || seq === state.head || (next && next.atMs !== row.atMs)) whole = records.length;
  }
  return whole > 0 ? records.slice(0, whole) : records;
}
