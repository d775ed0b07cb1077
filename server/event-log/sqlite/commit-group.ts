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
import { type RowStatements, SqliteRows } from './rows.ts';
import { INSERT_ROWS, type LogStatements } from './statements.ts';

/**
 * What one transaction logs: the batches of one turn of the event loop.
 *
 * Batches are folded in memory, one after the other, over rows that are read once; only then is anything written, each
 * event and each changed row once. So a batch that is refused is undone in memory, and leaves its neighbours alone. A
 * SAVEPOINT for each batch lost: every publisher would pay for it, and for reading and writing its run's rows again.
 *
 * A group must live inside one BEGIN IMMEDIATE: the tables beneath its rows are then nobody's to change, neither another
 * process's (`sqlite3` in a shell, say) nor, since all of it is synchronous, `trim`'s. It must not outlive it.
 */

/** The end of the log: what the next row builds on. */
export type ChainHead = { seq: number; hash: Buffer; recordedAtMs: number };

export type CommitGroupParts = {
  statements: LogStatements;
  rows: RowStatements;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  order: KeyOrder;
};

type Entry = { record: StoredEvent; rows: SqliteRows; row: ChainedRow; salt: Buffer };

export class CommitGroup {
  readonly #parts: CommitGroupParts;
  /** Where each event stands, logged before or in this group, by project and eventId. */
  readonly #known = new Map<string, { seq: number; runSeq: number }>();
  readonly #runs = new Map<string, SqliteRows>();
  readonly #entries: Entry[] = [];
  /** Of the batch under way: the keys of its events, the rows that it touches, and of those the keys of new ones. */
  readonly #batch = { events: [] as string[], rows: new Set<SqliteRows>(), runs: [] as string[] };
  /** The last `recordedAt`: most events of a group have the same. */
  #clock = { ms: Number.NaN, text: '' };
  #head: ChainHead;

  constructor(parts: CommitGroupParts, head: ChainHead) {
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

  /** Looks for what is logged already of all that will be added: at once, since most of the cost is in asking. */
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
      for (const value of this.#parts.statements.findEvents.all(JSON.stringify(ids), projectId)) {
        const { event_id, seq, run_seq } = value as { event_id: string; seq: number; run_seq: number };
        this.#known.set(`${projectId} ${event_id}`, { seq, runSeq: run_seq });
      }
    }
  }

  /** Takes a batch in; when its check or its fold throws, nothing of it. */
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
      // New runs get their row in the order of this map, which has to be that of their first events.
      for (const key of runs) this.#runs.delete(key);
      this.#entries.length = count;
      this.#head = head;
      throw error;
    }
  }

  /** Writes all that was taken in. */
  write(): void {
    const { insertEvent, insertEvents, insertUser, moveHead } = this.#parts.statements;
    for (const rows of this.#runs.values()) rows.write();
    const entries = this.#entries;
    const together = entries.length - (entries.length % INSERT_ROWS);
    let values: Value[] = [];
    for (const [index, entry] of entries.entries()) {
      pushValues(values, entry);
      if (index < together && (index + 1) % INSERT_ROWS !== 0) continue;
      (index < together ? insertEvents : insertEvent).run(...values);
      values = [];
    }
    for (const { record } of entries) for (const user of record.users ?? NOBODY) insertUser.run(user, record.seq);
    if (entries.length > 0) moveHead.run(this.#head.seq, this.#head.hash);
  }

  #rowsOf(projectId: string, runId: string): SqliteRows {
    const key = `${projectId} ${runId}`;
    let rows = this.#runs.get(key);
    if (!rows) {
      rows = new SqliteRows(this.#parts.rows, projectId, runId);
      this.#runs.set(key, rows);
      this.#batch.runs.push(key);
    }
    this.#batch.rows.add(rows);
    return rows;
  }

  /** Folds a draft into its run, and puts it at the end of the log. */
  #take(draft: ReadyDraft, actor: string, rows: SqliteRows): StoredEvent {
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

type Value = string | number | Uint8Array;

/** The columns of a row, in the order of the statement. */
function pushValues(values: Value[], { record, rows, row, salt }: Entry): void {
  const { seq, runSeq, projectId, type, eventId, actor, recordedAtMs, payloadHash, prevHash } = row;
  values.push(seq, rows.rowId as number, runSeq, projectId, type, eventId, actor, recordedAtMs);
  values.push(record.json, salt, payloadHash, prevHash);
}

/** Whom an event is for: its audience and approvers, and who created its run. */
function usersOf(draft: ReadyDraft & { approvers?: string[] }, header: RunHeader | undefined): readonly string[] {
  const { audience, approvers } = draft;
  const createdBy = header?.createdBy;
  if (!audience && !approvers) return createdBy === undefined ? NOBODY : [createdBy];
  const users = new Set([...(audience ?? []), ...(approvers ?? [])]);
  if (createdBy !== undefined) users.add(createdBy);
  return [...users];
}

const NOBODY: readonly string[] = [];
