import type { Approval, Artifact, RunHeader, RunView, Stage } from '../../../shared/run.ts';
import { compareApprovals, compareArtifacts, compareStages } from '../../../shared/run-order.ts';
import { VIEW_BYTES } from '../bounds.ts';
import type { ViewKey, ViewPage, ViewQuery } from '../contract/runs.ts';
import type { PostgresDatabase } from './database.ts';
import { approvalOf, artifactOf, headerOf } from './rows.ts';

/**
 * Reads the view of a run. One statement returns the header, the position of the log, and the next rows of the three
 * lists, all of one moment. A view with more rows takes several statements, or pages. Events may be logged meanwhile, so a
 * further pass reads the rows that have changed since the last pass began, until one statement reads a whole pass.
 */

const ROWS_AT_ONCE = 1_000;
const LISTS = ['stages', 'artifacts', 'approvals'] as const;
type List = (typeof LISTS)[number];

// Each list ends at its number of rows, or at its bytes: the rows after the bound are not sent.
const listText = (list: List, id: string, seq: string, after: string) => `
  SELECT '${list}', t.id, t.seq, t.state, t.count, 0, 0 FROM (
    SELECT id, seq, state, count(*) OVER () AS count,
      sum(octet_length(state)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - octet_length(state) AS bytes
    FROM (
      SELECT ${id} AS id, ${seq} AS seq, state FROM ${list}
      WHERE run_row = (SELECT row_id FROM run) AND ${id} > ${after} AND last_seq > $6
      ORDER BY ${id} LIMIT $7
    ) l
  ) t WHERE t.bytes < $8`;

/** $3 to $5: the id after which each list begins; NULL for a list that is read already. */
export const VIEW_TEXT = `WITH run AS (
    SELECT r.row_id, r.last_seq, r.state, h.seq AS position, h.erasures
    FROM head h CROSS JOIN runs r WHERE r.project_id = $1 AND r.run_id = $2
  )
  SELECT 'run' AS list, '' AS id, last_seq AS seq, state, 0::bigint AS count, position, erasures FROM run
  UNION ALL ${listText('stages', 'stage_id', '0', '$3')}
  UNION ALL ${listText('artifacts', 'artifact_id', 'seq', '$4')}
  UNION ALL ${listText('approvals', 'approval_id', 'request_seq', '$5')}`;

type Row = { list: List | 'run'; id: string; seq: number; state: string; count: number };
type RunRow = Row & { position: number; erasures: number };
type Rows = { stages: Map<string, Stage>; artifacts: Map<string, Artifact>; approvals: Map<string, Approval> };

export async function readView(
  database: PostgresDatabase,
  projectId: string,
  runId: string,
  query: ViewQuery,
): Promise<ViewPage | undefined> {
  const rows: Rows = { stages: new Map(), artifacts: new Map(), approvals: new Map() };
  let key = query.after;
  let bytes = 0;
  for (;;) {
    const read = await database.read<Row>(
      {
        name: 'view',
        text: VIEW_TEXT,
        values: [projectId, runId, ...startsOf(key), key?.since ?? 0, ROWS_AT_ONCE, VIEW_BYTES],
      },
      query,
    );
    const run = read.find(({ list }) => list === 'run') as RunRow | undefined;
    if (!run) return undefined;
    const header = headerOf({ state: run.state, last_seq: run.seq });
    const { erasures } = run;
    if (key && key.erasures !== erasures) {
      // Rows that were read before an erasure may contain the erased text, so all are read again.
      return readView(database, projectId, runId, { ...query, after: undefined });
    }
    const isNewPass = !key || (key.list === 'stages' && key.id === '');
    key = { list: 'stages', id: '', since: 0, ...key, seen: isNewPass ? header.lastSeq : (key?.seen ?? 0), erasures };
    const end = takeRows(read, key.list, rows, VIEW_BYTES - bytes);
    bytes += end.bytes;
    if (end.at) key = { ...key, ...end.at };
    else if (key.seen === header.lastSeq) return { run: viewOf(header, rows), position: run.position };
    else key = { ...key, list: 'stages', id: '', since: key.seen };
    if (bytes >= VIEW_BYTES) return { run: viewOf(header, rows), position: run.position, next: key };
  }
}

/** The id after which each list is read; null for a list that is read already. */
const startsOf = (key: ViewKey | undefined): (string | null)[] =>
  LISTS.map((list) => {
    const order = key ? LISTS.indexOf(list) - LISTS.indexOf(key.list) : 1;
    return order < 0 ? null : order === 0 ? (key?.id ?? '') : '';
  });

/** Adds rows to the lists, up to a number of bytes. `at`: the last row that was added, if more may follow. */
function takeRows(read: readonly Row[], from: List, into: Rows, maxBytes: number) {
  let bytes = 0;
  for (const list of LISTS.slice(LISTS.indexOf(from))) {
    const found = read.filter((row) => row.list === list);
    for (const [index, row] of found.entries()) {
      put(into, row);
      bytes += row.state.length;
      const isLast = index === found.length - 1;
      // The list has further rows if the statement has left some out, or has read as many as it may.
      const hasMore = row.count > found.length || row.count === ROWS_AT_ONCE;
      if (bytes >= maxBytes || (isLast && hasMore)) return { bytes, at: { list, id: row.id } };
    }
  }
  return { bytes, at: undefined };
}

function put(into: Rows, { list, id, seq, state }: Row): void {
  if (list === 'stages') into.stages.set(id, JSON.parse(state) as Stage);
  else if (list === 'artifacts') into.artifacts.set(id, artifactOf({ state, seq }));
  else into.approvals.set(id, approvalOf({ state, request_seq: seq }));
}

const viewOf = (header: RunHeader, { stages, artifacts, approvals }: Rows): RunView => ({
  ...header,
  stages: [...stages.values()].sort(compareStages),
  artifacts: [...artifacts.values()].sort(compareArtifacts),
  approvals: [...approvals.values()].sort(compareApprovals),
});
