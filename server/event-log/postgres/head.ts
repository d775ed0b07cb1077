import { randomBytes } from 'node:crypto';
import { type ChainedRow, GENESIS, rowHash } from '../integrity/canonical.ts';
import { lockHead, type Query } from './database.ts';

/** The row of the head: where the log ends, as the last commit has stored it. */

export type HeadRow = {
  epoch: string;
  seq: number;
  hash: Buffer;
  recordedAtMs: number;
  oldest: number;
  erasures: number;
};

const HEAD = 'SELECT epoch, seq, hash, recorded_at_ms AS "recordedAtMs", oldest, erasures FROM head';

/** Columns that the hash of a row covers. The run counts only if all three of its ids fit. */
export const CHAINED_COLUMNS = `e.seq, e.project_id AS "projectId", e.run_seq AS "runSeq", e.type, e.event_id AS "eventId",
  e.actor, e.recorded_at_ms AS "recordedAtMs", e.payload_hash AS "payloadHash", e.prev_hash AS "prevHash",
  (SELECT r.run_id FROM runs r
    WHERE r.row_id = e.run_row AND r.project_id = e.project_id AND r.run_id = e.run_id) AS "runId"`;

const LAST = `SELECT ${CHAINED_COLUMNS} FROM events e WHERE e.seq < ${Number.MAX_SAFE_INTEGER} ORDER BY e.seq DESC LIMIT 1`;
const RESTORE = `INSERT INTO head (id, epoch, epoch_seq, seq, hash, recorded_at_ms, oldest, erasures)
  SELECT 1, $1, $2::bigint, $2::bigint, $3, $4, coalesce((SELECT min(seq) FROM events), $2::bigint + 1),
    coalesce((SELECT max(generation) FROM erasures), 0)`;

export async function readHead(query: Query): Promise<HeadRow> {
  const [row] = await query<HeadRow>({ text: HEAD });
  return row as HeadRow;
}

/**
 * Compares the last row with the stored head, at the start of a node. If they differ, rows were altered or deleted: returns
 * the position after which the log goes on, which was never used. The next row does not continue from an altered row: it
 * stores the hash of the stored head, so `verify` finds the damage as long as the rows are kept.
 */
export async function findDamage(query: Query): Promise<{ seq: number } | undefined> {
  await lockHead(query);
  const head: HeadRow | undefined = await readHead(query);
  const [last] = await query<ChainedRow>({ text: LAST });
  const found = { seq: last?.seq ?? 0, hash: last ? rowHash(last) : GENESIS };
  if (!head) {
    const epoch = randomBytes(8).toString('hex');
    await query({ text: RESTORE, values: [epoch, found.seq, GENESIS, last?.recordedAtMs ?? 0] });
    return { seq: found.seq };
  }
  const { seq, hash } = head;
  if (seq === found.seq && found.hash.equals(hash)) return undefined;
  const isPosition = Number.isSafeInteger(seq);
  const next = isPosition ? Math.max(seq, found.seq) : found.seq;
  if (next !== seq) {
    await query({ text: 'UPDATE head SET seq = $1, hash = $2', values: [next, isPosition ? hash : GENESIS] });
  }
  return { seq: next };
}
