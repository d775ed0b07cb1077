import { afterDecision } from '../../shared/approval-fold.ts';
import { objectOf, RunwireError } from '../../shared/errors.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type {
  Approval,
  ApprovalBox,
  ApprovalCounts,
  ApprovalStatus,
  Decision,
  ListedApproval,
  Standing,
} from '../../shared/run.ts';
import { deciderOf, listScope } from '../auth/permissions.ts';
import { type Principal, SERVER } from '../auth/principal.ts';
import { projectOfRun } from '../auth/resolve-run.ts';
import type { ApprovalPage, ApprovalQuery, ApprovalWithEvidence } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { hasReached } from '../event-log/current.ts';
import { cannotDecide } from '../event-log/decidable.ts';
import { runSeqAt } from '../event-log/run-position.ts';
import type { EventBus } from '../publishing/bus.ts';
import type { Caller } from '../slices.ts';
import { changesAfter, evidenceChanged, evidenceSeq } from './evidence.ts';
import { refusalOf } from './rules.ts';
import { DecisionWaiters } from './waiting.ts';

/**
 * Decides approvals with `authority: 'runwire'`. A decision is an event in the log. The rules of decisions (`rules.ts`)
 * are checked inside the transaction that appends the event, against the state of the run just before. So the log
 * handles concurrent decisions one after another, and a late decision is refused with an error that contains the
 * outcome. There are no locks, and no state except the waiting callers.
 */

export type ApprovalKey = { projectId: string; runId: string; approvalId: string };
/** The result of an approval: its status and its decisions. */
export type Outcome = Pick<Approval, 'authority' | 'requestActor'> & {
  status: Exclude<ApprovalStatus, 'pending'>;
  /** `actor` is the publisher of the decision: `decidedBy` itself, or with `authority: 'producer'` the producer. */
  decisions: (Decision & { actor: string })[];
};
/** Options of `approvals.wait`: the approval, and a signal that ends the wait. */
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

type ListOptions = Omit<ApprovalQuery, 'projects' | 'runId' | 'user' | 'decider' | 'order'> & {
  projectId?: string | undefined;
  box?: ApprovalBox | undefined;
};
/** The words of a decider, and the position up to which the decider's view was complete. */
type Seen = { seenSeq?: number | undefined };

/** A box counts at most so many approvals. */
const MAX_COUNT = 1_000;

type ApprovalsOptions = {
  log: Log & Pick<EventLog, 'approvals' | 'runs'>;
  bus: Pick<EventBus<Registry>, 'publish'>;
  /** The current time in Unix ms. Default: that of the log. */
  now?: () => number;
};

export class Approvals {
  readonly #log: Log & Pick<EventLog, 'approvals' | 'runs'>;
  readonly #bus: Pick<EventBus<Registry>, 'publish'>;
  readonly #now: () => number;
  readonly #waiters = new DecisionWaiters();

  constructor({ log, bus, now = () => log.now() }: ApprovalsOptions) {
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
   * - `INVALID_INPUT` for a `seenSeq` above the head of the log
   * - `EVIDENCE_CHANGED`, with the `changes`, if the request or an artifact of its evidence changed after `seenSeq`
   */
  grant(principal: Principal, key: ApprovalKey, { comment, seenSeq }: Seen & { comment?: string | undefined } = {}) {
    return this.#decide(principal, key, seenSeq, { type: 'approval.granted', ...defined({ comment }) });
  }

  /** Denies an approval, which decides it at once. Throws the same errors as {@link grant}. */
  deny(principal: Principal, key: ApprovalKey, { reason, seenSeq }: Seen & { reason: string }) {
    return this.#decide(principal, key, seenSeq, { type: 'approval.denied', reason });
  }

  /**
   * Lists the approvals in projects that a principal may read, or in its run: those of a box, or all. With `projectId`, only
   * those of the project.
   */
  list(principal: Principal, { projectId, box, ...query }: ListOptions): Promise<ApprovalPage> {
    return this.#log.approvals.list({
      ...query,
      ...listScope(principal, projectId),
      user: principal.sub,
      ...this.#boxOf(principal, box),
    });
  }

  /** Counts the approvals of each box, up to {@link MAX_COUNT}. */
  async counts(
    principal: Principal,
    { projectId, signal }: Pick<ListOptions, 'projectId' | 'signal'>,
  ): Promise<ApprovalCounts> {
    const scope = { ...listScope(principal, projectId), user: principal.sub, signal, limit: MAX_COUNT };
    const count = (box: ApprovalBox) => this.#log.approvals.count({ ...scope, ...this.#boxOf(principal, box) });
    const [mine, asked, decided, expired] = await Promise.all([
      count('mine'),
      count('asked'),
      count('decided'),
      count('expired'),
    ]);
    return { mine, asked, decided, expired };
  }

  /** Returns an approval; undefined if there is none. The caller must check that the principal may read the run. */
  get({ projectId, runId, approvalId }: ApprovalKey, caller: Caller): Promise<ApprovalWithEvidence | undefined> {
    return this.#log.approvals.get(projectId, runId, approvalId, caller);
  }

  /** Returns an approval as a principal sees it. */
  listed(principal: Principal, stored: ApprovalWithEvidence): ListedApproval {
    const { projectId, runId, runName, approval, artifacts } = stored;
    const reason = cannotDecide(deciderOf(principal, this.#now()), stored);
    const answer = reason ? { canDecide: false, cannotDecide: reason } : { canDecide: true };
    return { projectId, runId, runName, ...approval, ...answer, artifacts, seq: evidenceSeq(approval, artifacts) };
  }

  #boxOf(principal: Principal, box: ApprovalBox | undefined): Pick<ApprovalQuery, 'order' | 'decider'> {
    if (box === undefined) return {};
    if (box === 'asked') return { order: { askedBy: principal.sub } };
    if (box !== 'mine') return { order: box };
    return { order: 'due', decider: deciderOf(principal, this.#now()) };
  }

  /**
   * Resolves once an approval is decided or has expired, at once if that has happened before. The approval need not be
   * requested yet. Rejects with `APPROVAL_ID_TAKEN` if another actor requested it, or with another authority: a decision
   * of such a request is not the one that the caller waits for. Also rejects with the signal's reason, with
   * `RUN_AMBIGUOUS`, and with `UNAVAILABLE` when the server closes.
   */
  async wait(options: WaitOptions): Promise<Outcome> {
    const {
      runId,
      projectId,
      approvalId,
      requestActor = SERVER,
      authority = 'runwire',
      signal,
    } = objectOf(options, 'options');
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
    seenSeq: number | undefined,
    decision: { type: string; comment?: string | undefined; reason?: string },
  ): Promise<Standing> {
    if (seenSeq !== undefined && !(await hasReached(this.#log, seenSeq))) {
      throw new RunwireError('INVALID_INPUT', 'seenSeq: above the head of the log', { path: 'seenSeq' });
    }
    const caller = { user: principal.sub };
    const seenRunSeq = seenSeq === undefined ? undefined : await runSeqAt(this.#log, key, seenSeq, caller);
    const seen = defined({ seenSeq, seenRunSeq });
    const draft = { ...decision, ...key, decidedBy: principal.sub, ...seen } as DraftOf<Registry>;
    try {
      const { receipts } = await this.#bus.publish([draft], {
        actor: principal.sub,
        check: (rows, ready) => {
          const approval = rows.approval(key.approvalId);
          const refusal = refusalOf(deciderOf(principal, this.#now()), key, approval, rows.header());
          if (refusal || !approval) throw refusal;
          const after = afterDecision(approval, {
            ...(ready as ReadyDraft & { decidedBy: string }),
            actor: principal.sub,
          });
          const standing: Standing = { status: after.status, decisions: after.decisions };
          if (after === approval) throw new CountedBefore(standing);
          const changes = seenSeq === undefined ? [] : changesAfter(approval, rows, seenSeq);
          if (changes.length > 0) throw new RunwireError('EVIDENCE_CHANGED', 'changed', { changes });
          return standing;
        },
      });
      return receipts[0]?.checked as Standing;
    } catch (error) {
      if (error instanceof CountedBefore) return error.standing;
      if (error instanceof RunwireError && error.code === 'EVIDENCE_CHANGED') {
        throw await evidenceChanged(this.#log, key, error.changes, seenSeq ?? 0, caller);
      }
      throw withoutDraftIndex(error);
    }
  }
}

/** Refuses a grant that changes nothing: the same user has granted before. */
class CountedBefore extends RunwireError {
  readonly standing: Standing;

  constructor(standing: Standing) {
    super('APPROVAL_ALREADY_DECIDED', 'granted by the same user before');
    this.standing = standing;
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

/** Returns the fields that have a value. */
const defined = <T extends object>(fields: T): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
