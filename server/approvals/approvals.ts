import { RunwireError } from '../../shared/errors.ts';
import type { DraftOf, Registry } from '../../shared/registry.ts';
import type { ApprovalStatus, Decision } from '../../shared/run.ts';
import { afterDecision } from '../../shared/run-fold.ts';
import { can } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { ApprovalPage, ApprovalQuery } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { EventBus } from '../publishing/bus.ts';
import { refusalOf } from './rules.ts';

/**
 * Approvals that are decided here. A decision is an event like any other, and the rules are asked inside its transaction,
 * of the rows as they are just before it: of decisions that race, the log takes one after the other, and whoever comes
 * too late is told how it went. Nothing is locked, and nothing is kept in memory but who waits.
 */

export type ApprovalKey = { projectId: string; runId: string; approvalId: string };
/** Where an approval stands after a decision: still `pending` while grants are missing. */
export type Standing = { status: ApprovalStatus; decisions: Decision[] };
export type Outcome = { status: Exclude<ApprovalStatus, 'pending'>; decisions: Decision[] };
export type WaitOptions = {
  runId: string;
  /** Default: the only project that has such a run. */
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
  readonly #waiting = new Map<string, Set<Waiting>>();
  #isClosed = false;

  constructor({ log, bus, now = Date.now }: ApprovalsOptions) {
    this.#log = log;
    this.#bus = bus;
    this.#now = now;
  }

  /**
   * Grants once for a principal; granted again by the same one, it stays as it was. Throws `APPROVAL_NOT_FOUND`,
   * `FORBIDDEN` where a producer decides, `NOT_ALLOWED_TO_DECIDE`, `APPROVAL_ALREADY_DECIDED` and `APPROVAL_EXPIRED`
   * with the `outcome`, `PHI_REJECTED`. Whether the principal may read the run is the caller's to see to.
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
   * Resolves once an approval is decided or has expired, whoever decided and be it long ago; one that nobody has asked
   * for yet is waited for too. Rejects with the signal's reason, with `RUN_AMBIGUOUS`, and with `UNAVAILABLE` when the
   * server closes.
   */
  wait({ runId, projectId, approvalId, signal }: WaitOptions): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closedError());
      if (signal?.aborted) return reject(signal.reason);
      const key = waitKey(runId, approvalId);
      const waiting: Waiting = {
        look: () => {
          outcome().then(
            (found) => found && settle(() => resolve(found)),
            (error) => settle(() => reject(error)),
          );
        },
        fail: (error) => settle(() => reject(error)),
      };
      const abort = () => waiting.fail(signal?.reason);
      const settle = (answer: () => void) => {
        signal?.removeEventListener('abort', abort);
        const others = this.#waiting.get(key);
        others?.delete(waiting);
        if (others?.size === 0) this.#waiting.delete(key);
        answer();
      };
      let project = projectId;
      const outcome = async (): Promise<Outcome | undefined> => {
        // Once it is known which run is meant, another one of the same id changes nothing.
        project ??= await this.#projectOf(runId);
        const approval = project === undefined ? undefined : await this.#log.approvals.get(project, runId, approvalId);
        if (!approval || approval.status === 'pending') return undefined;
        return { status: approval.status, decisions: approval.decisions };
      };
      signal?.addEventListener('abort', abort);
      // First the bell, then the look: a decision in between rings.
      const all = this.#waiting.get(key) ?? new Set();
      this.#waiting.set(key, all.add(waiting));
      waiting.look();
    });
  }

  /** Checks the approvals that are waited for and decided by these records. The server calls it after each commit. */
  committed(records: readonly StoredEvent[]): void {
    if (this.#waiting.size === 0) return;
    for (const record of records) {
      if (record.type !== 'approval.granted' && record.type !== 'approval.denied') continue;
      const { approvalId } = record.event as { approvalId: string };
      for (const { look } of this.#waiting.get(waitKey(record.runId, approvalId)) ?? []) look();
    }
  }

  /** Who still waits is told `UNAVAILABLE`. */
  close(): void {
    this.#isClosed = true;
    for (const { fail } of [...this.#waiting.values()].flatMap((all) => [...all])) fail(closedError());
  }

  async #decide(
    principal: Principal,
    key: ApprovalKey,
    decision: { type: string; comment?: string; reason?: string },
  ): Promise<Standing> {
    const draft = { ...decision, ...key, decidedBy: principal.sub } as DraftOf<Registry>;
    const counted = new RunwireError('APPROVAL_ALREADY_DECIDED', 'granted by the same user before');
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
          if (after === approval) throw counted;
        },
      });
    } catch (error) {
      if (error !== counted) throw inWordsOfCall(error);
    }
    if (!standing) throw new RunwireError('INTERNAL', 'a decision was logged unseen');
    return standing;
  }

  async #projectOf(runId: string): Promise<string | undefined> {
    const projects = await this.#log.runs.projectsOf(runId);
    if (projects.length > 1) {
      throw new RunwireError('RUN_AMBIGUOUS', 'several projects have a run with this id', { path: 'projectId' });
    }
    return projects[0];
  }
}

type Waiting = { look(): void; fail(error: unknown): void };

/** A run id has no blanks. */
const waitKey = (runId: string, approvalId: string) => `${runId} ${approvalId}`;
const closedError = () => new RunwireError('UNAVAILABLE', 'the server is closing');

/** A refusal by schema or guard names its place in a list of drafts that the caller never made. */
function inWordsOfCall(error: unknown): unknown {
  if (!(error instanceof RunwireError)) return error;
  const [issue] = error.issues;
  return issue ? new RunwireError(error.code, `${issue.path}: ${issue.message}`, { path: issue.path }) : error;
}
