import type { Approval, ApprovalStatus, Artifact } from '../../../shared/run.ts';
import type { Caller, Slice } from '../../slices.ts';
import { MAX_LISTED, PAGE_BYTES } from '../bounds.ts';
import type {
  ApprovalOrder,
  ApprovalPage,
  ApprovalQuery,
  ApprovalStore,
  ApprovalWithEvidence,
  RunKey,
  StoredApproval,
} from '../contract/approvals.ts';
import { cannotDecide } from '../decidable.ts';
import type { RowStatements } from './rows.ts';
import type { LogStatements } from './statements.ts';

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

  get(
    projectId: string,
    runId: string,
    approvalId: string,
    caller?: Caller,
  ): Promise<ApprovalWithEvidence | undefined> {
    const { findRun, approval } = this.#parts.rows;
    return this.#parts.slice(() => {
      const run = findRun.get(projectId, runId) as { row_id: number; status: string } | undefined;
      const row = run && (approval.get(run.row_id, approvalId) as { state: string } | undefined);
      if (!row) return undefined;
      const { row_id: run_row, status } = run;
      return this.#withEvidence({ project_id: projectId, run_id: runId, run_row, status, state: row.state });
    }, caller);
  }

  async list(query: ApprovalQuery): Promise<ApprovalPage> {
    const approvals: ApprovalWithEvidence[] = [];
    let bytes = 0;
    const next = await this.#walk(query, (row) => {
      if (approvals.length === query.limit || bytes >= PAGE_BYTES) return 'before it';
      const approval = this.#withEvidence(row);
      if (query.decider && cannotDecide(query.decider, approval)) return undefined;
      approvals.push(approval);
      bytes += row.state.length + JSON.stringify(approval.artifacts).length;
      return undefined;
    });
    return next === undefined ? { approvals } : { approvals, next };
  }

  async count(query: Omit<ApprovalQuery, 'after'>): Promise<number> {
    let count = 0;
    await this.#walk(query, (row) => {
      if (count === query.limit) return 'before it';
      if (!query.decider || !cannotDecide(query.decider, toApproval(row))) count++;
      return undefined;
    });
    return count;
  }

  /**
   * Calls `visit` for the approvals of a query in their order, until it returns `before it`, or for a bounded number of
   * rows. Returns the place of the last approval that it has passed; undefined at the end of the list.
   */
  async #walk(
    { projects, runId, order = 'requested', status, after, ...caller }: ApprovalQuery,
    visit: (row: ApprovalRow) => 'before it' | undefined,
  ): Promise<number | undefined> {
    const { read, start } = this.#orderOf(order, status);
    const wanted = projects === 'all' ? undefined : new Set(projects);
    let place = start;
    let looked = 0;
    let end: 'of the page' | 'of the list' | undefined;
    while (!end) {
      await this.#parts.slice((until) => {
        if (after !== undefined && place === start) place = this.#placeOf(after);
        for (const value of read(place)) {
          const row = value as ApprovalRow;
          const isListed =
            (wanted?.has(row.project_id) ?? true) &&
            (runId === undefined || row.run_id === runId) &&
            (status?.includes(row.approval_status) ?? true);
          end = (isListed && visit(row)) || looked >= MAX_LISTED ? 'of the page' : undefined;
          if (end) return;
          place = row;
          looked++;
          if (performance.now() > until) return;
        }
        end = 'of the list';
      }, caller);
    }
    return end === 'of the page' ? place.request_seq : undefined;
  }

  #orderOf(order: ApprovalOrder, status: ApprovalQuery['status']): Order {
    const { listDue, listDecided, listExpired, listAsked, listPending, listApprovals } = this.#parts.statements;
    if (order === 'due') return { start: FIRST, read: (row) => listDue.iterate(row.due_at, row.request_seq) };
    if (order === 'decided')
      return { start: LAST, read: (row) => listDecided.iterate(row.decided_at, row.request_seq) };
    if (order === 'expired')
      return { start: LAST, read: (row) => listExpired.iterate(row.decided_at, row.request_seq) };
    if (order !== 'requested') {
      const { askedBy } = order;
      return { start: LAST, read: ({ request_seq: seq }) => listAsked.iterate(askedBy, seq, askedBy, seq) };
    }
    const statement = status?.every((wanted) => wanted === 'pending') ? listPending : listApprovals;
    return { start: LAST, read: (row) => statement.iterate(row.request_seq) };
  }

  #placeOf(requestSeq: number): Place {
    const place = this.#parts.statements.placeOfApproval.get(requestSeq) as Omit<Place, 'request_seq'> | undefined;
    // For the orders by `request_seq`, which need no further column, also a position of another event is a place.
    return { due_at: '~', decided_at: '', ...place, request_seq: requestSeq };
  }

  #withEvidence(row: RunAndState & { run_row: number }): ApprovalWithEvidence {
    const stored = toApproval(row);
    const artifacts = [...new Set(stored.approval.evidence)].flatMap((artifactId) => {
      const found = this.#parts.rows.artifact.get(row.run_row, artifactId) as { state: string } | undefined;
      return found ? [JSON.parse(found.state) as Artifact] : [];
    });
    const run = this.#parts.statements.nameOfRun.get(row.run_row) as { name: string } | undefined;
    return { ...stored, artifacts, runName: run?.name ?? row.run_id };
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
/** The place of an approval in each order. */
type Place = { request_seq: number; due_at: string; decided_at: string | null };
type ApprovalRow = RunAndState & Place & { run_row: number; approval_status: ApprovalStatus };
type Order = { start: Place; read: (after: Place) => Iterable<unknown> };

/** The places before all others: upwards, and downwards. */
const FIRST: Place = { request_seq: 0, due_at: '', decided_at: '' };
const LAST: Place = { request_seq: Number.MAX_SAFE_INTEGER, due_at: '~', decided_at: '~' };

function toApproval(value: unknown): StoredApproval {
  const row = value as RunAndState;
  return {
    projectId: row.project_id,
    runId: row.run_id,
    isRunOver: row.status === 'completed' || row.status === 'failed',
    approval: JSON.parse(row.state) as Approval,
  };
}
