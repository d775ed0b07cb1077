import type { Approval, Artifact, RunHeader, Stage } from '../../../shared/run.ts';
import { startKey } from '../../../shared/run-order.ts';
import { Missing, type MissingRow, type RowKind } from './commit-fold.ts';
import type { RunTables } from './run-rows.ts';

/**
 * The rows of runs that this server has folded on, for the next commits. In PostgreSQL a commit compares the versions of its
 * runs. In SQLite the cache is emptied after a write of another connection.
 */

/** About 64 MiB in memory. */
const MAX_CACHED_LENGTH = 16 * 1024 * 1024;
/** Length that a row counts besides its text. */
const ENTRY_LENGTH = 128;
/** Length that a run counts besides its rows: its maps. */
const RUN_LENGTH = 1_024;

/** `length`: that of the header as text. */
export type RunRow = { rowId: number; version: number; header: RunHeader; length: number };
type Running = { startKey: string; stage: Stage };
export type Rows = { stage: Stage; artifact: Artifact; approval: Approval };
type Entry<Row> = { row: Row | undefined; length: number };

/** The rows of one run that are in memory. A read of another row calls `read`, which throws {@link Missing}. */
export class CachedRun implements RunTables {
  readonly projectId: string;
  readonly runId: string;
  /** Its {@link runKey}. */
  readonly key: string;
  /** Undefined for a run without events. */
  row: RunRow | undefined;
  /** Approximate length of the rows as text, without the header. */
  #length: number;
  readonly #rows: { [Kind in RowKind]: Map<string, Entry<Rows[Kind]>> };
  /** Number of rows in memory. A run with as many rows has no others. */
  readonly #count: { [Kind in RowKind]: number };
  /** The running stages with a start key of at least `#runningFrom`, the last started first. */
  readonly #running: Running[];
  #runningFrom: string | undefined;
  #approvals: number | undefined;

  /** `before`: the run in an earlier version; its rows are taken over. */
  constructor(projectId: string, runId: string, row?: RunRow, before?: CachedRun) {
    this.projectId = projectId;
    this.runId = runId;
    this.key = before ? before.key : runKey(projectId, runId);
    this.row = row;
    this.#length = before ? before.#length : RUN_LENGTH;
    this.#rows = before ? before.#rows : { stage: new Map(), artifact: new Map(), approval: new Map() };
    this.#count = before ? before.#count : { stage: 0, artifact: 0, approval: 0 };
    this.#running = before ? before.#running : [];
    // A run without events has no rows.
    const isNew = before !== undefined && !before.row;
    this.#runningFrom = isNew ? '' : before ? before.#runningFrom : undefined;
    this.#approvals = isNew ? 0 : before ? before.#approvals : undefined;
  }

  get header(): RunHeader | undefined {
    return this.row?.header;
  }
  /** Approximate length of the rows and the header as text. */
  get length(): number {
    return this.#length + (this.row?.length ?? 0);
  }
  stage(id: string): Stage | undefined {
    return this.#get('stage', id);
  }
  artifact(id: string): Artifact | undefined {
    return this.#get('artifact', id);
  }
  approval(id: string): Approval | undefined {
    return this.#get('approval', id);
  }

  lastStarted(before: string): Running | undefined {
    if (!this.row) return undefined;
    const found = this.#running.find((running) => running.startKey < before);
    if (found || this.#runningFrom === '') return found;
    throw this.#missing('running', this.#runningFrom ?? before);
  }

  approvalCount(): number {
    if (!this.row) return 0;
    if (this.#approvals === undefined) throw this.#missing('approvals', '');
    return this.#approvals;
  }

  /** Whether a read of this row does not throw. */
  has(kind: MissingRow['kind'], id: string): boolean {
    if (!this.row) return true;
    if (kind === 'running') return this.#runningFrom !== undefined && this.#runningFrom < id;
    if (kind === 'approvals') return this.#approvals !== undefined;
    return this.#rows[kind].has(id) || this.#hasAll(kind);
  }

  put<Kind extends RowKind>(kind: Kind, id: string, row: Rows[Kind] | undefined, length = 0): void {
    const rows = this.#rows[kind] as Map<string, Entry<Rows[Kind]>>;
    if (kind === 'stage') this.#putRunning(id, row as Stage | undefined);
    const known = rows.get(id);
    this.#length += length - (known ? known.length : -ENTRY_LENGTH);
    this.#count[kind] += Number(row !== undefined) - Number(known?.row !== undefined);
    if (known) {
      known.row = row;
      known.length = length;
    } else rows.set(id, { row, length });
  }

  /** Adds running stages that follow the present ones. `from`: the start key of the last one; empty if there are no more. */
  putRunning(stages: readonly Stage[], from: string): void {
    for (const stage of stages) this.#running.push({ startKey: startKey(stage), stage });
    this.#runningFrom = from;
    this.#length += ENTRY_LENGTH;
  }

  putApprovals(count: number): void {
    this.#approvals = count;
  }

  /** Counts an approval that a commit has added. */
  addApproval(): void {
    if (this.#approvals !== undefined) this.#approvals++;
  }

  #putRunning(stageId: string, stage: Stage | undefined): void {
    if (this.#runningFrom === undefined) return;
    const known = this.#running.findIndex((running) => running.stage.stageId === stageId);
    const key = stage?.status === 'running' ? startKey(stage) : undefined;
    const before = this.#running[known];
    if (before && stage && before.startKey === key) {
      before.stage = stage;
      return;
    }
    if (before) this.#running.splice(known, 1);
    if (!stage || key === undefined) return;
    if (key < this.#runningFrom) return;
    const index = this.#running.findIndex((running) => running.startKey < key);
    this.#running.splice(index < 0 ? this.#running.length : index, 0, { startKey: key, stage });
  }

  #hasAll(kind: RowKind): boolean {
    const { stages, artifacts } = this.row?.header.counts ?? { stages: 0, artifacts: 0 };
    const counts = { stage: stages, artifact: artifacts, approval: this.#approvals };
    return this.#count[kind] === counts[kind];
  }

  #get<Kind extends RowKind>(kind: Kind, id: string): Rows[Kind] | undefined {
    const known = (this.#rows[kind] as Map<string, Entry<Rows[Kind]>>).get(id);
    if (known) return known.row;
    if (!this.row || this.#hasAll(kind)) return undefined;
    return this.read(kind, id);
  }

  /** Reads a row that is not in memory. */
  protected read<Kind extends RowKind>(kind: Kind, id: string): Rows[Kind] | undefined {
    throw this.#missing(kind, id);
  }

  #missing(kind: MissingRow['kind'], id: string): Missing {
    return new Missing({ projectId: this.projectId, runId: this.runId, kind, id });
  }
}

export const runKey = (projectId: string, runId: string): string => `${projectId} ${runId}`;

/**
 * The runs that were committed last, up to a bounded length, in two generations: when the recent runs have half of the length,
 * they become the older ones, and the older ones are dropped. Rejected: one map in the order of use, because each commit would
 * delete and insert its runs.
 */
export class RunCache<Run extends CachedRun = CachedRun> {
  #recent = new Map<string, Counted<Run>>();
  #older = new Map<string, Counted<Run>>();
  /** Length of the recent runs. */
  #length = 0;

  get(key: string): Run | undefined {
    return (this.#recent.get(key) ?? this.#older.get(key))?.run;
  }

  put(run: Run): void {
    const { key, length } = run;
    const known = this.#recent.get(key);
    this.#length += length - (known?.length ?? 0);
    if (known) {
      known.run = run;
      known.length = length;
    } else this.#recent.set(key, { run, length });
    if (this.#length <= MAX_CACHED_LENGTH / 2) return;
    this.#older = this.#recent;
    this.#recent = new Map();
    this.#length = 0;
  }

  delete(key: string): void {
    this.#length -= this.#recent.get(key)?.length ?? 0;
    this.#recent.delete(key);
    this.#older.delete(key);
  }

  clear(): void {
    this.#recent.clear();
    this.#older.clear();
    this.#length = 0;
  }
}

/** `length`: as it was counted, because a run grows while it is used. */
type Counted<Run> = { run: Run; length: number };
