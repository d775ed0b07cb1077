import { RunwireError } from '../../../shared/errors.ts';
import type { RunHeader, RunRows } from '../../../shared/run.ts';
import { type Batch, type ReadyDraft, type Receipt, StoredEvent } from '../contract/log.ts';
import { hashPrefixOf } from '../cursor.ts';
import {
  type ChainedRow,
  canonicalJson,
  type KeyOrder,
  newSalt,
  payloadHash,
  rowHash,
} from '../integrity/canonical.ts';
import { CommitRows, type RunTables } from './run-rows.ts';

/**
 * One commit: logs the batches of one turn of the event loop in one transaction. It contains no SQL, so any store can use
 * it.
 *
 * 1. `find` looks up which event ids of the batches are already stored.
 * 2. `add` folds one batch after another into the rows of its runs, in memory. Each row is read once. A refused batch is
 *    undone in memory and does not affect the other batches.
 * 3. `write` writes each event and each changed row once.
 *
 * `add` and `write` are generators: the store may leave the event loop to others at each `yield`, while its transaction stays
 * open.
 *
 * Rejected: a SAVEPOINT for each batch. Every batch would pay for it, and would read and write the rows of its run again.
 *
 * A group lives inside one transaction. Until the transaction ends, nothing else may change the rows that the group has
 * read.
 */

/** The last row of the log. The next row stores its hash. */
export type ChainHead = { seq: number; hash: Buffer; recordedAtMs: number };

/** Maxima of one run: its view is one message. */
export const MAX_STAGES = 10_000;
export const MAX_ARTIFACTS = 10_000;
export const MAX_APPROVALS = 1_000;

const YIELD_MS = 1;

export type Entry<Tables extends RunTables> = {
  record: StoredEvent;
  rows: CommitRows<Tables>;
  row: ChainedRow;
  salt: Buffer;
};

/** The tables that a group reads and writes. All calls are inside the transaction. */
export interface CommitTables<Tables extends RunTables> {
  /** Calls `found` for each id of `eventIds` that the project already has. */
  findEvents(
    projectId: string,
    eventIds: readonly string[],
    found: (eventId: string, seq: number, runSeq: number) => void,
  ): void;
  openRun(projectId: string, runId: string): Tables;
  /** Inserts the events, in order, and stores the new head. The rows of their runs have been written before. */
  insertEvents(entries: readonly Entry<Tables>[], head: ChainHead): Generator<undefined, void>;
}

export type CommitParts<Tables extends RunTables> = {
  tables: CommitTables<Tables>;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  order: KeyOrder;
};

export class CommitGroup<Tables extends RunTables> {
  readonly #parts: CommitParts<Tables>;
  /** Positions of known events: those that `find` has found, and those of this group. Key: project and event id. */
  readonly #known = new Map<string, { seq: number; runSeq: number }>();
  readonly #runs = new Map<string, CommitRows<Tables>>();
  readonly #entries: Entry<Tables>[] = [];
  /** Changes of the current batch, to undo it. */
  readonly #batch = {
    /** Keys of its events in `#known`. */
    events: [] as string[],
    /** The rows of its runs. */
    rows: new Set<CommitRows<Tables>>(),
    /** Keys in `#runs` of the runs that no earlier batch has used. */
    runs: [] as string[],
  };
  /** The last `recordedAt`, as a number and as text. Most events of a group have the same one, so it is formatted once. */
  #clock = { ms: Number.NaN, text: '' };
  #head: ChainHead;

  constructor(parts: CommitParts<Tables>, head: ChainHead) {
    this.#parts = parts;
    this.#head = head;
  }

  /** The last row of the log once the group is written. */
  get head(): ChainHead {
    return this.#head;
  }
  get records(): StoredEvent[] {
    return this.#entries.map((entry) => entry.record);
  }

  /** Looks up the event ids of all batches together, because most of the cost is the call of the statement. */
  find(batches: readonly Batch[]): void {
    const eventIds = new Map<string, string[]>();
    for (const { drafts } of batches) {
      for (const { projectId, eventId } of drafts) {
        const ofProject = eventIds.get(projectId);
        if (ofProject) ofProject.push(eventId);
        else eventIds.set(projectId, [eventId]);
      }
    }
    for (const [projectId, ids] of eventIds) {
      this.#parts.tables.findEvents(projectId, ids, (eventId, seq, runSeq) => {
        this.#known.set(`${projectId} ${eventId}`, { seq, runSeq });
      });
    }
  }

  /** Adds a batch. If its check or its fold throws, undoes the batch and throws the error again. */
  *add(batch: Batch): Generator<undefined, Receipt[]> {
    const { events, rows: touched, runs } = this.#batch;
    const head = this.#head;
    const count = this.#entries.length;
    events.length = 0;
    runs.length = 0;
    touched.clear();
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
      for (const key of events) this.#known.delete(key);
      // `write` inserts new runs in the order of this map, which must be the order of their first logged events.
      for (const key of runs) this.#runs.delete(key);
      this.#entries.length = count;
      this.#head = head;
      throw error;
    }
  }

  *write(): Generator<undefined, void> {
    for (const rows of this.#runs.values()) yield* rows.write();
    if (this.#entries.length > 0) yield* this.#parts.tables.insertEvents(this.#entries, this.#head);
  }

  #receive(draft: ReadyDraft, { actor, check }: Batch, index: number): Receipt {
    const { projectId, runId, eventId } = draft;
    const eventKey = `${projectId} ${eventId}`;
    const known = this.#known.get(eventKey);
    if (known) return { seq: known.seq, runSeq: known.runSeq, eventId, isDuplicate: true };
    const rows = this.#rowsOf(projectId, runId);
    const checked = check?.(rows, draft);
    const before = rows.header()?.counts;
    const { seq, runSeq } = this.#take(draft, actor, rows);
    checkSize(rows, before, draft, index);
    const receipt = { seq, runSeq, eventId, isDuplicate: false, ...(checked === undefined ? {} : { checked }) };
    this.#known.set(eventKey, receipt);
    this.#batch.events.push(eventKey);
    return receipt;
  }

  #rowsOf(projectId: string, runId: string): CommitRows<Tables> {
    const key = `${projectId} ${runId}`;
    let rows = this.#runs.get(key);
    if (!rows) {
      rows = new CommitRows(this.#parts.tables.openRun(projectId, runId));
      this.#runs.set(key, rows);
      this.#batch.runs.push(key);
    }
    this.#batch.rows.add(rows);
    return rows;
  }

  /** Gives a draft its position, folds it into its run, and adds it to the group. */
  #take(draft: ReadyDraft, actor: string, rows: CommitRows<Tables>): StoredEvent {
    const { projectId, runId, type, eventId } = draft;
    const head = this.#head;
    const seq = head.seq + 1;
    const runSeq = (rows.header()?.lastRunSeq ?? 0) + 1;
    const recordedAtMs = Math.max(this.#parts.now(), head.recordedAtMs);
    if (recordedAtMs !== this.#clock.ms) this.#clock = { ms: recordedAtMs, text: new Date(recordedAtMs).toISOString() };
    const event = this.#parts.order.merge(type, draft, { actor, recordedAt: this.#clock.text, seq, runSeq });
    this.#parts.fold(rows, event as never);

    const json = canonicalJson(event);
    const users = usersOf(draft, rows.header());
    const salt = newSalt();
    const hashed = payloadHash(salt, json);
    const row = {
      seq,
      projectId,
      runId,
      runSeq,
      type,
      eventId,
      actor,
      recordedAtMs,
      payloadHash: hashed,
      prevHash: head.hash,
    };
    const hash = rowHash(row);
    const hashPrefix = hashPrefixOf(hash);
    const record = new StoredEvent({ seq, runSeq, projectId, runId, type, json, hashPrefix, users, event });
    this.#entries.push({ record, rows, row, salt });
    this.#head = { seq, hash, recordedAtMs };
    return record;
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
