import { RunwireError } from '../../shared/errors.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type { ApprovalStatus, Decision } from '../../shared/run.ts';
import { afterDecision } from '../../shared/run-fold.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import { projectOfRun } from '../auth/resolve-run.ts';
import type { ApprovalPage, ApprovalQuery } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { EventBus } from '../publishing/bus.ts';
import { refusalOf } from './rules.ts';
import { DecisionWaiters } from './waiting.ts';

/**
 * Approvals with `authority: 'runwire'`. A decision is an event like any other. Its rules (`rules.ts`) run inside the
 * transaction that appends the event, on the rows just before it. So of concurrent decisions, the log takes one after the
 * other, and a late one is refused with the outcome. There are no locks, and no state but the waiters.
 */

export type ApprovalKey = { projectId: string; runId: string; approvalId: string };
/** An approval after a decision. It stays `pending` while grants are missing. */
export type Standing = { status: ApprovalStatus; decisions: Decision[] };
export type Outcome = { status: Exclude<ApprovalStatus, 'pending'>; decisions: Decision[] };
export type WaitOptions = {
  runId: string;
  /** Default: the only project that has a run with this id. */
  projectId?: string | undefined;
  approvalId: string;
  signal?: AbortSignal | undefined;
};

type ApprovalsOptions = {
  log: Log & Pick<EventLog, 'approvals' | 'runs'>;
  bus: Pick<EventBus<Registry>, 'publish'>;
  /** Unix ms. */
  now?: () => number;
};

export class Approvals {
  readonly #log: Log & Pick<EventLog, 'approvals' | 'runs'>;
  readonly #bus: Pick<EventBus<Registry>, 'publish'>;
  readonly #now: () => number;
  readonly #waiters = new DecisionWaiters();

  constructor({ log, bus, now = Date.now }: ApprovalsOptions) {
    this.#log = log;
    this.#bus = bus;
    this.#now = now;
  }

  /**
   * Grants for a principal. A second grant of the same principal changes nothing. Throws `APPROVAL_NOT_FOUND`; `FORBIDDEN`
   * where the producer decides; `NOT_ALLOWED_TO_DECIDE`; `APPROVAL_ALREADY_DECIDED` and `APPROVAL_EXPIRED` with the
   * `outcome`; `PHI_REJECTED`. The caller must check that the principal may read the run.
   */
  grant(principal: Principal, key: ApprovalKey, comment?: string): Promise<Standing> {
    return this.#decide(principal, key, { type: 'approval.granted', ...(comment === undefined ? {} : { comment }) });
  }

  /** Denies, which decides. Throws as {@link grant} does. */
  deny(principal: Principal, key: ApprovalKey, reason: string): Promise<Standing> {
    return this.#decide(principal, key, { type: 'approval.denied', reason });
  }

  /** Approvals of the projects that a principal may read, newest request first. */
  list(principal: Principal, query: Omit<ApprovalQuery, 'canRead'>): Promise<ApprovalPage> {
    return this.#log.approvals.list({ ...query, canRead: (projectId) => can(principal, 'read', { projectId }) });
  }

  /**
   * Resolves once an approval is decided or has expired; at once if that happened before. An approval that is not
   * requested yet can be waited for too. Rejects with the signal's reason, with `RUN_AMBIGUOUS`, and with `UNAVAILABLE`
   * when the server closes.
   */
  wait({ runId, projectId, approvalId, signal }: WaitOptions): Promise<Outcome> {
    let project = projectId;
    return this.#waiters.wait({ runId, approvalId, signal }, async (): Promise<Outcome | undefined> => {
      // Resolved once: a later run with the same id in another project must not change the answer.
      project ??= await projectOfRun(this.#log.runs, runId);
      const approval = project === undefined ? undefined : await this.#log.approvals.get(project, runId, approvalId);
      if (!approval || approval.status === 'pending') return undefined;
      return { status: approval.status, decisions: approval.decisions };
    });
  }

  /** Notifies the waiters of approvals that these records decide. The server calls it after each commit. */
  committed(records: readonly StoredEvent[]): void {
    this.#waiters.committed(records);
  }

  /** Rejects pending {@link wait} calls with `UNAVAILABLE`. */
  close(): void {
    this.#waiters.close();
  }

  async #decide(
    principal: Principal,
    key: ApprovalKey,
    decision: { type: string; comment?: string; reason?: string },
  ): Promise<Standing> {
    const draft = { ...decision, ...key, decidedBy: principal.sub } as DraftOf<Registry>;
    const alreadyCounted = new RunwireError('APPROVAL_ALREADY_DECIDED', 'granted by the same user before');
    let standing: Standing | undefined;
    try {
      await this.#bus.publish([draft], {
        actor: principal.sub,
        check: (rows, ready) => {
          const approval = rows.approval(key.approvalId);
          const refusal = refusalOf(principal, key.projectId, approval, rows.header(), this.#now());
          if (refusal || !approval) throw refusal;
          const after = afterDecision(approval, ready as ReadyDraft & { decidedBy: string });
          standing = { status: after.status, decisions: after.decisions };
          if (after === approval) throw alreadyCounted;
        },
      });
    } catch (error) {
      if (error !== alreadyCounted) throw withoutDraftIndex(error);
    }
    if (!standing) throw new RunwireError('INTERNAL', 'a decision was logged without its check');
    return standing;
  }
}

/** Schema and guard report a path in a list of drafts; the caller of grant and deny sent no list. */
function withoutDraftIndex(error: unknown): unknown {
  if (!(error instanceof RunwireError)) return error;
  const [issue] = error.issues;
  return issue ? new RunwireError(error.code, `${issue.path}: ${issue.message}`, { path: issue.path }) : error;
}
