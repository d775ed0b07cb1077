import type { Approval } from '../../../shared/run.ts';
import type { ApprovalPage, ApprovalQuery, ApprovalStore, RunKey, StoredApproval } from '../contract/approvals.ts';
import type { RowStatements } from './rows.ts';
import type { LogStatements } from './statements.ts';

export type SqliteApprovalsParts = {
  statements: LogStatements;
  rows: RowStatements;
  slice: <T>(work: (until: number) => T) => Promise<T>;
};

export class SqliteApprovals implements ApprovalStore {
  readonly #parts: SqliteApprovalsParts;

  constructor(parts: SqliteApprovalsParts) {
    this.#parts = parts;
  }

  get(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined> {
    const { findRun, approval } = this.#parts.rows;
    return this.#parts.slice(() => {
      const run = findRun.get(projectId, runId) as { row_id: number } | undefined;
      const row = run && (approval.get(run.row_id, approvalId) as { state: string } | undefined);
      return row && (JSON.parse(row.state) as Approval);
    });
  }

  async list({ canRead, status, after, limit, signal }: ApprovalQuery): Promise<ApprovalPage> {
    const { listPending, listApprovals } = this.#parts.statements;
    const statement = status?.every((wanted) => wanted === 'pending') ? listPending : listApprovals;
    const approvals: StoredApproval[] = [];
    let position = after ?? Number.MAX_SAFE_INTEGER;
    let isDone = false;
    let hasMore = false;
    while (!isDone && !signal?.aborted) {
      await this.#parts.slice((until) => {
        for (const value of statement.iterate(position)) {
          const stored = toApproval(value);
          if (canRead(stored.projectId) && (status?.includes(stored.approval.status) ?? true)) {
            hasMore = approvals.length === limit;
            isDone = hasMore;
            if (isDone) return;
            approvals.push(stored);
          }
          position = stored.approval.order.seq;
          if (performance.now() > until) return;
        }
        isDone = true;
      });
    }
    const last = approvals.at(-1);
    return hasMore && last ? { approvals, next: last.approval.order.seq } : { approvals };
  }

  pending(of: { endedRuns: readonly RunKey[] } | 'expiring', limit: number): Promise<StoredApproval[]> {
    const { pendingOfEndedRuns, expiring } = this.#parts.statements;
    return this.#parts.slice(() => {
      if (of === 'expiring') return expiring.all(limit).map(toApproval);
      const keys = JSON.stringify(of.endedRuns.map(({ projectId, runId }) => [projectId, runId]));
      return pendingOfEndedRuns.all(keys, limit).map(toApproval);
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
