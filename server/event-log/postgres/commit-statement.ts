import { randomBytes } from 'node:crypto';
import type { Approval, Artifact, Stage } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import type { Folded } from '../commit/commit-fold.ts';
import { CachedRun, type RunRow, runKey } from '../commit/run-cache.ts';
import type { Changes, CommitRows } from '../commit/run-rows.ts';
import { type ReadyDraft, StoredEvent } from '../contract/log.ts';
import { canonicalJson, newSalt } from '../integrity/canonical.ts';
import type { Statement } from './database.ts';
import { approvalState, artifactState, headerState } from './rows.ts';

/** The parameters of `runwire_commit` (functions.ts), and what follows from its answer. */

/** Bytes of events and rows that one statement carries, about: more are divided over several in one transaction. */
const PART_LENGTH = 2 * 1024 * 1024;

/** An event before the database has given its position and time. The JSON is cut around them. */
export type Item = {
  folded: Folded<CachedRun>;
  json: readonly [beforeTime: string, beforeSeq: string, end: string];
  salt: Buffer;
};

/** Texts that stand for position and time while an event is made JSON. Random: no event contains them. */
const TIME = randomBytes(16).toString('hex');
const SEQ = randomBytes(16).toString('hex');

export function seal(folded: Folded<CachedRun>): Item {
  const event = folded.event as { seq: unknown; recordedAt: string };
  const { seq, recordedAt } = event;
  event.seq = SEQ;
  event.recordedAt = TIME;
  const json = canonicalJson(event);
  event.seq = seq;
  event.recordedAt = recordedAt;
  const time = json.indexOf(TIME);
  const quoted = json.indexOf(SEQ, time) - 1;
  const cut = [
    json.slice(0, time),
    json.slice(time + TIME.length, quoted),
    json.slice(quoted + SEQ.length + 2),
  ] as const;
  return { folded, json: cut, salt: newSalt() };
}

/** `base`: the position before the first event. `hashes`: 4 bytes of the row before it, and of each event. */
export type Given = {
  base: number;
  atMs: number;
  hashes: Buffer;
  /** Row ids of the runs. Undefined if the answer was lost, and the commit found afterwards. */
  rowIds: readonly number[] | undefined;
};

/** The node that commits, and the state of the log on which the rows were read. */
export type Basis = { nodeId: string; generation: number; epoch: string; erasures: number; nowMs: number | undefined };

type Changed =
  | { kind: 'stage'; id: string; row: Stage; state: string; isNew: boolean }
  | { kind: 'artifact'; id: string; row: Artifact; state: string; isNew: boolean }
  | { kind: 'approval'; id: string; row: Approval; state: string; isNew: boolean };

/** Columns of rows that one statement carries. */
class Columns {
  readonly #lists: (string | number)[][];
  constructor(count: number) {
    this.#lists = Array.from({ length: count }, () => []);
  }
  push(...values: (string | number)[]): void {
    for (let index = 0; index < values.length; index++) this.#lists[index]?.push(values[index] as string | number);
  }
  /** The first `numbers` columns as arrays of PostgreSQL, the others as texts that are divided by chr(1). */
  values(numbers: number): string[] {
    return this.#lists.map((list, index) => (index < numbers ? `{${list.join(',')}}` : list.join('\u0001')));
  }
}

/** Refused drafts, and the runs that their checks have read and that do not change. */
export type Refused = { drafts: readonly ReadyDraft[]; runs: readonly CachedRun[] };

type ChangedRun = { rows: CommitRows<CachedRun>; changes: Changes; state: string };
type ChangedRow = Changed & { run: number };

/** What one commit writes: the events of `items`, and the changed rows of `runs`. */
export class CommitStatement {
  readonly #items: readonly Item[];
  /** The runs that change: the stored ones, then the new ones in the order of their first events. */
  readonly #runs: readonly ChangedRun[];
  readonly #stored: number;
  /** Runs that are read, do not change, and must still have their version. */
  readonly #read: readonly CachedRun[];
  /** What must still hold for the batches that a check has refused. */
  readonly #refused: readonly ReadyDraft[];
  /** Numbers of the runs in the parameters, from 1. */
  readonly #numbers = new Map<CommitRows<CachedRun>, number>();
  /** The provisional position before the first event. */
  readonly #base: number;
  readonly #changed: readonly ChangedRow[];
  readonly #events: readonly (readonly Item[])[];
  readonly #rows: readonly (readonly ChangedRow[])[];

  constructor(items: readonly Item[], runs: Iterable<CommitRows<CachedRun>>, refused: Refused, base: number) {
    const [stored, added, read]: [ChangedRun[], ChangedRun[], CachedRun[]] = [[], [], []];
    for (const rows of runs) {
      const changes = rows.changes();
      if (!changes) read.push(rows.tables);
      else (rows.tables.row ? stored : added).push({ rows, changes, state: headerState(changes.header) });
    }
    this.#items = items;
    this.#runs = [...stored, ...added];
    this.#stored = stored.length;
    this.#read = [...read, ...refused.runs];
    this.#refused = refused.drafts;
    this.#base = base;
    for (const [index, { rows }] of this.#runs.entries()) this.#numbers.set(rows, index + 1);
    this.#changed = this.#runs.flatMap(({ changes }, index) => changedRows(changes, index + 1));
    this.#events = divide(items, ({ json }) => json[0].length + json[1].length + json[2].length);
    this.#rows = divide(this.#changed, ({ state }) => state.length);
  }

  /** Whether the commit takes several statements, which need one transaction. */
  get isLarge(): boolean {
    return Math.max(this.#events.length, this.#rows.length) > 1;
  }

  /** The statements of the commit. Those after the first need the answer of the first, and one transaction. */
  *parts(basis: Basis): Generator<Statement, void, Given> {
    const count = Math.max(1, this.#events.length, this.#rows.length);
    let given: Given | undefined;
    for (let part = 0; part < count; part++) {
      const items = this.#events[part] ?? [];
      const changed = this.#rows[part] ?? [];
      const stages = changed.filter(({ kind }) => kind === 'stage').sort((a, b) => Number(a.isNew) - Number(b.isNew));
      given = yield statement([
        ...[basis.nodeId, basis.generation, basis.epoch, basis.erasures, given?.atMs ?? basis.nowMs ?? null],
        ...[given?.base ?? null, this.#stored, this.#runs.length - this.#stored],
        stages.filter(({ isNew }) => !isNew).length,
        ...this.#runColumns(given),
        ...this.#eventColumns(items),
        ...this.#refusedColumns(),
        ...this.#userColumns(items),
        ...this.#rowColumns([...stages, ...changed.filter(({ kind }) => kind !== 'stage')]),
      ]);
    }
  }

  /** The logged events. Sets the position and the time of the event objects. */
  records({ base, atMs, hashes }: Given): StoredEvent[] {
    const recordedAt = new Date(atMs).toISOString();
    return this.#items.map(({ folded, json }, index) => {
      const { draft, event, users } = folded;
      const { projectId, runId, type } = draft;
      const seq = base + index + 1;
      event.seq = seq;
      event.recordedAt = recordedAt;
      return new StoredEvent({
        seq,
        runSeq: event.runSeq,
        projectId,
        runId,
        type,
        json: `${json[0]}${recordedAt}${json[1]}${seq}${json[2]}`,
        hashPrefix: hashes.toString('hex', 4 * index + 4, 4 * index + 8),
        users,
        event,
      });
    });
  }

  /** The changed runs with the rows that are stored now. */
  cached({ base, rowIds }: Given & { rowIds: readonly number[] }): CachedRun[] {
    const real = (seq: number) => (seq > this.#base ? seq - this.#base + base : seq);
    const runs = this.#runs.map(({ rows: { tables }, changes: { header }, state: { length } }, index) => {
      header.lastSeq = real(header.lastSeq);
      const row: RunRow = { rowId: rowIds[index] as number, version: header.lastRunSeq, header, length };
      return new CachedRun(tables.projectId, tables.runId, row, tables);
    });
    for (const { run, kind, id, row, state, isNew } of this.#changed) {
      const cached = runs[run - 1] as CachedRun;
      if (kind === 'stage') cached.put(kind, id, row, state.length);
      else if (kind === 'artifact') {
        cached.put(kind, id, { ...row, order: { ...row.order, seq: real(row.order.seq) } }, state.length);
      } else {
        if (isNew) cached.addApproval();
        cached.put(kind, id, { ...row, order: { seq: real(row.order.seq) } }, state.length);
      }
    }
    return runs;
  }

  #runColumns(given: Given | undefined): string[] {
    const columns = new Columns(9);
    for (const [index, { rows, changes, state: text }] of this.#runs.entries()) {
      const { row, projectId, runId } = rows.tables;
      const { header } = changes;
      const { lastRunSeq, lastSeq, status, createdAt } = header;
      const rowId = given?.rowIds?.[index] ?? row?.rowId ?? 0;
      const state = given ? '' : text;
      columns.push(
        ...[rowId, row?.version ?? 0, lastRunSeq, lastSeq - this.#base],
        ...[projectId, runId, status, createdAt, state],
      );
    }
    for (const { row, projectId, runId } of this.#read) {
      columns.push(row?.rowId ?? 0, row?.version ?? 0, 0, 0, projectId, runId, '', '', '');
    }
    return columns.values(4);
  }

  #eventColumns(items: readonly Item[]): (string | Buffer)[] {
    const columns = new Columns(9);
    for (const { folded, json } of items) {
      const { draft, event, rows } = folded;
      const { projectId, runId, type, eventId } = draft;
      const { runSeq, actor } = event;
      // What the hash of a row covers, without position and time: see `rowHash`.
      const mid = `,${JSON.stringify([projectId, runId, runSeq, type, eventId, actor]).slice(1, -1)},`;
      columns.push(this.#numbers.get(rows) as number, runSeq, type, eventId, actor, json[0], json[1], json[2], mid);
    }
    return [...columns.values(2), Buffer.concat(items.map(({ salt }) => salt))];
  }

  #refusedColumns(): string[] {
    const columns = new Columns(2);
    if (this.#refused.length > 0) {
      const all = [...this.#runs.map(({ rows }) => rows.tables), ...this.#read];
      const numbers = new Map(all.map(({ projectId, runId }, index) => [runKey(projectId, runId), index + 1]));
      for (const { projectId, runId, eventId } of this.#refused) {
        const run = numbers.get(runKey(projectId, runId));
        if (run !== undefined) columns.push(run, eventId);
      }
    }
    return columns.values(1);
  }

  #userColumns(items: readonly Item[]): string[] {
    const columns = new Columns(2);
    for (const [index, { folded }] of items.entries()) {
      for (const user of folded.users) columns.push(index + 1, user);
    }
    return columns.values(1);
  }

  #rowColumns(changed: readonly ChangedRow[]): string[] {
    const [stages, artifacts, approvals] = [new Columns(4), new Columns(4), new Columns(9)];
    // A provisional position is sent as the number of its event, negative.
    const position = (seq: number) => (seq > this.#base ? this.#base - seq : seq);
    for (const { run, kind, id, row, state } of changed) {
      if (kind === 'stage') stages.push(run, id, row.status === 'running' ? startKey(row) : '', state);
      else if (kind === 'artifact') artifacts.push(run, position(row.order.seq), id, state);
      else {
        const { status, expiresAt = '', decidedAt = '', requestActor, requestedBy = '' } = row;
        approvals.push(
          ...[run, position(row.order.seq)],
          ...[id, status, expiresAt, decidedAt, requestActor, requestedBy, state],
        );
      }
    }
    return [...stages.values(1), ...artifacts.values(2), ...approvals.values(2)];
  }
}

function changedRows({ stages, artifacts, approvals }: Changes, run: number): ChangedRow[] {
  const changed: ChangedRow[] = [];
  for (const [id, row, stored] of stages) {
    changed.push({ kind: 'stage', run, id, row, state: JSON.stringify(row), isNew: !stored });
  }
  for (const [id, row, stored] of artifacts) {
    changed.push({ kind: 'artifact', run, id, row, state: artifactState(row), isNew: !stored });
  }
  for (const [id, row, stored] of approvals) {
    changed.push({ kind: 'approval', run, id, row, state: approvalState(row), isNew: !stored });
  }
  return changed;
}

const TEXT = `SELECT * FROM runwire_commit(${Array.from({ length: 49 }, (_, index) => `$${index + 1}`).join(', ')})`;
const statement = (values: unknown[]): Statement => ({ name: 'commit', text: TEXT, values });

function divide<T>(list: readonly T[], lengthOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let length = PART_LENGTH;
  for (const item of list) {
    if (length >= PART_LENGTH) {
      parts.push([]);
      length = 0;
    }
    parts.at(-1)?.push(item);
    length += lengthOf(item);
  }
  return parts;
}
