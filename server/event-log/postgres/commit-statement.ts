import { randomBytes } from 'node:crypto';
import type { Approval, Artifact, Stage } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import type { Folded } from '../commit/commit-fold.ts';
import { CachedRun, type RunRow, runKey } from '../commit/run-cache.ts';
import type { CommitRows } from '../commit/run-rows.ts';
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
  | { kind: 'stage'; id: string; row: Stage; state: string }
  | { kind: 'artifact'; id: string; row: Artifact; state: string }
  | { kind: 'approval'; id: string; row: Approval; state: string; isNew: boolean };

class Lists {
  readonly #lists: (string | number)[][];
  constructor(count: number) {
    this.#lists = Array.from({ length: count }, () => []);
  }
  push(...values: (string | number)[]): void {
    for (let index = 0; index < values.length; index++) this.#lists[index]?.push(values[index] as string | number);
  }
  /** The first `numbers` lists as arrays of PostgreSQL, the others as texts that are divided by chr(1). */
  values(numbers: number): string[] {
    return this.#lists.map((list, index) => (index < numbers ? `{${list.join(',')}}` : list.join('\u0001')));
  }
}

/** Refused drafts, and the runs that their checks have read and that do not change. */
export type Refused = { drafts: readonly ReadyDraft[]; runs: readonly CachedRun[] };

/** What one commit writes: the events of `items`, and the changed rows of `runs`. */
export class CommitStatement {
  readonly #items: readonly Item[];
  readonly #runs: readonly CommitRows<CachedRun>[];
  /** What must still hold for the batches that a check has refused. */
  readonly #refused: Refused;
  /** Numbers of the runs in the parameters, from 1. */
  readonly #numbers = new Map<CommitRows<CachedRun>, number>();
  /** The provisional position before the first event. */
  readonly #base: number;
  readonly #changed: (Changed & { run: number })[] = [];
  readonly #states: string[] = [];
  readonly #last: number[] = [];
  readonly #events: readonly (readonly Item[])[];
  readonly #rows: readonly (readonly (Changed & { run: number })[])[];

  constructor(items: readonly Item[], runs: readonly CommitRows<CachedRun>[], refused: Refused, base: number) {
    this.#items = items;
    this.#runs = runs;
    this.#refused = refused;
    this.#base = base;
    for (const [index, rows] of this.#runs.entries()) this.#add(rows, index + 1);
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
      given = yield statement([
        ...[basis.nodeId, basis.generation, basis.epoch, basis.erasures, given?.atMs ?? basis.nowMs ?? null],
        given?.base ?? null,
        ...this.#runColumns(given),
        ...this.#eventColumns(items),
        ...this.#refusedColumns(),
        ...this.#userColumns(items),
        ...this.#rowColumns(this.#rows[part] ?? []),
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

  /** The runs with the rows that are stored now. */
  *cached({ base, rowIds }: Given & { rowIds: readonly number[] }): Generator<CachedRun> {
    const real = (seq: number) => (seq > this.#base ? seq - this.#base + base : seq);
    const runs = this.#runs.map((rows, index) => {
      const { tables } = rows;
      const header = rows.header();
      if (!header || header === tables.header) return tables;
      header.lastSeq = real(header.lastSeq);
      const row: RunRow = { rowId: rowIds[index] as number, version: header.lastRunSeq, header };
      return new CachedRun(tables.projectId, tables.runId, row, tables);
    });
    for (const { run, ...changed } of this.#changed) {
      const cached = runs[run - 1] as CachedRun;
      const { kind, id, row, state } = changed;
      if (kind === 'approval' && changed.isNew) cached.addApproval();
      if (kind === 'stage') cached.put(kind, id, row, state.length);
      else if (kind === 'artifact') {
        cached.put(kind, id, { ...row, order: { ...row.order, seq: real(row.order.seq) } }, state.length);
      } else cached.put(kind, id, { ...row, order: { seq: real(row.order.seq) } }, state.length);
    }
    yield* runs;
  }

  #add(rows: CommitRows<CachedRun>, run: number): void {
    this.#numbers.set(rows, run);
    const changes = rows.changes();
    this.#states.push(changes ? headerState(changes.header) : '');
    this.#last.push(changes ? changes.header.lastSeq - this.#base : 0);
    if (!changes) return;
    const { stages, artifacts, approvals } = changes;
    for (const [id, row] of stages) this.#changed.push({ kind: 'stage', run, id, row, state: JSON.stringify(row) });
    for (const [id, row] of artifacts) {
      this.#changed.push({ kind: 'artifact', run, id, row, state: artifactState(row) });
    }
    for (const [id, row, stored] of approvals) {
      this.#changed.push({ kind: 'approval', run, id, row, state: approvalState(row), isNew: !stored });
    }
  }

  #runColumns(given: Given | undefined): string[] {
    const lists = new Lists(9);
    for (const [index, rows] of this.#runs.entries()) {
      const { row, projectId, runId } = rows.tables;
      const { lastRunSeq = 0, status = '', createdAt = '' } = rows.header() ?? {};
      const rowId = given?.rowIds?.[index] ?? row?.rowId ?? 0;
      const state = given ? '' : (this.#states[index] as string);
      const last = this.#last[index] as number;
      lists.push(rowId, row?.version ?? 0, lastRunSeq, last, projectId, runId, status, createdAt, state);
    }
    for (const { row, projectId, runId } of this.#refused.runs) {
      lists.push(row?.rowId ?? 0, row?.version ?? 0, 0, 0, projectId, runId, '', '', '');
    }
    return lists.values(4);
  }

  #eventColumns(items: readonly Item[]): (string | Buffer)[] {
    const lists = new Lists(9);
    for (const { folded, json } of items) {
      const { draft, event, rows } = folded;
      const { projectId, runId, type, eventId } = draft;
      const { runSeq, actor } = event;
      // What the hash of a row covers, without position and time: see `rowHash`.
      const mid = `,${JSON.stringify([projectId, runId, runSeq, type, eventId, actor]).slice(1, -1)},`;
      lists.push(this.#numbers.get(rows) as number, runSeq, type, eventId, actor, ...json, mid);
    }
    return [...lists.values(2), Buffer.concat(items.map(({ salt }) => salt))];
  }

  #refusedColumns(): string[] {
    const { drafts, runs } = this.#refused;
    const all = [...this.#runs.map(({ tables }) => tables), ...runs];
    const numbers = new Map(all.map(({ projectId, runId }, index) => [runKey(projectId, runId), index + 1]));
    const lists = new Lists(2);
    for (const { projectId, runId, eventId } of drafts) {
      const run = numbers.get(runKey(projectId, runId));
      if (run !== undefined) lists.push(run, eventId);
    }
    return lists.values(1);
  }

  #userColumns(items: readonly Item[]): string[] {
    const lists = new Lists(2);
    for (const [index, { folded }] of items.entries()) for (const user of folded.users) lists.push(index + 1, user);
    return lists.values(1);
  }

  #rowColumns(changed: readonly (Changed & { run: number })[]): string[] {
    const [stages, artifacts, approvals] = [new Lists(4), new Lists(4), new Lists(9)];
    // A provisional position is sent as the number of its event, negative.
    const position = (seq: number) => (seq > this.#base ? this.#base - seq : seq);
    for (const { run, ...item } of changed) {
      const { kind, id, row, state } = item;
      if (kind === 'stage') stages.push(run, id, row.status === 'running' ? startKey(row) : '', state);
      else if (kind === 'artifact') artifacts.push(run, position(row.order.seq), id, state);
      else {
        const { status, expiresAt = '', decidedAt = '', requestActor, requestedBy = '' } = row;
        approvals.push(
          run,
          position(row.order.seq),
          id,
          status,
          expiresAt,
          decidedAt,
          requestActor,
          requestedBy,
          state,
        );
      }
    }
    return [...stages.values(1), ...artifacts.values(2), ...approvals.values(2)];
  }
}

const TEXT = `SELECT * FROM runwire_commit(${Array.from({ length: 46 }, (_, index) => `$${index + 1}`).join(', ')})`;
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
