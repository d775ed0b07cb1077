import { createHash } from 'node:crypto';
import { RunwireError } from '../../shared/errors.ts';
import { RESERVED_ID } from '../../shared/protocol.ts';
import { SYSTEM } from '../auth/principal.ts';
import type { RunKey, StoredApproval } from '../event-log/contract/approvals.ts';
import type { Log, ReadyDraft, StoredEvent } from '../event-log/contract/log.ts';
import type { Lease } from '../event-log/contract/nodes.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Health } from '../health.ts';
import { isOver } from './rules.ts';

/**
 * Expires pending approvals: at their `expiresAt` by the clock of the log, or when their run has ended. Of the nodes that
 * share a log, the one with the lease does it. Each step reads and expires at most one page of each kind, so that no kind
 * delays another:
 *
 * 1. The approvals that are past their `expiresAt`. One timer waits for the next one.
 * 2. The approvals of runs that ended or requested an approval in the commits since.
 * 3. When it gets the lease, the approvals of all runs that ended before.
 *
 * Each step reads the log, so a server that was down at an `expiresAt` expires the approval at its next start. An approval
 * expires once, by the event id, also while the lease changes hands.
 */

/** Maximum number of approvals that one step of one kind reads and expires. */
const PAGE = 100;
/** Maximum number of runs in one query. */
const RUNS_PAGE = 2_500;
/** Maximum number of runs that wait for their query. Beyond it, step 3 finds their approvals. */
const MAX_RUNS = 20_000;
/** Maximum delay of the timer. A timer ignores changes of the system clock, so the clock is read this often. */
const MAX_WAIT_MS = 60_000;

type ExpiryLog = Log & Pick<EventLog, 'approvals' | 'nodes'>;

type ExpiryOptions = {
  log: ExpiryLog;
  health: Health;
  /** The current time in Unix ms. Default: that of the log. */
  now?: () => number;
  /** Delay before the next attempt after a failure; default 5,000. */
  retryMs?: number;
};

export class ApprovalExpiry {
  readonly #log: ExpiryLog;
  readonly #lease: Lease;
  readonly #health: Health;
  readonly #now: () => number;
  readonly #retryMs: number;
  /** Runs that ended or requested an approval since their last query. */
  readonly #runs = new Map<string, RunKey>();
  /** Position of step 3 in the list of all pending approvals; undefined once it has reached the end. */
  #catchUp: { after: number | undefined } | undefined = { after: undefined };
  /** Earliest `expiresAt` of the pending approvals, in Unix ms. Undefined: the log must be read. */
  #nextMs: number | undefined;
  #isChecking = false;
  /** Whether another step is due after the current one. */
  #isStale = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;

  /** Asks for the lease, with which the first check starts. */
  constructor({ log, health, now = () => log.now(), retryMs = 5_000 }: ExpiryOptions) {
    this.#log = log;
    this.#health = health;
    this.#now = now;
    this.#retryMs = retryMs;
    this.#lease = log.nodes.lease('approval_expiry', (isHeld) => {
      this.#runs.clear();
      this.#catchUp = { after: undefined };
      this.#nextMs = undefined;
      if (isHeld) void this.#check();
      else clearTimeout(this.#timer);
    });
  }

  /** Checks the runs that ended or requested an approval in these events. Called after each commit. */
  committed(records: readonly StoredEvent[]): void {
    if (!this.#lease.isHeld) return;
    for (const { type, projectId, runId } of records) {
      if (type === 'governance.required') this.#nextMs = undefined;
      // A new approval may be due at once: its run may have ended.
      else if (type !== 'run.completed' && type !== 'run.failed') continue;
      const run = { projectId, runId };
      this.#runs.set(keyOf(run), run);
    }
    if (this.#runs.size > MAX_RUNS) {
      this.#runs.clear();
      this.#catchUp = { after: undefined };
    }
    if (this.#runs.size > 0 || this.#catchUp) void this.#check();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    void this.#lease.release();
  }

  get #isActive(): boolean {
    return this.#lease.isHeld && !this.#isClosed;
  }

  async #check(): Promise<void> {
    this.#isStale = true;
    if (this.#isChecking) return;
    this.#isChecking = true;
    clearTimeout(this.#timer);
    let waitMs: number | undefined;
    while (this.#isStale && this.#isActive) {
      this.#isStale = false;
      waitMs = await this.#step().catch((err) => {
        if (this.#isActive) this.#health.report('approval_expiry', { message: 'approvals cannot expire', err });
        return this.#retryMs;
      });
    }
    this.#isChecking = false;
    if (waitMs === undefined || !this.#isActive) return;
    const wake = () => {
      this.#nextMs = undefined; // Another server may have logged a request.
      void this.#check();
    };
    this.#timer = setTimeout(wake, waitMs).unref();
  }

  /** Resolves with the delay of the next check in ms; undefined if only a commit can make one necessary. */
  async #step(): Promise<number | undefined> {
    await this.#expireDue();
    await this.#expireOfEndedRuns();
    await this.#expireMissed();
    this.#health.report('approval_expiry', undefined);
    this.#isStale ||= this.#nextMs === undefined || this.#runs.size > 0 || this.#catchUp !== undefined;
    if (this.#nextMs === undefined || this.#nextMs === Number.POSITIVE_INFINITY) return undefined;
    return Math.min(MAX_WAIT_MS, Math.max(0, this.#nextMs - this.#now()));
  }

  async #expireDue(): Promise<void> {
    if (this.#nextMs !== undefined && this.#nextMs > this.#now()) return;
    this.#nextMs = Number.POSITIVE_INFINITY; // Before the read: a request during the read makes it unknown again.
    try {
      const page = await this.#log.approvals.pending('expiring', PAGE);
      const nowMs = this.#now();
      const due = page.filter(({ approval }) => isOver(approval, undefined, nowMs));
      await this.#expire(due);
      if (this.#nextMs === undefined) return;
      const { expiresAt } = page[due.length]?.approval ?? {};
      if (expiresAt !== undefined) this.#nextMs = Date.parse(expiresAt);
      else if (page.length === PAGE) this.#nextMs = undefined;
    } catch (error) {
      this.#nextMs = undefined;
      throw error;
    }
  }

  async #expireOfEndedRuns(): Promise<void> {
    if (this.#runs.size === 0) return;
    // Taken away before the query, so that a commit during the query can add a run again.
    const taken: RunKey[] = [];
    for (const [key, run] of this.#runs) {
      taken.push(run);
      this.#runs.delete(key);
      if (taken.length === RUNS_PAGE) break;
    }
    let isDone = false;
    try {
      const page = await this.#log.approvals.pending({ endedRuns: taken }, PAGE);
      await this.#expire(page);
      isDone = page.length < PAGE;
    } finally {
      if (!isDone) for (const run of taken) this.#runs.set(keyOf(run), run);
    }
  }

  async #expireMissed(): Promise<void> {
    const position = this.#catchUp;
    if (!position) return;
    const query = { projects: 'all', status: ['pending'], limit: PAGE, after: position.after } as const;
    const page = await this.#log.approvals.list(query);
    await this.#expire(page.approvals.filter(({ isRunOver }) => isRunOver));
    if (this.#catchUp === position) this.#catchUp = page.next === undefined ? undefined : { after: page.next };
  }

  async #expire(approvals: readonly StoredApproval[]): Promise<void> {
    await Promise.all(approvals.map((stored) => this.#append(stored)));
  }

  /** Appends to the log without the PHI guard: the event has only fixed text, and ids that the log already has. */
  async #append({ projectId, runId, approval: { approvalId } }: StoredApproval): Promise<void> {
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
    if (!this.#isActive) return;
    try {
      const receipts = await this.#log.append({
        actor: SYSTEM,
        drafts: [draft],
        check: (rows) => {
          const approval = rows.approval(approvalId);
          if (approval?.status === 'pending' && isOver(approval, rows.header(), this.#now())) return;
          throw new RunwireError('APPROVAL_ALREADY_DECIDED', 'decided before it expired');
        },
      });
      // Without a check: another server that shares the log has logged the expiry before.
      if (!receipts.some(({ isDuplicate }) => isDuplicate)) return;
      const known = await this.#log.approvals.get(projectId, runId, approvalId);
      if (known?.approval.status === 'pending')
        throw new RunwireError('INTERNAL', 'the event id of an expiry is taken');
    } catch (error) {
      if (!(error instanceof RunwireError && error.code === 'APPROVAL_ALREADY_DECIDED')) throw error;
    }
  }
}

const keyOf = ({ projectId, runId }: RunKey) => `${projectId} ${runId}`;

/**
 * Returns the event id of an expiry. The id depends only on the approval, so an approval expires once. The bus refuses
 * producers' event ids with the same prefix.
 */
const expiryId = (runId: string, approvalId: string): string =>
  `${RESERVED_ID}expired:${createHash('sha256').update(`${runId} ${approvalId}`).digest('base64url')}`;
