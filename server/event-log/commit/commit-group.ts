import type { RunRows } from '../../../shared/run.ts';
import { type Batch, StoredEvent } from '../contract/log.ts';
import { hashPrefixOf } from '../cursor.ts';
import {
  type ChainedRow,
  canonicalJson,
  type KeyOrder,
  newSalt,
  payloadHash,
  rowHash,
} from '../integrity/canonical.ts';
import { type ChainHead, CommitFold, type Folded, type FoldParts } from './commit-fold.ts';
import type { Changes, CommitRows, RunTables } from './run-rows.ts';

/**
 * One commit of a store with synchronous tables: logs the batches of one turn of the event loop in one transaction.
 *
 * 1. `begin` begins the transaction, and looks up which event ids of the batches are already stored.
 * 2. `add` folds one batch after another (`CommitFold`).
 * 3. `write` writes each event and each changed row once. Like `add`, it is a generator.
 * 4. `committed` or `failed` follows the end of the transaction.
 *
 * A group lives inside one transaction. Until the transaction ends, nothing else may change the rows that the group has
 * read.
 */

/** The stored rows of a run that the store writes inside its transaction. */
export interface WritableTables extends RunTables {
  write(changes: Changes): Generator<undefined, void>;
}

export type Entry<Tables extends RunTables> = {
  record: StoredEvent;
  rows: CommitRows<Tables>;
  row: ChainedRow;
  salt: Buffer;
};

/** The tables that a group reads and writes. All calls between `begin` and the last two are inside the transaction. */
export interface CommitTables<Tables extends RunTables> {
  /** Begins the transaction. */
  begin(): void;
  /** Calls `found` for each id of `eventIds` that the project already has. */
  findEvents(
    projectId: string,
    eventIds: readonly string[],
    found: (eventId: string, seq: number, runSeq: number) => void,
  ): void;
  openRun(key: string, projectId: string, runId: string): Tables;
  /** Inserts the events, in order, and stores the new head. The rows of their runs have been written before. */
  insertEvents(entries: readonly Entry<Tables>[], head: ChainHead): Generator<undefined, void>;
  /** The transaction is committed. Called with each run that it has read. */
  committed(run: Tables): void;
  /** The transaction is rolled back, or has not begun. */
  failed(): void;
}

export type CommitParts<Tables extends RunTables> = {
  tables: CommitTables<Tables>;
  fold: (rows: RunRows, event: never) => void;
  now: () => number;
  order: KeyOrder;
};

/** What the groups of a store share. It is made once: a commit of one event costs little more than this. */
export class GroupParts<Tables extends WritableTables> implements FoldParts<Tables, Entry<Tables>> {
  readonly tables: CommitTables<Tables>;
  readonly fold: CommitParts<Tables>['fold'];
  readonly now: () => number;
  readonly order: KeyOrder;
  readonly seal = chained<Tables>;

  constructor({ tables, fold, now, order }: CommitParts<Tables>) {
    this.tables = tables;
    this.fold = fold;
    this.now = now;
    this.order = order;
  }

  openRun(key: string, projectId: string, runId: string): Tables {
    return this.tables.openRun(key, projectId, runId);
  }
}

export class CommitGroup<Tables extends WritableTables> extends CommitFold<Tables, Entry<Tables>> {
  readonly #tables: CommitTables<Tables>;

  constructor(parts: GroupParts<Tables>, head: ChainHead) {
    super(parts, head);
    this.#tables = parts.tables;
  }

  get records(): StoredEvent[] {
    return this.items.map((entry) => entry.record);
  }

  /** Looks up the event ids of all batches together, because most of the cost is the call of the statement. */
  begin(batches: readonly Batch[]): void {
    this.#tables.begin();
    if (batches.every(({ hasNewIds }) => hasNewIds)) return;
    const eventIds = new Map<string, string[]>();
    for (const { drafts, hasNewIds } of batches) {
      if (hasNewIds) continue;
      for (const { projectId, eventId } of drafts) {
        const ofProject = eventIds.get(projectId);
        if (ofProject) ofProject.push(eventId);
        else eventIds.set(projectId, [eventId]);
      }
    }
    for (const [projectId, ids] of eventIds) {
      this.#tables.findEvents(projectId, ids, (eventId, seq, runSeq) => this.know(projectId, eventId, seq, runSeq));
    }
  }

  committed(): void {
    for (const { tables } of this.runs) this.#tables.committed(tables);
  }

  failed(): void {
    this.#tables.failed();
  }

  *write(): Generator<undefined, void> {
    for (const rows of this.runs) {
      const changes = rows.changes();
      if (changes) yield* rows.tables.write(changes);
    }
    if (this.items.length > 0) yield* this.#tables.insertEvents(this.items, this.head);
  }
}

/** Computes the row of an event, with its hashes. */
function chained<Tables extends RunTables>(
  { draft, event, recordedAtMs, rows, users }: Folded<Tables>,
  head: ChainHead,
) {
  const { projectId, runId, type, eventId } = draft;
  const { seq, runSeq, actor } = event;
  const json = canonicalJson(event);
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
  return { item: { record, rows, row, salt }, hash };
}
