import type { RunHeader, RunRows } from '../../../shared/run.ts';
import { type Batch, type ReadyDraft, type Receipt, StoredEvent } from '../contract/log.ts';
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
 * The events of one transaction: the batches of one turn of the event loop. Any store can use it.
 *
 * 1. `find` looks up the event ids of all batches.
 * 2. `add` folds one batch after another in memory, over rows that are read once. A refused batch is undone in memory and
 *    does not affect the others.
 * 3. `write` writes each event and each changed row once.
 *
 * Rejected: a SAVEPOINT for each batch. Every publisher would pay for it, and each batch would read and write the rows of its
 * run again.
 *
 * A group lives inside one transaction: until its end nothing else may change the rows that it has read.
 */

/** The last row of the log: the next row refers to it. */
export type ChainHead = { seq: number; hash: Buffer; recordedAtMs: number };

export type Entry<Tables extends RunTables> = {
  record: StoredEvent;
  rows: CommitRows<Tables>;
  row: ChainedRow;
  salt: Buffer;
};

/** What a group needs of a store, all inside the transaction. */
export interface CommitTables<Tables extends RunTables> {
  /** Calls `found` for each of the event ids that a project already has. */
  findEvents(
    projectId: string,
    eventIds: readonly string[],
    found: (eventId: string, seq: number, runSeq: number) => void,
  ): void;
  openRun(projectId: string, runId: string): Tables;
  /** Inserts events, in order, and moves the stored head. The rows of their runs are written before. */
  insertEvents(entries: readonly Entry<Tables>[], head: ChainHead): void;
}

export type CommitParts<Tables extends RunTables> = {
  tables: CommitTables<Tables>;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  order: KeyOrder;
};

export class CommitGroup<Tables extends RunTables> {
  readonly #parts: CommitParts<Tables>;
  /** Positions of events, stored before or in this group, by project and event id. */
  readonly #known = new Map<string, { seq: number; runSeq: number }>();
  readonly #runs = new Map<string, CommitRows<Tables>>();
  readonly #entries: Entry<Tables>[] = [];
  /** Of the current batch: keys of its events, its runs' rows, and keys of the runs that are new to the group. */
  readonly #batch = { events: [] as string[], rows: new Set<CommitRows<Tables>>(), runs: [] as string[] };
  /** The last `recordedAt`: most events of a group have the same. */
  #clock = { ms: Number.NaN, text: '' };
  #head: ChainHead;

  constructor(parts: CommitParts<Tables>, head: ChainHead) {
    this.#parts = parts;
    this.#head = head;
  }

  /** The end of the log once the group is written. */
  get head(): ChainHead {
    return this.#head;
  }
  get records(): StoredEvent[] {
    return this.#entries.map((entry) => entry.record);
  }

  /** Looks up the stored events of all batches at once: most of the cost is in running the statement. */
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

  /** Adds a batch. Throws the error of its check or its fold; then the group is as before. */
  add({ actor, drafts, check }: Batch): Receipt[] {
    const { events, rows: touched, runs } = this.#batch;
    const head = this.#head;
    const count = this.#entries.length;
    events.length = 0;
    runs.length = 0;
    touched.clear();
    try {
      const receipts = drafts.map((draft) => {
        const { projectId, runId, eventId } = draft;
        const eventKey = `${projectId} ${eventId}`;
        const known = this.#known.get(eventKey);
        if (known) return { seq: known.seq, runSeq: known.runSeq, eventId, isDuplicate: true };
        const rows = this.#rowsOf(projectId, runId);
        check?.(rows, draft);
        const { seq, runSeq } = this.#take(draft, actor, rows);
        const receipt = { seq, runSeq, eventId, isDuplicate: false };
        this.#known.set(eventKey, receipt);
        events.push(eventKey);
        return receipt;
      });
      for (const rows of touched) rows.accept();
      return receipts;
    } catch (error) {
      for (const rows of touched) rows.undo();
      for (const key of events) this.#known.delete(key);
      // The order of this map is the order in which new runs get their rows: it must be the order of their first events.
      for (const key of runs) this.#runs.delete(key);
      this.#entries.length = count;
      this.#head = head;
      throw error;
    }
  }

  write(): void {
    for (const rows of this.#runs.values()) rows.write();
    if (this.#entries.length > 0) this.#parts.tables.insertEvents(this.#entries, this.#head);
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

  /** Folds a draft into its run, and appends it to the log. */
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
    const record = new StoredEvent({ seq, runSeq, projectId, runId, type, json, users, event });
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
    this.#entries.push({ record, rows, row, salt });
    this.#head = { seq, hash: rowHash(row), recordedAtMs };
    return record;
  }
}

const NO_USERS: readonly string[] = [];

/** The users of an event: its audience, its approvers, and the creator of its run. */
function usersOf(draft: ReadyDraft & { approvers?: string[] }, header: RunHeader | undefined): readonly string[] {
  const { audience, approvers } = draft;
  const createdBy = header?.createdBy;
  if (!audience && !approvers) return createdBy === undefined ? NO_USERS : [createdBy];
  const users = new Set([...(audience ?? []), ...(approvers ?? [])]);
  if (createdBy !== undefined) users.add(createdBy);
  return [...users];
}
