import type { Approval, ApprovalStatus } from '../../../shared/run.ts';
import type { Caller, Slice } from '../../slices.ts';
import type { ApprovalPage, ApprovalQuery, ApprovalStore, RunKey, StoredApproval } from '../contract/approvals.ts';
import type { RowStatements } from './rows.ts';
import { type LogStatements, PAGE_BYTES } from './statements.ts';

/** Maximum number of approvals that one call of `list` looks at: about 0.1 s of work. */
const MAX_LISTED = 10_000;

export type SqliteApprovalsParts = {
  statements: LogStatements;
  rows: RowStatements;
  slice: Slice;
};

export class SqliteApprovals implements ApprovalStore {
  readonly #parts: SqliteApprovalsParts;

  constructor(parts: SqliteApprovalsParts) {
    this.#parts = parts;
  }

  get(projectId: string, runId: string, approvalId: string, caller?: Caller): Promise<StoredApproval | undefined> {
    const { findRun, approval } = this.#parts.rows;
    return this.#parts.slice(() => {
      const run = findRun.get(projectId, runId) as { row_id: number; status: string } | undefined;
      const row = run && (approval.get(run.row_id, approvalId) as { state: string } | undefined);
      return row && toApproval({ project_id: projectId, run_id: runId, status: run.status, state: row.state });
    }, caller);
  }

  async list({ projects, status, matches, after, limit, ...caller }: ApprovalQuery): Promise<ApprovalPage> {
    const { listPending, listApprovals } = this.#parts.statements;
    const statement = status?.every((wanted) => wanted === 'pending') ? listPending : listApprovals;
    const wanted = projects === 'all' ? undefined : new Set(projects);
    const approvals: StoredApproval[] = [];
    let position = after ?? Number.MAX_SAFE_INTEGER;
    let looked = 0;
    let bytes = 0;
    let end: 'of the page' | 'of the list' | undefined;
    while (!end) {
      await this.#parts.slice((until) => {
        for (const value of statement.iterate(position)) {
          const row = value as ApprovalRow;
          if ((wanted?.has(row.project_id) ?? true) && (status?.includes(row.approval_status) ?? true)) {
            end = approvals.length === limit ? 'of the page' : undefined;
            if (end) return;
            const approval = toApproval(row);
            if (matches?.(approval) ?? true) {
              approvals.push(approval);
              bytes += row.state.length;
            }
          }
          position = row.request_seq;
          looked++;
          end = looked >= MAX_LISTED || bytes >= PAGE_BYTES ? 'of the page' : undefined;
          if (end || performance.now() > until) return;
        }
        end = 'of the list';
      }, caller);
    }
    return end === 'of the page' ? { approvals, next: position } : { approvals };
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

type RunAndState = { project_id: string; run_id: string; status: string; state: string };
type ApprovalRow = RunAndState & { approval_status: ApprovalStatus; request_seq: number };

function toApproval(value: unknown): StoredApproval {
  const row = value as RunAndState;
  return {
    projectId: row.project_id,
    runId: row.run_id,
    isRunOver: row.status === 'completed' || row.status === 'failed',
    approval: JSON.parse(row.state) as Approval,
  };
}
