import { RunwireError } from '../../../shared/errors.ts';
import type { RunHeader, RunRows } from '../../../shared/run.ts';
import type { Batch, ReadyDraft, Receipt } from '../contract/log.ts';
import type { KeyOrder } from '../integrity/canonical.ts';
import { CommitRows, type RunTables } from './run-rows.ts';

/**
 * Folds the batches of one commit into the rows of their runs, in memory. It contains no SQL, so any store can use it.
 *
 * `add` folds one batch after another. Each row is read once. A refused batch is undone in memory and does not affect the
 * other batches. `add` is a generator: the store may leave the event loop to others at each `yield`.
 *
 * Rejected: a SAVEPOINT for each batch. Every batch would pay for it, and would read and write the rows of its run again.
 *
 * The reads of `RunTables` are synchronous. A store with asynchronous reads throws {@link Missing} from them: `add` undoes the
 * batch, the store loads the row, and calls `add` again.
 */

/**
 * The last row of the log. The next row stores its hash. `recordedAt`: the time as text, which many events share; undefined
 * if this server has not logged the row.
 */
export type ChainHead = { seq: number; hash: Buffer; recordedAtMs: number; recordedAt?: string | undefined };

/** Maxima of one run: its view is one message. */
export const MAX_STAGES = 10_000;
export const MAX_ARTIFACTS = 10_000;
export const MAX_APPROVALS = 1_000;

const YIELD_MS = 1;

/** A row that a fold or a check needs, and that the store has not loaded. */
export class Missing extends Error {
  readonly row: MissingRow;
  constructor(row: MissingRow) {
    super(`a row is not loaded: ${row.kind}`);
    this.row = row;
  }
}
export type RowKind = 'stage' | 'artifact' | 'approval';
/** `running`: the running stages with a start key below `id`. `approvals`: the number of approvals. */
export type MissingRow = { projectId: string; runId: string; kind: RowKind | 'running' | 'approvals'; id: string };

/** An event that has its position and is folded. */
export type Folded<Tables extends RunTables> = {
  draft: ReadyDraft;
  /** In canonical order. */
  event: { seq: number; runSeq: number; recordedAt: string; actor: string };
  recordedAtMs: number;
  rows: CommitRows<Tables>;
  users: readonly string[];
};

export type FoldParts<Tables extends RunTables, Item> = {
  /** `key`: the `runKey` of the run. */
  openRun(key: string, projectId: string, runId: string): Tables;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  order: KeyOrder;
  /** Makes what the store writes for an event, and the hash of its row. `head`: the row before it. */
  seal(folded: Folded<Tables>, head: ChainHead): { item: Item; hash: Buffer };
};

export class CommitFold<Tables extends RunTables, Item> {
  readonly #parts: FoldParts<Tables, Item>;
  /** Positions of known events: those of `know`, and those of this commit. Key: project and event id. */
  #known: Map<string, { seq: number; runSeq: number }> | undefined;
  readonly #runs = new Map<string, CommitRows<Tables>>();
  readonly #items: Item[] = [];
  /** Changes of the current batch, to undo it. */
  readonly #batch = {
    /** Keys of its events in `#known`. */
    events: [] as string[],
    /** The rows of its runs; a run may be there more than once. */
    rows: [] as CommitRows<Tables>[],
    /** Keys in `#runs` of the runs that no earlier batch has used. */
    runs: [] as string[],
  };
  #head: ChainHead;

  constructor(parts: FoldParts<Tables, Item>, head: ChainHead) {
    this.#parts = parts;
    this.#head = head;
  }

  /** The last row of the log once the commit is written. */
  get head(): ChainHead {
    return this.#head;
  }
  /** In the order of the log. */
  get items(): readonly Item[] {
    return this.#items;
  }
  /** The runs that the batches have read, in the order of their first use by a batch that was not refused. */
  get runs(): Iterable<CommitRows<Tables>> {
    return this.#runs.values();
  }

  /** Notes the position of an event that the log has. */
  know(projectId: string, eventId: string, seq: number, runSeq: number): void {
    this.#know(`${projectId} ${eventId}`, { seq, runSeq });
  }

  /** Adds a batch. If its check or its fold throws, undoes the batch and throws the error again. */
  *add(batch: Batch): Generator<undefined, Receipt[]> {
    const { events, rows: touched, runs } = this.#batch;
    const head = this.#head;
    const count = this.#items.length;
    events.length = 0;
    runs.length = 0;
    touched.length = 0;
    try {
      const receipts: Receipt[] = [];
      let yieldedAt = performance.now();
      for (const draft of batch.drafts) {
        receipts.push(this.#receive(draft, batch, receipts.length));
        // A yield costs more than the clock.
        if (performance.now() - yieldedAt < YIELD_MS) continue;
        yield;
        yieldedAt = performance.now();
      }
      for (const rows of touched) rows.accept();
      return receipts;
    } catch (error) {
      for (const rows of touched) rows.undo();
      for (const key of events) this.#known?.delete(key);
      // New runs are inserted in the order of this map, which must be the order of their first logged events.
      for (const key of runs) this.#runs.delete(key);
      this.#items.length = count;
      this.#head = head;
      throw error;
    }
  }

  #receive(draft: ReadyDraft, { actor, check, hasNewIds }: Batch, index: number): Receipt {
    const { projectId, runId, eventId } = draft;
    const eventKey = hasNewIds ? '' : `${projectId} ${eventId}`;
    const known = hasNewIds ? undefined : this.#known?.get(eventKey);
    if (known) return { seq: known.seq, runSeq: known.runSeq, eventId, isDuplicate: true };
    const rows = this.#rowsOf(projectId, runId);
    const checked = check?.(rows, draft);
    const before = rows.header()?.counts;
    const receipt: Receipt = this.#take(draft, actor, rows);
    checkSize(rows, before, draft, index);
    if (checked !== undefined) receipt.checked = checked;
    if (!hasNewIds) {
      this.#know(eventKey, receipt);
      this.#batch.events.push(eventKey);
    }
    return receipt;
  }

  #know(key: string, position: { seq: number; runSeq: number }): void {
    this.#known ??= new Map();
    this.#known.set(key, position);
  }

  #rowsOf(projectId: string, runId: string): CommitRows<Tables> {
    const key = `${projectId} ${runId}`;
    let rows = this.#runs.get(key);
    if (!rows) {
      rows = new CommitRows(this.#parts.openRun(key, projectId, runId));
      this.#runs.set(key, rows);
      this.#batch.runs.push(key);
    }
    if (this.#batch.rows.at(-1) !== rows) this.#batch.rows.push(rows);
    return rows;
  }

  /** Gives a draft its position, folds it into its run, and adds it to the commit. */
  #take(draft: ReadyDraft, actor: string, rows: CommitRows<Tables>): Receipt {
    const head = this.#head;
    const seq = head.seq + 1;
    const runSeq = (rows.header()?.lastRunSeq ?? 0) + 1;
    const recordedAtMs = Math.max(this.#parts.now(), head.recordedAtMs);
    const known = recordedAtMs === head.recordedAtMs ? head.recordedAt : undefined;
    const recordedAt = known ?? new Date(recordedAtMs).toISOString();
    const at = { actor, recordedAt, seq, runSeq };
    const event = this.#parts.order.merge(draft.type, draft, at);
    this.#parts.fold(rows, event as never);
    const users = usersOf(draft, rows.header());
    const { item, hash } = this.#parts.seal({ draft, event, recordedAtMs, rows, users }, head);
    this.#items.push(item);
    this.#head = { seq, hash, recordedAtMs, recordedAt };
    return { seq, runSeq, eventId: draft.eventId, isDuplicate: false };
  }
}

/** Refuses a draft that adds a row to a run with the most rows of this kind. */
function checkSize(rows: CommitRows, before: RunHeader['counts'] | undefined, draft: ReadyDraft, index: number): void {
  const after = rows.header()?.counts;
  if (!after || after === before) return;
  const refuse = (what: string, field: string) => {
    const path = `events.${index}.${field}`;
    throw new RunwireError('TOO_LARGE', `${path}: the run has ${what}, the maximum`, { path });
  };
  const { stages = 0, artifacts = 0, approvalsPending = 0 } = before ?? {};
  if (after.stages > Math.max(MAX_STAGES, stages)) {
    refuse(`${MAX_STAGES} stages`, 'stages' in draft ? 'stages' : 'stageId');
  }
  if (after.artifacts > Math.max(MAX_ARTIFACTS, artifacts)) refuse(`${MAX_ARTIFACTS} artifacts`, 'artifactId');
  if (after.approvalsPending > approvalsPending && rows.approvalCount > MAX_APPROVALS) {
    refuse(`${MAX_APPROVALS} approvals`, 'approvalId');
  }
}

const NO_USERS: readonly string[] = [];

/** The users that an event is for: its audience, its approvers, and the creator of its run. */
function usersOf(draft: ReadyDraft & { approvers?: string[] }, header: RunHeader | undefined): readonly string[] {
  const { audience, approvers } = draft;
  const createdBy = header?.createdBy;
  if (!audience && !approvers) return createdBy === undefined ? NO_USERS : [createdBy];
  const users = new Set([...(audience ?? []), ...(approvers ?? [])]);
  if (createdBy !== undefined) users.add(createdBy);
  return [...users];
}
