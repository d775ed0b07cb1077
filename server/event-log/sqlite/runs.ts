import type { RunHeader, RunView } from '../../../shared/run.ts';
import type { RunActivity } from '../../../shared/run-activity.ts';
import { runMatcher } from '../../../shared/run-filter.ts';
import { compareApprovals, compareArtifacts, compareStages } from '../../../shared/run-order.ts';
import { type Caller, SLICE_MS, type Slice } from '../../slices.ts';
import { MAX_LISTED, PAGE_BYTES, VIEW_BYTES } from '../bounds.ts';
import type { Decider } from '../contract/decider.ts';
import type {
  ActivityQuery,
  ChangePage,
  ChangeQuery,
  ProjectRuns,
  RunPage,
  RunQuery,
  RunStore,
  ViewKey,
  ViewPage,
  ViewQuery,
} from '../contract/runs.ts';
import { waitsFor } from '../decidable.ts';
import { NewestFirst, type Source } from '../newest-first.ts';
import { activityOf } from './activity.ts';
import type { StatementSyncInstance } from './driver.ts';
import { projectsWithRuns } from './projects.ts';
import type { RowStatements } from './rows.ts';
import type { ChildTable, LogStatements } from './statements.ts';

const TABLES: readonly ChildTable[] = ['stages', 'artifacts', 'approvals'];

export type SqliteRunsParts = {
  statements: LogStatements;
  rows: RowStatements;
  slice: Slice;
  head: () => number;
  /** An erasure changes rows without a new event, so `get` cannot detect it by `lastSeq`. */
  erasures: () => number;
  hashPrefixesAt: (seqs: readonly number[]) => (string | undefined)[];
};

type RunRow = { row_id: number; created_at: string; project_id: string; run_id: string; state: string };
type ChangedRow = { row_id: number; last_seq: number; state: string };
type FoundRun = { rowId: number; header: RunHeader };
type Rows = { [List in ChildTable]: Map<string, RunView[List][number]> };

/** The rest of the contract is in `retention.ts`. */
export class SqliteRuns implements Omit<RunStore, 'remove'> {
  readonly #parts: SqliteRunsParts;

  constructor(parts: SqliteRunsParts) {
    this.#parts = parts;
  }

  get #erasures(): number {
    return this.#parts.erasures();
  }

  async projectsOf(runId: string, among?: readonly string[], caller?: Caller): Promise<string[]> {
    const { slice, statements } = this.#parts;
    if (!among) {
      return slice(() => statements.projectsOf.all(runId).map((row) => (row as RunRow).project_id), caller);
    }
    const found: string[] = [];
    let count = 0;
    do {
      await slice((until) => {
        while (count < among.length) {
          const projectId = among[count++] as string;
          if (statements.hasRun.get(projectId, runId)) found.push(projectId);
          if (performance.now() > until) return;
        }
      }, caller);
    } while (count < among.length);
    return found;
  }

  async headers(runs: readonly { projectId: string; runId: string }[], caller?: Caller) {
    const headers: (RunHeader | undefined)[] = [];
    while (headers.length < runs.length) {
      await this.#parts.slice((until) => {
        for (const { projectId, runId } of runs.slice(headers.length)) {
          headers.push(this.#find(projectId, runId)?.header);
          if (performance.now() > until) return;
        }
      }, caller);
    }
    return headers;
  }

  /**
   * Reads the rows of a run in passes, in several slices (pieces of work of 5 ms) or pages. Events may be logged meanwhile.
   * So a further pass reads the rows that have changed since the last pass began, until no event was logged during a pass.
   * The result is the state at that moment.
   */
  async get(projectId: string, runId: string, query: ViewQuery = {}): Promise<ViewPage | undefined> {
    const rows: Rows = { stages: new Map(), artifacts: new Map(), approvals: new Map() };
    // After an erasure, rows that were read may still contain the erased text, so all are read again.
    let key = query.after?.erasures === this.#erasures ? query.after : undefined;
    let bytes = 0;
    for (;;) {
      const step = await this.#parts.slice((until) => {
        const found = this.#find(projectId, runId);
        if (!found) return undefined;
        key ??= { list: 'stages', id: '', since: 0, seen: found.header.lastSeq, erasures: this.#erasures };
        if (key.erasures !== this.#erasures) return 'erased';
        const read = this.#readRows(found, key, rows, until, VIEW_BYTES - bytes);
        key = read.next;
        bytes += read.bytes;
        const { erasures } = read;
        return !key || bytes >= VIEW_BYTES ? { ...found, position: this.#parts.head(), erasures } : 'continue';
      }, query);
      if (!step) return undefined;
      if (step === 'erased') return this.get(projectId, runId, query);
      if (step === 'continue') continue;
      const next = key;
      // In a slice of its own, because the caller encodes the page in the same turn of the event loop.
      const page = await this.#parts.slice(() => {
        if (step.erasures !== this.#erasures) return undefined;
        const run: RunView = {
          ...step.header,
          stages: [...rows.stages.values()].sort(compareStages),
          artifacts: [...rows.artifacts.values()].sort(compareArtifacts),
          approvals: [...rows.approvals.values()].sort(compareApprovals),
        };
        return { run, position: step.position, ...(next ? { next } : {}) };
      }, query);
      return page ?? this.get(projectId, runId, query);
    }
  }

  header(projectId: string, runId: string, caller?: Caller): Promise<RunHeader | undefined> {
    return this.#parts.slice(() => this.#find(projectId, runId)?.header, caller);
  }

  #find(projectId: string, runId: string): FoundRun | undefined {
    const row = this.#parts.rows.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    return row && { rowId: row.row_id, header: JSON.parse(row.state) as RunHeader };
  }

  /**
   * Reads rows after `key` until the time or the bytes are used up. `next` is undefined once a pass has ended without an
   * event since its beginning.
   */
  #readRows({ rowId, header }: FoundRun, key: ViewKey, into: Rows, until: number, maxBytes: number) {
    let { list, id, since, seen } = key;
    let bytes = 0;
    const next = (): ViewKey => ({ ...key, list, id, since, seen });
    for (;;) {
      // A pass after the first reads few rows, and must end within its slice while a publisher keeps logging events.
      const end = since === 0 ? until : until + SLICE_MS;
      for (const table of TABLES.slice(TABLES.indexOf(list))) {
        if (table !== list) id = '';
        list = table;
        for (const value of this.#parts.statements.children[table].iterate(rowId, id, since)) {
          const row = value as { id: string; state: string };
          (into[table] as Map<string, unknown>).set(row.id, JSON.parse(row.state));
          id = row.id;
          bytes += row.state.length;
          if (bytes >= maxBytes || performance.now() > end) return { next: next(), bytes, erasures: key.erasures };
        }
      }
      if (header.lastSeq === seen) return { next: undefined, bytes, erasures: key.erasures };
      [list, id, since, seen] = ['stages', '', seen, header.lastSeq];
    }
  }

  /** Reads each wanted project through an index, or the whole table for all projects. */
  async list(query: RunQuery): Promise<RunPage> {
    const position = this.#parts.head();
    const matches = runMatcher(query);
    const start = await this.#parts.slice(() => this.#start(query), query);
    const rows = new NewestFirst(this.#sources(query), keyOf, start);
    const runs: RunHeader[] = [];
    let last: RunRow | undefined;
    let isDone = false;
    let looked = 0;
    let bytes = 0;
    const isFull = () => runs.length >= query.limit || looked >= MAX_LISTED || bytes >= PAGE_BYTES;
    while (!isDone && !isFull()) {
      await this.#parts.slice((until) => {
        do {
          const next = rows.next(until);
          for (const row of next.rows) {
            if (isFull()) return;
            last = row;
            looked++;
            const header = JSON.parse(row.state) as RunHeader;
            if (!matches(header) || !this.#awaits(row.row_id, header, query.decider)) continue;
            runs.push(header);
            bytes += row.state.length;
          }
          isDone = next.known === undefined;
        } while (!isDone && !isFull() && performance.now() < until);
      }, query);
    }
    if (isDone || !last) return { runs, position };
    return { runs, next: { createdAt: last.created_at, projectId: last.project_id, runId: last.run_id }, position };
  }

  /** The key below which the page begins. */
  #start({ projects, after, until = '~' }: RunQuery): string {
    if (!after || after.createdAt >= until) return textOf(until, 0);
    // A cursor may be forged. It must not reveal whether a run exists in a project that the caller may not read.
    const isReadable = projects === 'all' || projects.includes(after.projectId);
    const row = isReadable ? this.#parts.rows.findRun.get(after.projectId, after.runId) : undefined;
    // Without the run, the runs that were created at the same time come again: none may be skipped.
    return textOf(after.createdAt, (row as RunRow | undefined)?.row_id ?? Number.MAX_SAFE_INTEGER);
  }

  #sources({ projects, projectId, runId, since = '' }: RunQuery): Source<RunRow, string>[] {
    const { listProject, listRun, listAll } = this.#parts.statements;
    const source = (statement: StatementSyncInstance, ...of: string[]): Source<RunRow, string> => {
      return (below, limit) => statement.all(...of, since, ...partsOf(below), limit) as RunRow[];
    };
    if (projects === 'all') return [projectId === undefined ? source(listAll) : source(listProject, projectId)];
    const wanted = projectId === undefined ? projects : projects.filter((id) => id === projectId);
    return wanted.map((id) => (runId === undefined ? source(listProject, id) : source(listRun, id, runId)));
  }

  /** Whether an approval of a run waits for a user. Without a user, true. */
  #awaits(rowId: number, header: RunHeader, decider: Decider | undefined): boolean {
    if (!decider) return true;
    if (header.counts.approvalsPending === 0) return false;
    return this.#parts.statements.pendingApprovals
      .all(rowId)
      .some((row) => waitsFor(decider, JSON.parse((row as { state: string }).state)));
  }

  projects(query: Parameters<RunStore['projects']>[0]): Promise<ProjectRuns[]> {
    return projectsWithRuns(this.#parts, query);
  }

  namesOf(runs: readonly { projectId: string; runId: string }[], caller?: Caller): Promise<(string | undefined)[]> {
    const nameOf = ({ projectId, runId }: { projectId: string; runId: string }) =>
      (this.#parts.statements.nameOf.get(projectId, runId) as { name: string } | undefined)?.name;
    return this.#parts.slice(() => runs.map(nameOf), caller);
  }

  activity(query: ActivityQuery): Promise<RunActivity> {
    return activityOf(this.#parts, query);
  }

  async changedSince({ after, projects, runId, limit, decider, ...caller }: ChangeQuery): Promise<ChangePage> {
    const { slice, statements, head } = this.#parts;
    const { changedRuns, changedOfProject, changedOfRun } = statements;
    if (projects === 'all') {
      return slice((until) => {
        const rows = changedRuns.all(after, limit) as ChangedRow[];
        const end = rows.length < limit ? Math.max(after, head()) : (rows.at(-1) as ChangedRow).last_seq;
        return { ...this.#changesOf(rows, end, until, decider), erasures: this.#erasures };
      }, caller);
    }
    const perProject = Math.max(2, Math.ceil(limit / Math.max(1, projects.length)));
    const changedOf = (projectId: string) =>
      runId === undefined
        ? changedOfProject.all(after, perProject, projectId)
        : changedOfRun.all(after, perProject, projectId, runId);
    const found: ChangedRow[] = [];
    const erasures = this.#erasures;
    // A run that changes during this call has a `lastSeq` after the head at its start: the next call finds it.
    let scannedTo = Math.max(after, head());
    let count = 0;
    do {
      await slice((until) => {
        while (count < projects.length) {
          const rows = changedOf(projects[count++] as string) as ChangedRow[];
          found.push(...rows);
          // There may be further rows of this project after the last one.
          if (rows.length === perProject) scannedTo = Math.min(scannedTo, (rows.at(-1) as ChangedRow).last_seq);
          if (performance.now() > until) return;
        }
      }, caller);
    } while (count < projects.length);
    const rows = found.filter((row) => row.last_seq <= scannedTo).sort((a, b) => a.last_seq - b.last_seq);
    const end = rows.length > limit ? (rows[limit - 1] as ChangedRow).last_seq : scannedTo;
    return slice((until) => {
      return { ...this.#changesOf(rows.slice(0, limit), end, until, decider), erasures };
    }, caller);
  }

  /** Parses the rows until the time is used up. `end`: the rows are all that changed up to this position. */
  #changesOf(
    rows: readonly ChangedRow[],
    end: number,
    until: number,
    decider: Decider | undefined,
  ): Omit<ChangePage, 'erasures'> {
    const runs: RunHeader[] = [];
    const isAwaited: boolean[] = [];
    let scannedTo = end;
    for (const { row_id, state, last_seq } of rows) {
      const header = JSON.parse(state) as RunHeader;
      runs.push(header);
      if (decider) isAwaited.push(this.#awaits(row_id, header, decider));
      if (runs.length === rows.length || performance.now() <= until) continue;
      scannedTo = last_seq;
      break;
    }
    const hashPrefixes = this.#parts.hashPrefixesAt(runs.map(({ lastSeq }) => lastSeq));
    return { runs, hashPrefixes, ...(decider ? { isAwaited } : {}), scannedTo };
  }
}

// Position of a run in the list, as text that sorts by `createdAt` and then by the number of the row.
const DIGITS = String(Number.MAX_SAFE_INTEGER).length;
const textOf = (createdAt: string, rowId: number): string => `${createdAt} ${String(rowId).padStart(DIGITS, '0')}`;
const keyOf = (row: RunRow): string => textOf(row.created_at, row.row_id);
const partsOf = (key: string): [createdAt: string, rowId: number] => [
  key.slice(0, -DIGITS - 1),
  Number(key.slice(-DIGITS)),
];
