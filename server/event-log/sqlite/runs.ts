import type { Approval, RunHeader, RunView } from '../../../shared/run.ts';
import { runMatcher } from '../../../shared/run-filter.ts';
import { compareApprovals, compareArtifacts, compareStages } from '../../../shared/run-order.ts';
import type { ApprovalPage, ApprovalQuery, StoredApproval } from '../contract/approvals.ts';
import type { ChangeQuery, RunKey, RunPage, RunQuery } from '../contract/runs.ts';
import type { RowStatements } from './rows.ts';
import type { ChildTable, LogStatements } from './statements.ts';

export type SqliteViewsParts = {
  statements: LogStatements;
  rows: RowStatements;
  /** Runs a piece of reading in its turn; `until` is when it should stop. */
  slice: <T>(work: (until: number) => T) => Promise<T>;
  head: () => number;
};

/** Reads the folded runs that the log keeps beside its events. */
export class SqliteViews {
  readonly #parts: SqliteViewsParts;
  #erasures = 0;

  constructor(parts: SqliteViewsParts) {
    this.#parts = parts;
  }

  /** Rows have changed though no event came. */
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

  async run(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined> {
    const erasures = this.#erasures;
    const begun = await this.#parts.slice(() => this.#findRun(projectId, runId));
    if (!begun) return undefined;
    // A big run takes several slices, and events may come in between. So the rows that changed since the first slice
    // are read again in the last one, together with the header: that is one moment, and its position is the head.
    const stages = await this.#children<RunView['stages'][number]>('stages', begun.rowId);
    const artifacts = await this.#children<RunView['artifacts'][number]>('artifacts', begun.rowId);
    const approvals = await this.#children<RunView['approvals'][number]>('approvals', begun.rowId);
    const found = await this.#parts.slice(() => {
      if (erasures !== this.#erasures) return undefined;
      const now = this.#findRun(projectId, runId) ?? begun;
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
    // What has been read may still say what was erased meanwhile.
    return found ?? this.run(projectId, runId);
  }

  #findRun(projectId: string, runId: string): { rowId: number; header: RunHeader } | undefined {
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

  async runs(query: RunQuery): Promise<RunPage> {
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

  approval(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined> {
    return this.#parts.slice(() => {
      const run = this.#parts.rows.findRun.get(projectId, runId) as { row_id: number } | undefined;
      const row = run && (this.#parts.rows.approval.get(run.row_id, approvalId) as { state: string } | undefined);
      return row && (JSON.parse(row.state) as Approval);
    });
  }

  async approvals({ canRead, status, after, limit, signal }: ApprovalQuery): Promise<ApprovalPage> {
    const { listPending, listApprovals } = this.#parts.statements;
    const statement = status?.every((wanted) => wanted === 'pending') ? listPending : listApprovals;
    const approvals: StoredApproval[] = [];
    let position = after ?? Number.MAX_SAFE_INTEGER;
    let isDone = false;
    let hasMore = false;
    while (!isDone && !signal?.aborted) {
      await this.#parts.slice((until) => {
        for (const value of statement.iterate(position)) {
          const kept = toApproval(value);
          if (canRead(kept.projectId) && (status?.includes(kept.approval.status) ?? true)) {
            hasMore = approvals.length === limit;
            isDone = hasMore;
            if (isDone) return;
            approvals.push(kept);
          }
          position = kept.approval.order.seq;
          if (performance.now() > until) return;
        }
        isDone = true;
      });
    }
    const last = approvals.at(-1);
    return hasMore && last ? { approvals, next: last.approval.order.seq } : { approvals };
  }

  pendingApprovals(of: { projectId: string; runId: string } | 'expiring', limit: number): Promise<StoredApproval[]> {
    const { pendingOfRun, expiring } = this.#parts.statements;
    return this.#parts.slice(() =>
      (of === 'expiring' ? expiring.all(limit) : pendingOfRun.all(of.projectId, of.runId, limit)).map(toApproval),
    );
  }

  runsChangedSince({ after, projectId, limit }: ChangeQuery): Promise<{ runs: RunHeader[]; scannedTo: number }> {
    return this.#parts.slice((until) => {
      const runs: RunHeader[] = [];
      let scannedTo = after;
      for (const value of this.#parts.statements.changedRuns.iterate(after)) {
        const row = value as { last_seq: number; project_id: string; state: string };
        scannedTo = row.last_seq;
        if (projectId === undefined || row.project_id === projectId) runs.push(JSON.parse(row.state) as RunHeader);
        if (runs.length >= limit || performance.now() > until) return { runs, scannedTo };
      }
      return { runs, scannedTo: Math.max(after, this.#parts.head()) };
    });
  }
}

function toApproval(value: unknown): StoredApproval {
  const row = value as { project_id: string; run_id: string; status: string; state: string };
  return {
    projectId: row.project_id,
    runId: row.run_id,
    isRunOver: row.status === 'completed' || row.status === 'failed',
    approval: JSON.parse(row.state) as Approval,
  };
}
