import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import { RESERVED_ID } from '../../shared/protocol.ts';
import type { StoredApproval } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { isOver, SYSTEM } from './rules.ts';

/**
 * Lets pending approvals expire, at their time by this server's clock or when their run has ended. What is due is asked of
 * the log each time, so there is one timer for the next of them, none to lose, and a server that was down when the
 * time came makes up for it when it starts.
 */

/** At once, so that they commit together. */
const PAGE = 100;
/** A wall clock may jump, and timers do not hear of it. */
const MAX_WAIT_MS = 60_000;

type RunKey = { projectId: string; runId: string };
type ExpiryOptions = {
  log: Log & Pick<EventLog, 'approvals'>;
  logger: Logger;
  /** Unix ms. */
  now?: () => number;
  /** How long after a failure it is tried again; default 5,000. */
  retryMs?: number;
};

export class ApprovalExpiry {
  readonly #log: Log & Pick<EventLog, 'approvals'>;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #retryMs: number;
  /** Runs that have ended or asked since the last look. */
  #runs = new Map<string, RunKey>();
  #hasLookedBack = false;
  #isLooking = false;
  #isCalled = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  /** Begins with what became due while no server was there. */
  constructor({ log, logger, now = Date.now, retryMs = 5_000 }: ExpiryOptions) {
    this.#log = log;
    this.#logger = logger;
    this.#now = now;
    this.#retryMs = retryMs;
    void this.#look();
  }

  /** Checks the approvals of runs that ended or requested one in these records. The server calls it after each commit. */
  committed(records: readonly StoredEvent[]): void {
    for (const { type, projectId, runId } of records) {
      // A request may come after the end of its run, or be late itself.
      if (type !== 'run.completed' && type !== 'run.failed' && type !== 'governance.required') continue;
      this.#runs.set(`${projectId} ${runId}`, { projectId, runId });
    }
    if (this.#runs.size > 0) void this.#look();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    this.#isCalled = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    clearTimeout(this.#timer);
    let waitMs: number | undefined;
    while (this.#isCalled && !this.#isClosed) {
      this.#isCalled = false;
      waitMs = await this.#expireAll().catch((error) => {
        if (!this.#isClosed) this.#logger.error({ err: error }, 'approvals could not expire, and will be tried again');
        return this.#retryMs;
      });
    }
    this.#isLooking = false;
    if (waitMs !== undefined && !this.#isClosed) this.#timer = setTimeout(() => void this.#look(), waitMs).unref();
  }

  /** Resolves with when to look again, in ms, if nothing happens before. */
  async #expireAll(): Promise<number | undefined> {
    if (!this.#hasLookedBack) await this.#lookBack();
    this.#hasLookedBack = true;
    for (const [key, run] of this.#runs) {
      // Before the look: what happens to the run meanwhile calls for another.
      this.#runs.delete(key);
      try {
        await this.#expireOf(run, ({ isRunOver }) => isRunOver);
      } catch (error) {
        this.#runs.set(key, run);
        throw error;
      }
    }
    const nowMs = () => this.#now();
    const next = await this.#expireOf('expiring', ({ approval }) => isOver(approval, undefined, nowMs()));
    if (next?.approval.expiresAt === undefined) return undefined;
    return Math.min(MAX_WAIT_MS, Math.max(0, Date.parse(next.approval.expiresAt) - nowMs()));
  }

  /** Runs that ended while no server was there to hear of it. */
  async #lookBack(): Promise<void> {
    let after: number | undefined;
    do {
      const page = await this.#log.approvals.list({ canRead: () => true, status: ['pending'], limit: PAGE, after });
      await Promise.all(page.approvals.filter(({ isRunOver }) => isRunOver).map((kept) => this.#expire(kept)));
      after = page.next;
    } while (after !== undefined && !this.#isClosed);
  }

  /** Lets expire what is due. Resolves with the first that is not, if there is one. */
  async #expireOf(
    of: RunKey | 'expiring',
    isDue: (kept: StoredApproval) => boolean,
  ): Promise<StoredApproval | undefined> {
    for (;;) {
      const page = await this.#log.approvals.pending(of, PAGE);
      const due = page.filter(isDue);
      await Promise.all(due.map((kept) => this.#expire(kept)));
      if (due.length < PAGE) return page.find((kept) => !due.includes(kept));
    }
  }

  /** Past bus and guard: there is nothing in it that a producer wrote, but ids that are in the log already. */
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
    const decided = new RunwireError('APPROVAL_ALREADY_DECIDED', 'decided before it could expire');
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

/** Fixed, so that an approval expires once on however many servers. Producers may not use ids of this kind. */
const expiryId = (runId: string, approvalId: string): string =>
  `${RESERVED_ID}expired:${createHash('sha256').update(`${runId} ${approvalId}`).digest('base64url')}`;
