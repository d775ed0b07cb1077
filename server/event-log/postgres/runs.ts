import { RunwireError } from '../../../shared/errors.ts';
import { isStorable } from '../../../shared/issues.ts';
import type { RunHeader } from '../../../shared/run.ts';
import type { RunActivity } from '../../../shared/run-activity.ts';
import { runMatcher } from '../../../shared/run-filter.ts';
import type { Caller } from '../../slices.ts';
import { PAGE_BYTES } from '../bounds.ts';
import type { Log } from '../contract/log.ts';
import type {
  ActivityQuery,
  ChangePage,
  ChangeQuery,
  ProjectRuns,
  RunPage,
  RunQuery,
  RunStore,
  ViewPage,
  ViewQuery,
} from '../contract/runs.ts';
import type { Projects } from '../contract/search.ts';
import { hasReached } from '../current.ts';
import { activityOf } from './activity.ts';
import { changedSince } from './changed-runs.ts';
import type { PostgresDatabase, Query } from './database.ts';
import { type Key, Keyset, type Order } from './keyset.ts';
import { projectsWithRuns } from './projects.ts';
import { headerOf } from './rows.ts';
import { awaitedRuns, type FoundHeader, readHeaders } from './run-rows.ts';
import { readView } from './view.ts';

const RUNS_AT_ONCE = 100;

export type PostgresRunsParts = {
  database: PostgresDatabase;
  log: Pick<Log, 'head' | 'reached'>;
};

type RunName = { projectId: string; runId: string };
type ListedRow = Key & { project_id: string; run_id: string; is_wanted: boolean };

/** The runs of a list, newest first. $5: the wanted states. $6: whether only runs with a pending approval are wanted. */
export const LISTED: Order = {
  name: 'listRuns',
  table: 'runs',
  at: 'created_at',
  num: 'row_id',
  // With EXISTS instead of LIMIT, PostgreSQL may read the pending approvals of all runs.
  columns: `project_id, run_id, ($5::text[] IS NULL OR status = ANY ($5)) AND (NOT $6::boolean OR (
    SELECT true FROM approvals a WHERE a.run_row = runs.row_id AND a.status = 'pending' LIMIT 1) IS TRUE) AS is_wanted`,
};

/** $7: the id of the runs. */
export const LISTED_BY_ID: Order = { ...LISTED, name: 'listRunsById', where: 'run_id = $7' };

export const RUN_STATEMENTS = {
  rowId: 'SELECT row_id FROM runs WHERE project_id = $1 AND run_id = $2',
  projectsOf: 'SELECT project_id FROM runs WHERE run_id = $1 ORDER BY project_id',
  projectsAmong: `SELECT p.project_id FROM unnest($2::text[]) WITH ORDINALITY AS p (project_id, n)
    CROSS JOIN LATERAL (SELECT 1 FROM runs WHERE project_id = p.project_id AND run_id = $1 LIMIT 1) r ORDER BY p.n`,
  headers: `SELECT p.n, r.last_seq, r.state FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (project_id, run_id, n)
    CROSS JOIN LATERAL (
      SELECT last_seq, state FROM runs WHERE project_id = p.project_id AND run_id = p.run_id LIMIT 1
    ) r`,
  names: `SELECT p.n, r.name FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS p (project_id, run_id, n)
    CROSS JOIN LATERAL (
      SELECT state::json ->> 'name' AS name FROM runs WHERE project_id = p.project_id AND run_id = p.run_id LIMIT 1
    ) r`,
};

/** The rest of the contract is in `retention.ts`. */
export class PostgresRuns implements Omit<RunStore, 'remove'> {
  readonly #parts: PostgresRunsParts;

  constructor(parts: PostgresRunsParts) {
    this.#parts = parts;
  }

  async get(projectId: string, runId: string, query: ViewQuery = {}): Promise<ViewPage | undefined> {
    if (![projectId, runId].every(isStorable)) return undefined;
    const { after } = query;
    // A cursor may be forged.
    const isValid = after !== undefined && isStorable(after.id);
    return readView(this.#parts.database, projectId, runId, { ...query, after: isValid ? after : undefined });
  }

  async header(projectId: string, runId: string, caller?: Caller): Promise<RunHeader | undefined> {
    const [header] = await this.headers([{ projectId, runId }], caller);
    return header;
  }

  async headers(runs: readonly RunName[], caller?: Caller): Promise<(RunHeader | undefined)[]> {
    return this.#ofEach<{ last_seq: number; state: string }, RunHeader>('headers', runs, headerOf, caller);
  }

  namesOf(runs: readonly RunName[], caller?: Caller): Promise<(string | undefined)[]> {
    return this.#ofEach<{ name: string }, string>('names', runs, ({ name }) => name, caller);
  }

  async projectsOf(runId: string, among?: readonly string[], caller?: Caller): Promise<string[]> {
    if (!isStorable(runId)) return [];
    const { projectsOf, projectsAmong } = RUN_STATEMENTS;
    const rows = await this.#parts.database.read<{ project_id: string }>(
      among
        ? { name: 'projectsAmong', text: projectsAmong, values: [runId, among.filter(isStorable)] }
        : { name: 'projectsOf', text: projectsOf, values: [runId] },
      caller,
    );
    return rows.map((row) => row.project_id);
  }

  async list(query: RunQuery): Promise<RunPage> {
    const { database, log } = this.#parts;
    const position = log.head;
    const { status, decider, runId, since = '', limit } = query;
    if (runId !== undefined && !isStorable(runId)) return { runs: [], position };
    const matches = runMatcher(query);
    const keys = new Keyset<ListedRow>({
      database,
      order: runId === undefined ? LISTED : LISTED_BY_ID,
      projects: projectsIn(query),
      start: await this.#start(query),
      values: [status ?? null, decider !== undefined, ...(runId === undefined ? [] : [runId])],
      firstRows: 128,
      caller: query,
    });
    const runs: RunHeader[] = [];
    let bytes = 0;
    const last = await keys.walk<FoundHeader>({
      isListed: (row) => row.is_wanted,
      isAfterEnd: ({ at }) => at < since,
      isFull: () => runs.length >= limit || bytes >= PAGE_BYTES,
      read: (rows) => this.#readAhead(rows, query),
      take: (run) => {
        if (!matches(run.header)) return;
        runs.push(run.header);
        bytes += run.bytes;
      },
    });
    if (!last) return { runs, position };
    return { runs, next: { createdAt: last.at, projectId: last.project_id, runId: last.run_id }, position };
  }

  /** Reads headers of the first rows. Undefined for a run that is removed, or without an approval that waits. */
  async #readAhead(rows: readonly ListedRow[], { decider, limit, ...caller }: RunQuery) {
    const { database } = this.#parts;
    // If most rows match, not many more headers are read than the page needs.
    const rowIds = rows.slice(0, Math.max(limit, 16)).map(({ num }) => num);
    const readOf = async (query: Query) => {
      const { found, read } = await readHeaders(query, rowIds);
      const ids = found.map(({ rowId }) => rowId);
      const awaited = decider && (await awaitedRuns(query, ids, decider));
      const headers = new Map<number, FoundHeader | undefined>(
        rowIds.slice(0, read).map((rowId) => [rowId, undefined]),
      );
      for (const run of found) if (awaited?.has(run.rowId) ?? true) headers.set(run.rowId, run);
      return headers;
    };
    return decider ? database.snapshot(readOf, caller) : readOf((statement) => database.read(statement, caller));
  }

  /** The key below which the page begins. */
  async #start({ projects, after, until = '~' }: RunQuery): Promise<Key> {
    if (!after || after.createdAt >= until) return { at: until, num: 0 };
    const { projectId, runId, createdAt } = after;
    // A cursor may be forged. It must not reveal whether a run exists in a project that the caller may not read.
    const isReadable = projects === 'all' || projects.includes(projectId);
    const [row] = isReadable
      ? await this.#parts.database.read<{ row_id: number }>({
          name: 'rowId',
          text: RUN_STATEMENTS.rowId,
          values: [projectId, runId],
        })
      : [];
    // Without the run, the runs that were created at the same time come again: none may be skipped.
    return { at: createdAt, num: row?.row_id ?? Number.MAX_SAFE_INTEGER };
  }

  activity(query: ActivityQuery): Promise<RunActivity> {
    return activityOf(this.#parts.database, query);
  }

  projects(query: Parameters<RunStore['projects']>[0]): Promise<ProjectRuns[]> {
    return projectsWithRuns(this.#parts.database, query);
  }

  async changedSince(query: ChangeQuery): Promise<ChangePage> {
    const page = await changedSince(this.#parts.database, query);
    // The page may contain events of other servers that this one has not given to its listeners yet.
    if (await hasReached(this.#parts.log, page.scannedTo)) return page;
    throw new RunwireError('UNAVAILABLE', 'this node is behind the event log');
  }

  /** Reads one value for each run, in the order of the runs. */
  async #ofEach<Row extends object, Value>(
    name: 'headers' | 'names',
    runs: readonly RunName[],
    toValue: (row: Row) => Value,
    caller?: Caller,
  ): Promise<(Value | undefined)[]> {
    const values: (Value | undefined)[] = [];
    for (let from = 0; from < runs.length; from += RUNS_AT_ONCE) {
      const some = runs.slice(from, from + RUNS_AT_ONCE);
      const ids = (of: (run: RunName) => string) => some.map((run) => (isStorable(of(run)) ? of(run) : ''));
      const rows = await this.#parts.database.read<Row & { n: number }>(
        {
          name: `${name}OfRuns`,
          text: RUN_STATEMENTS[name],
          values: [ids(({ projectId }) => projectId), ids(({ runId }) => runId)],
        },
        caller,
      );
      const found = new Map(rows.map((row) => [row.n, toValue(row)]));
      values.push(...some.map((_, index) => found.get(index + 1)));
    }
    return values;
  }
}

/** The projects of a query that the caller may read. */
function projectsIn({ projects, projectId }: Pick<RunQuery, 'projects' | 'projectId'>): Projects {
  if (projectId === undefined) return projects === 'all' ? projects : projects.filter(isStorable);
  return projects === 'all' || projects.includes(projectId) ? [projectId] : [];
}
