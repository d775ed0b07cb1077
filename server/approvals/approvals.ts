import { afterDecision } from '../../shared/approval-fold.ts';
import { RunwireError } from '../../shared/errors.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type { Approval, ApprovalStatus, Decision, Standing } from '../../shared/run.ts';
import { projectsFor } from '../auth/permissions.ts';
import { type Principal, SERVER } from '../auth/principal.ts';
import { projectOfRun } from '../auth/resolve-run.ts';
import type { ApprovalPage, ApprovalQuery, StoredApproval } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { EventBus } from '../publishing/bus.ts';
import type { Caller } from '../slices.ts';
import { canDecide, refusalOf } from './rules.ts';
import { DecisionWaiters } from './waiting.ts';

/**
 * Decides approvals with `authority: 'runwire'`. A decision is an event in the log. The rules of decisions (`rules.ts`)
 * are checked inside the transaction that appends the event, against the state of the run just before. So the log
 * handles concurrent decisions one after another, and a late decision is refused with an error that contains the
 * outcome. There are no locks, and no state except the waiting callers.
 */

export type ApprovalKey = { projectId: string; runId: string; approvalId: string };
export type Outcome = Pick<Approval, 'authority' | 'requestActor'> & {
  status: Exclude<ApprovalStatus, 'pending'>;
  /** `actor` is the publisher of the decision: `decidedBy` itself, or with `authority: 'producer'` the producer. */
  decisions: (Decision & { actor: string })[];
};
export type WaitOptions = {
  runId: string;
  /** Default: the only project that has a run with this id. */
  projectId?: string | undefined;
  approvalId: string;
  /** The `actor` of the request. Default `server`, which is the actor of the server's broadcaster. */
  requestActor?: string | undefined;
  /** The system that decides. Default `runwire`. */
  authority?: Approval['authority'] | undefined;
  signal?: AbortSignal | undefined;
};

type ListOptions = Omit<ApprovalQuery, 'projects' | 'user' | 'matches'> & {
  projectId?: string | undefined;
  needsMyDecision?: boolean | undefined;
};

type ApprovalsOptions = {
  log: Log & Pick<EventLog, 'approvals' | 'runs'>;
  bus: Pick<EventBus<Registry>, 'publish'>;
  /** The current time in Unix ms. Default `Date.now`. */
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
   * Grants an approval for a principal. A second grant by the same principal changes nothing. The caller must check
   * that the principal may read the run. Throws:
   *
   * - `APPROVAL_NOT_FOUND`, `NOT_ALLOWED_TO_DECIDE`, and `PHI_REJECTED` for the comment
   * - `FORBIDDEN` if the producer decides this approval
   * - `APPROVAL_ALREADY_DECIDED` and `APPROVAL_EXPIRED`, with the `outcome`
   */
  grant(principal: Principal, key: ApprovalKey, comment?: string): Promise<Standing> {
    return this.#decide(principal, key, { type: 'approval.granted', ...(comment === undefined ? {} : { comment }) });
  }

  /** Denies an approval, which decides it at once. Throws the same errors as {@link grant}. */
  deny(principal: Principal, key: ApprovalKey, reason: string): Promise<Standing> {
    return this.#decide(principal, key, { type: 'approval.denied', reason });
  }

  /**
   * Lists the approvals in projects that a principal may read, newest request first. With `projectId`, only those of the
   * project; with `needsMyDecision`, only those that the principal can decide.
   */
  list(principal: Principal, { projectId, needsMyDecision, ...query }: ListOptions): Promise<ApprovalPage> {
    const readable = projectsFor(principal, 'read');
    const isReadable = projectId !== undefined && (readable === 'all' || readable.includes(projectId));
    return this.#log.approvals.list({
      ...query,
      user: principal.sub,
      projects: projectId === undefined ? readable : isReadable ? [projectId] : [],
      matches: needsMyDecision ? (approval) => this.canDecide(principal, approval) : undefined,
    });
  }

  /** Returns an approval; undefined if there is none. The caller must check that the principal may read the run. */
  get({ projectId, runId, approvalId }: ApprovalKey, caller: Caller): Promise<StoredApproval | undefined> {
    return this.#log.approvals.get(projectId, runId, approvalId, caller);
  }

  /** Whether a decision of a principal would be accepted and counted now. */
  canDecide(principal: Principal, approval: StoredApproval): boolean {
    return canDecide(principal, approval, this.#now());
  }

  /**
   * Resolves once an approval is decided or has expired, at once if that has happened before. The approval need not be
   * requested yet. Rejects with `APPROVAL_ID_TAKEN` if another actor requested it, or with another authority: a decision
   * of such a request is not the one that the caller waits for. Also rejects with the signal's reason, with
   * `RUN_AMBIGUOUS`, and with `UNAVAILABLE` when the server closes.
   */
  wait(options: WaitOptions): Promise<Outcome> {
    const { runId, projectId, approvalId, requestActor = SERVER, authority = 'runwire', signal } = options;
    let project = projectId;
    return this.#waiters.wait({ runId, approvalId, signal }, async (): Promise<Outcome | undefined> => {
      // The project, once found, is kept: a later run with the same id in another project must not change the answer.
      project ??= await projectOfRun(this.#log.runs, runId, undefined);
      const found = project === undefined ? undefined : await this.#log.approvals.get(project, runId, approvalId);
      if (!found) return undefined;
      const { approval } = found;
      if (approval.requestActor !== requestActor || approval.authority !== authority) {
        throw new RunwireError('APPROVAL_ID_TAKEN', 'requested by another actor, or with another authority');
      }
      if (approval.status === 'pending') return undefined;
      const decisions = approval.decisions.map((decision) => ({
        ...decision,
        actor: decision.actor ?? decision.decidedBy,
      }));
      return { status: approval.status, authority, requestActor, decisions };
    });
  }

  /** Notifies callers of {@link wait} if these events decide their approvals. Called after each commit. */
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
          const after = afterDecision(approval, {
            ...(ready as ReadyDraft & { decidedBy: string }),
            actor: principal.sub,
          });
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

/**
 * Removes the index of the draft from an error: the schema and the PHI guard report a path in a list of drafts, but the
 * caller of `grant` or `deny` passed no list.
 */
function withoutDraftIndex(error: unknown): unknown {
  if (!(error instanceof RunwireError)) return error;
  const [issue] = error.issues;
  return issue ? new RunwireError(error.code, `${issue.path}: ${issue.message}`, { path: issue.path }) : error;
}
