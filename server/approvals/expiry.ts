import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import { RESERVED_ID } from '../../shared/protocol.ts';
import type { StoredApproval } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { isOver, SYSTEM } from './rules.ts';

/**
 * Expires pending approvals: at their `expiresAt` by this server's clock, or when their run has ended. Phases:
 *
 * 1. At the start: page through all pending approvals, and expire those of ended runs.
 * 2. After each commit: check the runs that ended or requested an approval in that commit.
 * 3. Between commits: one timer waits for the next `expiresAt`.
 *
 * Each check reads the log, so a server that was down at an `expiresAt` expires the approval at its next start.
 */

/** Maximum number of approvals that are read and expired at once. */
const PAGE = 100;
/** Maximum delay of the timer. A timer ignores changes of the system clock, so the clock is read this often. */
const MAX_WAIT_MS = 60_000;

type RunKey = { projectId: string; runId: string };
type ExpiryOptions = {
  log: Log & Pick<EventLog, 'approvals'>;
  logger: Logger;
  /** The current time in Unix ms. Default `Date.now`. */
  now?: () => number;
  /** Delay before the next attempt after a failure; default 5,000. */
  retryMs?: number;
};

export class ApprovalExpiry {
  readonly #log: Log & Pick<EventLog, 'approvals'>;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #retryMs: number;
  /** Runs that ended or requested an approval since the last check. */
  #runs = new Map<string, RunKey>();
  #hasCaughtUp = false;
  #isChecking = false;
  /** Whether another check is due after the current one. */
  #isStale = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  /** Starts the first check. */
  constructor({ log, logger, now = Date.now, retryMs = 5_000 }: ExpiryOptions) {
    this.#log = log;
    this.#logger = logger;
    this.#now = now;
    this.#retryMs = retryMs;
    void this.#check();
  }

  /** Checks the runs that ended or requested an approval in these events. Called after each commit. */
  committed(records: readonly StoredEvent[]): void {
    for (const { type, projectId, runId } of records) {
      // A new approval may be due at once: its run may have ended, or its `expiresAt` may be in the past.
      if (type !== 'run.completed' && type !== 'run.failed' && type !== 'governance.required') continue;
      this.#runs.set(`${projectId} ${runId}`, { projectId, runId });
    }
    if (this.#runs.size > 0) void this.#check();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #check(): Promise<void> {
    this.#isStale = true;
    if (this.#isChecking) return;
    this.#isChecking = true;
    clearTimeout(this.#timer);
    let waitMs: number | undefined;
    while (this.#isStale && !this.#isClosed) {
      this.#isStale = false;
      waitMs = await this.#expireAll().catch((error) => {
        if (!this.#isClosed) this.#logger.error({ err: error }, 'cannot expire approvals; will retry');
        return this.#retryMs;
      });
    }
    this.#isChecking = false;
    if (waitMs !== undefined && !this.#isClosed) this.#timer = setTimeout(() => void this.#check(), waitMs).unref();
  }

  /**
   * Expires all due approvals. Resolves with the delay of the next check in ms; undefined if no pending approval has an
   * `expiresAt`, so that only a commit can make a check necessary.
   */
  async #expireAll(): Promise<number | undefined> {
    if (!this.#hasCaughtUp) await this.#catchUp();
    this.#hasCaughtUp = true;
    for (const [key, run] of this.#runs) {
      // Deleted before the check, so that a commit during the check can add the run again.
      this.#runs.delete(key);
      try {
        await this.#expireDue(run, ({ isRunOver }) => isRunOver);
      } catch (error) {
        this.#runs.set(key, run);
        throw error;
      }
    }
    const nowMs = () => this.#now();
    const next = await this.#expireDue('expiring', ({ approval }) => isOver(approval, undefined, nowMs()));
    if (next?.approval.expiresAt === undefined) return undefined;
    return Math.min(MAX_WAIT_MS, Math.max(0, Date.parse(next.approval.expiresAt) - nowMs()));
  }

  /** Expires the approvals of runs that ended while no server ran. */
  async #catchUp(): Promise<void> {
    let after: number | undefined;
    do {
      const page = await this.#log.approvals.list({ canRead: () => true, status: ['pending'], limit: PAGE, after });
      await Promise.all(page.approvals.filter(({ isRunOver }) => isRunOver).map((stored) => this.#expire(stored)));
      after = page.next;
    } while (after !== undefined && !this.#isClosed);
  }

  /**
   * Expires the due approvals of one run, or of all runs with the earliest `expiresAt` first (`expiring`). Resolves
   * with the first approval that is not due.
   */
  async #expireDue(
    of: RunKey | 'expiring',
    isDue: (stored: StoredApproval) => boolean,
  ): Promise<StoredApproval | undefined> {
    for (;;) {
      const page = await this.#log.approvals.pending(of, PAGE);
      const due = page.filter(isDue);
      await Promise.all(due.map((stored) => this.#expire(stored)));
      if (due.length < PAGE) return page.find((stored) => !due.includes(stored));
    }
  }

  /** Appends to the log without the PHI guard: the event has only fixed text, and ids that the log already has. */
  async #expire({ projectId, runId, approval: { approvalId } }: StoredApproval): Promise<void> {
    const draft = {
      type: 'approval.denied',
      projectId,
      runId,
      timestamp: new Date(this.#now()).toISOString(),
      eventId: expiryId(runId, approvalId),
      approvalId,
      decidedBy: SYSTEM,
      reason: 'expired',
      expired: true,
    } satisfies ReadyDraft & Record<string, unknown>;
    const decided = new RunwireError('APPROVAL_ALREADY_DECIDED', 'decided before it expired');
    try {
      const receipts = await this.#log.append({
        actor: SYSTEM,
        drafts: [draft],
        check: (rows) => {
          const approval = rows.approval(approvalId);
          if (approval?.status !== 'pending' || !isOver(approval, rows.header(), this.#now())) throw decided;
        },
      });
      if (receipts.some(({ isDuplicate }) => isDuplicate)) {
        throw new RunwireError('INTERNAL', 'the event id of an expiry is taken');
      }
    } catch (error) {
      if (error !== decided) throw error;
    }
  }
}

/**
 * Returns the event id of an expiry. The id depends only on the approval, so an approval expires once. The bus refuses
 * producers' event ids with the same prefix.
 */
const expiryId = (runId: string, approvalId: string): string =>
  `${RESERVED_ID}expired:${createHash('sha256').update(`${runId} ${approvalId}`).digest('base64url')}`;
