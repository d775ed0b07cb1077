import { isStorable } from '../../../shared/issues.ts';
import type { ChangePage, ChangeQuery } from '../contract/runs.ts';
import { hashPrefixOf } from '../cursor.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { awaitedRuns, readHeaders } from './run-rows.ts';

/** 4,096 positions are an era, as in the column `last_era`: an index of eras finds the runs that changed after a position. */
const COLUMNS = 'row_id, last_seq FROM runs';

export const CHANGE_STATEMENTS = {
  head: 'SELECT seq, hash, erasures FROM head',
  all: `SELECT ${COLUMNS}
    WHERE last_era + 0 >= $1::bigint >> 12 AND last_seq > $1 ORDER BY last_era + 0, last_seq LIMIT $2`,
  ofProjects: `SELECT p.n, r.row_id, r.last_seq FROM unnest($3::text[]) WITH ORDINALITY AS p (project_id, n)
    CROSS JOIN LATERAL (
      SELECT ${COLUMNS} WHERE project_id = p.project_id AND last_era >= $1::bigint >> 12 AND last_seq > $1
      ORDER BY last_era, last_seq LIMIT $2
    ) r`,
  ofRuns: `SELECT p.n, r.row_id, r.last_seq FROM unnest($3::text[]) WITH ORDINALITY AS p (project_id, n)
    CROSS JOIN LATERAL (
      SELECT ${COLUMNS} WHERE project_id = p.project_id AND run_id = $4 AND last_seq > $1 LIMIT $2
    ) r`,
  // A row stores the hash of the row before it.
  hashPrefixes: `SELECT i.n, encode(substr(e.prev_hash, 1, 4), 'hex') AS prefix
    FROM unnest($1::bigint[]) WITH ORDINALITY AS i (seq, n)
    CROSS JOIN LATERAL (SELECT prev_hash FROM events WHERE seq = i.seq LIMIT 1) e`,
};

type ChangedRow = { n: number; row_id: number; last_seq: number };

/** Reads a page of changed runs, of one moment. */
export function changedSince(database: PostgresDatabase, query: ChangeQuery): Promise<ChangePage> {
  const { after, projects, runId, limit, decider, ...caller } = query;
  return database.snapshot(async (read): Promise<ChangePage> => {
    const [head] = await read<{ seq: number; hash: Buffer; erasures: number }>({ text: CHANGE_STATEMENTS.head });
    const headSeq = head?.seq ?? 0;
    const { rows, end } =
      projects === 'all'
        ? await changedOfAll(read, after, limit)
        : await changedOf({ projects: projects.filter(isStorable), runId }, read, after, limit);
    const changed = await readHeaders(
      read,
      rows.map((row) => row.row_id),
    );
    const isCut = changed.read < rows.length;
    const rowIds = changed.found.map(({ rowId }) => rowId);
    const runs = changed.found.map(({ header }) => header);
    const prefixes = await read<{ n: number; prefix: string }>({
      name: 'hashPrefixesOfChanges',
      text: CHANGE_STATEMENTS.hashPrefixes,
      values: [runs.map(({ lastSeq }) => lastSeq + 1)],
    });
    const prefixAt = new Map(prefixes.map(({ n, prefix }) => [n, prefix]));
    const awaited = decider && (await awaitedRuns(read, rowIds, decider));
    return {
      runs,
      hashPrefixes: runs.map(({ lastSeq }, index) =>
        head && lastSeq === headSeq ? hashPrefixOf(head.hash) : prefixAt.get(index + 1),
      ),
      ...(awaited ? { isAwaited: rowIds.map((rowId) => awaited.has(rowId)) } : {}),
      scannedTo: isCut ? (rows[changed.read - 1] as ChangedRow).last_seq : (end ?? Math.max(after, headSeq)),
      erasures: head?.erasures ?? 0,
    };
  }, caller);
}

/** `end`: the rows are all that changed up to this position; undefined: up to the head. */
type Changed = { rows: ChangedRow[]; end: number | undefined };

async function changedOfAll(read: Query, after: number, limit: number): Promise<Changed> {
  const rows = await read<ChangedRow>({ name: 'changed', text: CHANGE_STATEMENTS.all, values: [after, limit] });
  return { rows, end: rows.length < limit ? undefined : rows.at(-1)?.last_seq };
}

type Changing = { projects: readonly string[]; runId: string | undefined };
async function changedOf({ projects, runId }: Changing, read: Query, after: number, limit: number): Promise<Changed> {
  const perProject = Math.max(2, Math.ceil(limit / Math.max(1, projects.length)));
  const values = [after, perProject, projects];
  const found = await read<ChangedRow>(
    runId === undefined
      ? { name: 'changedOfProjects', text: CHANGE_STATEMENTS.ofProjects, values }
      : { name: 'changedOfRuns', text: CHANGE_STATEMENTS.ofRuns, values: [...values, runId] },
  );
  const counts = new Map<number, number>();
  let end = Number.POSITIVE_INFINITY;
  // The rows of a project are in order. There may be further ones after the last.
  for (const { n, last_seq } of found) {
    const count = (counts.get(n) ?? 0) + 1;
    counts.set(n, count);
    if (count === perProject) end = Math.min(end, last_seq);
  }
  const rows = found.filter((row) => row.last_seq <= end).sort((a, b) => a.last_seq - b.last_seq);
  if (rows.length > limit) return { rows: rows.slice(0, limit), end: rows[limit - 1]?.last_seq };
  return { rows, end: Number.isFinite(end) ? end : undefined };
}
