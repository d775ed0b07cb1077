import type { Approval, RunHeader } from '../../../shared/run.ts';
import type { Decider } from '../contract/decider.ts';
import { waitsFor } from '../decidable.ts';
import type { Query } from './database.ts';
import { approvalOf, headerOf } from './rows.ts';

/** Reads of the rows of several runs, by their row ids. Each statement follows a primary key and has bounded bytes. */

/** Bytes that one statement sends, plus one row: parsing them is one turn of the event loop. */
export const STATEMENT_BYTES = 256 << 10;
const HEADERS_AT_ONCE = 256;
const APPROVALS_AT_ONCE = 128;

export const RUN_ROW_STATEMENTS = {
  // The bytes are added up in the order of the ids: the rows after the bound are not sent.
  headers: `SELECT t.n, t.row_id, t.last_seq, t.state FROM (
      SELECT i.n, r.row_id, r.last_seq, r.state,
        sum(octet_length(r.state)) OVER (ORDER BY i.n ROWS UNBOUNDED PRECEDING) - octet_length(r.state) AS bytes
      FROM unnest($1::bigint[]) WITH ORDINALITY AS i (row_id, n)
      CROSS JOIN LATERAL (SELECT row_id, last_seq, state FROM runs WHERE row_id = i.row_id LIMIT 1) r
    ) t WHERE t.bytes < $2 ORDER BY t.n`,
  // The pending approvals of runs: of the first run those after an id.
  pending: `SELECT t.n, t.approval_id, t.request_seq, t.state FROM (
      SELECT i.n, a.*,
        sum(octet_length(a.state)) OVER (ORDER BY i.n, a.approval_id ROWS UNBOUNDED PRECEDING) - octet_length(a.state) AS bytes
      FROM unnest($1::bigint[]) WITH ORDINALITY AS i (run_row, n)
      CROSS JOIN LATERAL (
        SELECT approval_id, request_seq, state FROM approvals
        WHERE run_row = i.run_row AND status = 'pending' AND (i.n > 1 OR approval_id > $2)
        ORDER BY approval_id LIMIT $3
      ) a
    ) t WHERE t.bytes < $4 ORDER BY t.n, t.approval_id LIMIT $3`,
};

export type FoundHeader = { rowId: number; header: RunHeader; bytes: number };

/**
 * Returns the headers of the first of these rows, up to about {@link STATEMENT_BYTES}. `read`: how many of the rows these are,
 * including rows that retention has removed.
 */
export async function readHeaders(
  query: Query,
  rowIds: readonly number[],
): Promise<{ found: FoundHeader[]; read: number }> {
  const some = rowIds.slice(0, HEADERS_AT_ONCE);
  if (some.length === 0) return { found: [], read: 0 };
  const rows = await query<{ n: number; row_id: number; last_seq: number; state: string }>({
    name: 'headersOfRows',
    text: RUN_ROW_STATEMENTS.headers,
    values: [some, STATEMENT_BYTES],
  });
  const found = rows.map((row) => ({ rowId: row.row_id, header: headerOf(row), bytes: row.state.length }));
  return { found, read: rowsRead(rows, some.length) };
}

/**
 * Returns how many ids a statement has passed that sends rows up to {@link STATEMENT_BYTES}. `n`: number of the id. An id
 * without a row is passed too.
 */
export function rowsRead(rows: readonly { n: number; state: string }[], ids: number): number {
  return isWhole(rows) ? ids : (rows.at(-1)?.n ?? ids);
}

/** Whether a statement has left no row out. A character has at most three bytes for each unit of its length. */
const isWhole = (rows: readonly { state: string }[]): boolean =>
  rows.reduce((sum, { state }) => sum + state.length, 0) < STATEMENT_BYTES / 3;

/** Returns those of the runs that have a pending approval which waits for a user. */
export async function awaitedRuns(query: Query, rowIds: readonly number[], decider: Decider): Promise<Set<number>> {
  const awaited = new Set<number>();
  let left = [...new Set(rowIds)];
  let after = '';
  while (left.length > 0) {
    const some = left.slice(0, HEADERS_AT_ONCE);
    const rows = await query<{ n: number; approval_id: string; request_seq: number; state: string }>({
      name: 'pendingOfRuns',
      text: RUN_ROW_STATEMENTS.pending,
      values: [some, after, APPROVALS_AT_ONCE, STATEMENT_BYTES],
    });
    for (const row of rows) {
      const rowId = some[row.n - 1] as number;
      if (!awaited.has(rowId) && waitsFor(decider, approvalOf(row) as Approval)) awaited.add(rowId);
    }
    const last = rows.at(-1);
    if (!last || (rows.length < APPROVALS_AT_ONCE && isWhole(rows))) {
      left = left.slice(some.length);
      after = '';
      continue;
    }
    // A run with an answer needs no further rows.
    const isDone = awaited.has(some[last.n - 1] as number);
    left = left.slice(isDone ? last.n : last.n - 1);
    after = isDone ? '' : last.approval_id;
  }
  return awaited;
}
