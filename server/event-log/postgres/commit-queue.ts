import { RunwireError } from '../../../shared/errors.ts';
import { isStorable } from '../../../shared/issues.ts';
import type { RunRows } from '../../../shared/run.ts';
import type { Health } from '../../health.ts';
import type { Batch, Receipt } from '../contract/log.ts';
import { type CommitResult, Committer, InDoubt } from './commit.ts';
import { CommitConnection, isStatementError } from './commit-connection.ts';
import { causeOf, closedError, isOutage, type PostgresDatabase, withoutValues } from './database.ts';
import type { Feed, LogState } from './feed.ts';
import type { PostgresNodes } from './nodes.ts';

/**
 * The batches that wait for their commit. One commit runs at a time; the batches that arrive meanwhile are in the next one.
 *
 * - While the database cannot be reached, batches wait, and are tried again. A batch that has waited too long is refused.
 * - If the connection fails during a commit, its batches wait until the store can be asked whether it took effect.
 * - After a failure, the condition `commit` has a problem, and a trial write every second finds out when it has ended.
 */

/** Maximum cost of a commit. Further batches wait for the next one. */
const GROUP_COST = 1_000;
/** Maximum cost of the waiting batches: at 4 KiB each, 400 MiB. */
const MAX_WAITING_COST = 100_000;
/** A batch that could not be sent is refused after this time. */
const WAIT_LIMIT_MS = 2_500;
/** The answer to a batch with a commit in doubt is `UNAVAILABLE` after this time; less once the log closes. */
const DOUBT_LIMIT_MS = 10_000;
const CLOSING_LIMIT_MS = 5_000;
const RETRY_MS = 50;
const PROBE_MS = 1_000;

export type CommitQueueParts = {
  database: PostgresDatabase;
  state: LogState;
  feed: Feed;
  nodes: Pick<PostgresNodes, 'id' | 'generation' | 'raise'>;
  fold: (rows: RunRows, event: never) => void;
  now: (() => number) | undefined;
  /** Where the database is, for operators. */
  path: string;
  health: Pick<Health, 'report'>;
  onCommit: (commit: { events: number; ms: number }) => void;
  onCommitFailure: () => void;
};

type Waiting = {
  batch: Batch;
  cost: number;
  sinceMs: number;
  resolve: (receipts: Receipt[]) => void;
  reject: (error: unknown) => void;
};

export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #connection: CommitConnection;
  readonly #committer: Committer;
  #waiting: Waiting[] = [];
  #waitingCost = 0;
  #running: Promise<void> | undefined;
  #closingAtMs = Number.POSITIVE_INFINITY;
  /** The probe's timer; defined while the condition `commit` has a problem. */
  #probe: NodeJS.Timeout | undefined;

  constructor(parts: CommitQueueParts) {
    const { database, state, nodes, fold, now } = parts;
    this.#parts = parts;
    this.#connection = new CommitConnection(database.options, {
      raise: () => nodes.raise(),
      onOpen: () => this.#committer.forget(),
    });
    const { epoch, erasures } = state;
    const onDoubt = (error: unknown) => this.#fails(error);
    this.#committer = new Committer({ connection: this.#connection, node: nodes, fold, now, epoch, erasures, onDoubt });
  }

  add(batch: Batch): Promise<Receipt[]> {
    if (this.#isClosing || this.#parts.database.isClosed) return Promise.reject(closedError());
    if (!isSendable(batch)) {
      return Promise.reject(new RunwireError('INVALID_EVENT', 'an id has a control character or a lone surrogate'));
    }
    const cost = batch.cost ?? batch.drafts.length;
    if (this.#waitingCost > 0 && this.#waitingCost + cost > MAX_WAITING_COST) {
      return Promise.reject(new RunwireError('UNAVAILABLE', 'too many events wait for the event log'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, cost, sinceMs: performance.now(), resolve, reject });
      this.#waitingCost += cost;
      this.#running ??= new Promise((resolve) => setImmediate(() => resolve(this.#run())));
    });
  }

  /** Commits or refuses all waiting batches, and closes the connection. */
  async close(): Promise<void> {
    if (!this.#isClosing) this.#closingAtMs = performance.now();
    clearTimeout(this.#probe);
    await this.#running;
    await this.#connection.close();
  }

  get #isClosing(): boolean {
    return this.#closingAtMs < Number.POSITIVE_INFINITY;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) await this.#commit(this.#take());
    this.#running = undefined;
  }

  #take(): Waiting[] {
    let cost = 0;
    let count = 0;
    for (const waiting of this.#waiting) {
      if (count > 0 && cost + waiting.cost > GROUP_COST) break;
      cost += waiting.cost;
      count++;
    }
    this.#waitingCost -= cost;
    return this.#waiting.splice(0, count);
  }

  /** Commits the batches. Repeats what had no effect while the database cannot be reached. */
  async #commit(members: Waiting[]): Promise<void> {
    let left = members;
    while (left.length > 0) {
      const error = await this.#attempt(left);
      if (error === undefined) return;
      const mayWait = !isStatementError(error) && !(error instanceof RunwireError) && isOutage(error);
      if (!mayWait && left.length > 1 && !isOutage(error)) {
        // One batch may be the cause.
        for (const member of left) await this.#commit([member]);
        return;
      }
      if (isOutage(error)) this.#fails(error);
      const late = performance.now() - WAIT_LIMIT_MS;
      const refused = mayWait && !this.#isClosing ? left.filter(({ sinceMs }) => sinceMs < late) : left;
      for (const { reject } of refused) reject(this.#parts.database.errorFor(error));
      left = left.filter((member) => !refused.includes(member));
      if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** Returns the error of a commit that had no effect. */
  async #attempt(members: readonly Waiting[]): Promise<unknown> {
    const startedMs = performance.now();
    const giveUpAt = () => Math.min(startedMs + DOUBT_LIMIT_MS, this.#closingAtMs + CLOSING_LIMIT_MS);
    let result: CommitResult;
    try {
      result = await this.#committer.commit(
        members.map(({ batch }) => batch),
        giveUpAt,
      );
    } catch (error) {
      if (!(error instanceof InDoubt)) return error ?? new Error('unknown');
      this.#report(error.cause);
      for (const { reject } of members) reject(this.#parts.database.errorFor(error));
      return undefined;
    }
    const { answers, committed } = result;
    const { onCommit, feed } = this.#parts;
    onCommit({ events: committed?.records.length ?? 0, ms: performance.now() - startedMs });
    if (this.#probe) this.#works();
    if (committed) feed.committed(committed);
    const settle = () => {
      for (const [index, { resolve, reject }] of members.entries()) {
        const answer = answers[index];
        if (answer && 'receipts' in answer) resolve(answer.receipts);
        else reject(refusalFor(answer?.error));
      }
    };
    if (committed) void feed.reached(committed.head.seq).then(settle, settle);
    else settle();
    return undefined;
  }

  #fails(error: unknown): void {
    this.#parts.onCommitFailure();
    this.#report(error);
  }

  #report(error: unknown): void {
    const { health, path } = this.#parts;
    health.report('commit', { message: causeOf(error), path, err: withoutValues(error) });
    if (!this.#isClosing) this.#probe ??= setTimeout(this.#tryWrite, PROBE_MS).unref();
  }

  #works(): void {
    clearTimeout(this.#probe);
    this.#probe = undefined;
    this.#parts.health.report('commit', undefined);
  }

  /** Writes the generation of the node, if no commit is due. */
  readonly #tryWrite = async (): Promise<void> => {
    this.#probe?.refresh();
    if (this.#isClosing || this.#running) return;
    this.#running = this.#connection
      .close()
      .then(() => this.#connection.open())
      .then(
        () => this.#works(),
        (error) => this.#report(error),
      );
    await this.#running;
    this.#running = this.#waiting.length > 0 ? this.#run() : undefined;
  };
}

/** An error of a check or a fold. */
const refusalFor = (error: unknown): RunwireError =>
  error instanceof RunwireError ? error : new RunwireError('INTERNAL', 'an internal error', { cause: error });

/** Whether PostgreSQL returns the ids unchanged, and no id contains the character that divides the texts of a commit. */
function isSendable({ actor, drafts }: Batch): boolean {
  const isId = (text: string) => isStorable(text) && !text.includes('\u0001');
  // Mostly all drafts of a batch are of one run and of few types.
  let last: Batch['drafts'][number] | undefined;
  for (const draft of drafts) {
    const hasId = (key: 'projectId' | 'runId' | 'type') => draft[key] === last?.[key] || isId(draft[key]);
    if (!isId(draft.eventId) || !hasId('projectId') || !hasId('runId') || !hasId('type')) return false;
    last = draft;
  }
  return isId(actor);
}
