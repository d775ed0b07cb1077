import type { RunHeader, RunView } from '../../../shared/run.ts';
import { runMatcher } from '../../../shared/run-filter.ts';
import { compareApprovals, compareArtifacts, compareStages } from '../../../shared/run-order.ts';
import type { ChangePage, ChangeQuery, RunKey, RunPage, RunQuery, RunStore } from '../contract/runs.ts';
import type { RowStatements } from './rows.ts';
import type { ChildTable, LogStatements } from './statements.ts';

export type SqliteRunsParts = {
  statements: LogStatements;
  rows: RowStatements;
  slice: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
  hashPrefixesAt: (seqs: readonly number[]) => (string | undefined)[];
};

/** The rest of the contract is in `retention.ts`. */
export class SqliteRuns implements Omit<RunStore, 'remove'> {
  readonly #parts: SqliteRunsParts;
  #erasures = 0;

  constructor(parts: SqliteRunsParts) {
    this.#parts = parts;
  }

  /** Called after an erasure. An erasure changes rows without a new event, so `get` cannot detect it by `lastSeq`. */
  erased(): void {
    this.#erasures++;
  }

  projectsOf(runId: string, among?: readonly string[]): Promise<string[]> {
    const { projectsOf, hasRun } = this.#parts.statements;
    return this.#parts.slice(() =>
      among
        ? among.filter((projectId) => hasRun.get(projectId, runId) !== undefined)
        : projectsOf.all(runId).map((row) => (row as { project_id: string }).project_id),
    );
  }

  async get(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined> {
    const erasures = this.#erasures;
    const begun = await this.#parts.slice(() => this.#find(projectId, runId));
    if (!begun) return undefined;
    // Reading a large run takes several slices (pieces of work of 5 ms), and events may be logged between them. So the last
    // slice reads the header again, and all rows that changed since the first slice. The result is the state at the moment
    // of the last slice.
    const stages = await this.#children<RunView['stages'][number]>('stages', begun.rowId);
    const artifacts = await this.#children<RunView['artifacts'][number]>('artifacts', begun.rowId);
    const approvals = await this.#children<RunView['approvals'][number]>('approvals', begun.rowId);
    const found = await this.#parts.slice(() => {
      if (erasures !== this.#erasures) return undefined;
      const now = this.#find(projectId, runId) ?? begun;
      if (now.header.lastSeq > begun.header.lastSeq) {
        this.#changedChildren('stages', begun, stages);
        this.#changedChildren('artifacts', begun, artifacts);
        this.#changedChildren('approvals', begun, approvals);
      }
      const run: RunView = {
        ...now.header,
        stages: [...stages.values()].sort(compareStages),
        artifacts: [...artifacts.values()].sort(compareArtifacts),
        approvals: [...approvals.values()].sort(compareApprovals),
      };
      return { run, position: this.#parts.head() };
    });
    // `found` is undefined if an erasure ran between two slices: the rows may still contain the erased text, so they are
    // read again.
    return found ?? this.get(projectId, runId);
  }

  #find(projectId: string, runId: string): { rowId: number; header: RunHeader } | undefined {
    const row = this.#parts.rows.findRun.get(projectId, runId) as { row_id: number; state: string } | undefined;
    return row && { rowId: row.row_id, header: JSON.parse(row.state) as RunHeader };
  }

  async #children<T>(table: ChildTable, runRow: number): Promise<Map<string, T>> {
    const children = new Map<string, T>();
    let after = '';
    let isDone = false;
    while (!isDone) {
      await this.#parts.slice((until) => {
        for (const value of this.#parts.statements.children[table].iterate(runRow, after)) {
          const row = value as { id: string; state: string };
          children.set(row.id, JSON.parse(row.state) as T);
          after = row.id;
          if (performance.now() > until) return;
        }
        isDone = true;
      });
    }
    return children;
  }

  #changedChildren<T>(table: ChildTable, begun: { rowId: number; header: RunHeader }, into: Map<string, T>): void {
    for (const value of this.#parts.statements.changedChildren[table].iterate(begun.rowId, begun.header.lastSeq)) {
      const row = value as { id: string; state: string };
      into.set(row.id, JSON.parse(row.state) as T);
    }
  }

  async list(query: RunQuery): Promise<RunPage> {
    const position = this.#parts.head();
    const matches = runMatcher(query);
    const runs: RunHeader[] = [];
    let after: RunKey = query.after ?? { createdAt: '~', rowId: Number.MAX_SAFE_INTEGER };
    let isDone = false;
    while (!isDone && !query.signal?.aborted) {
      await this.#parts.slice((until) => {
        const { listProject, listAll } = this.#parts.statements;
        const found =
          query.projectId === undefined
            ? listAll.iterate(after.createdAt, after.rowId)
            : listProject.iterate(query.projectId, after.createdAt, after.rowId);
        for (const value of found) {
          const row = value as { row_id: number; created_at: string; project_id: string; state: string };
          if (query.since !== undefined && row.created_at < query.since) break;
          after = { createdAt: row.created_at, rowId: row.row_id };
          if (query.canRead(row.project_id)) {
            const header = JSON.parse(row.state) as RunHeader;
            if (matches(header) && this.#hasPending(row.row_id, header, query.hasPending)) runs.push(header);
          }
          if (runs.length >= query.limit || performance.now() > until) return;
        }
        isDone = true;
      });
      if (runs.length >= query.limit) return { runs, next: after, position };
    }
    return { runs, position };
  }

  #hasPending(rowId: number, header: RunHeader, test: RunQuery['hasPending']): boolean {
    if (!test) return true;
    if (header.counts.approvalsPending === 0) return false;
    return this.#parts.statements.pendingApprovals
      .all(rowId)
      .some((row) => test(JSON.parse((row as { state: string }).state)));
  }

  changedSince({ after, projectId, limit }: ChangeQuery): Promise<ChangePage> {
    return this.#parts.slice((until) => {
      const runs: RunHeader[] = [];
      const pageTo = (scannedTo: number): ChangePage => ({
        runs,
        hashPrefixes: this.#parts.hashPrefixesAt(runs.map(({ lastSeq }) => lastSeq)),
        scannedTo,
      });
      let scannedTo = after;
      for (const value of this.#parts.statements.changedRuns.iterate(after)) {
        const row = value as { last_seq: number; project_id: string; state: string };
        scannedTo = row.last_seq;
        if (projectId === undefined || row.project_id === projectId) runs.push(JSON.parse(row.state) as RunHeader);
        if (runs.length >= limit || performance.now() > until) return pageTo(scannedTo);
      }
      return pageTo(Math.max(after, this.#parts.head()));
    });
  }
}
