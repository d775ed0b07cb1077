import type { Approval, Artifact, RunHeader, RunRows, Stage } from '../../../shared/run.ts';
import { startsAfter } from '../../../shared/run-order.ts';

/**
 * The rows of one run during one commit: its header, stages, artifacts and approvals. Each row is read at its first use,
 * and written once, by the store, even if several batches change it. A journal keeps the values from before the current
 * batch, so that a refused batch is undone in memory.
 */

/** A changed row. `stored` is the row before the commit; undefined for a new row. */
export type Change<Row> = [id: string, row: Row, stored: Row | undefined];
export type Changes = {
  header: RunHeader;
  stages: readonly Change<Stage>[];
  artifacts: readonly Change<Artifact>[];
  approvals: readonly Change<Approval>[];
};

/**
 * The stored rows of one run. Reads MUST return the state before the commit. Reads are synchronous, because the fold is.
 */
export interface RunTables {
  /** Undefined for a run without events. */
  readonly header: RunHeader | undefined;
  stage(stageId: string): Stage | undefined;
  artifact(artifactId: string): Artifact | undefined;
  approval(approvalId: string): Approval | undefined;
  /**
   * Returns the last started stage of the running stages that have a start key below `before`. Start keys sort by time of
   * start.
   */
  lastStarted(before: string): { startKey: string; stage: Stage } | undefined;
  /** Number of stored approvals. */
  approvalCount(): number;
}

/** A text that sorts after every start key. */
const AFTER_ALL = '~';

type Entry<Row> = { stored: Row | undefined; now: Row | undefined };
/** A change of the current batch: the row from before it, and the change before. */
type Undo<Row> = { entry: Entry<Row>; row: Row | undefined; before: Undo<Row> | undefined };

/** The rows of one table. A row object is never modified: a change puts a new object in its place. */
class RowCache<Row> {
  readonly #rows = new Map<string, Entry<Row>>();
  /** The journal: the last change of the current batch. */
  #last: Undo<Row> | undefined;
  /** Number of new rows, which are not stored yet. */
  added = 0;
  readonly #read: (id: string) => Row | undefined;

  constructor(read: (id: string) => Row | undefined) {
    this.#read = read;
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  get(id: string): Row | undefined {
    return this.#entry(id).now;
  }

  put(id: string, row: Row): void {
    const entry = this.#entry(id);
    this.#last = { entry, row: entry.now, before: this.#last };
    this.#set(entry, row);
  }

  accept(): void {
    this.#last = undefined;
  }

  undo(): void {
    for (let change = this.#last; change; change = change.before) this.#set(change.entry, change.row);
    this.#last = undefined;
  }

  /** The rows that exist, by id. */
  *all(): Iterable<[id: string, row: Row]> {
    for (const [id, { now }] of this.#rows) if (now) yield [id, now];
  }

  changed(): Change<Row>[] {
    const changes: Change<Row>[] = [];
    for (const [id, { stored, now }] of this.#rows) if (now && now !== stored) changes.push([id, now, stored]);
    return changes;
  }

  #entry(id: string): Entry<Row> {
    const known = this.#rows.get(id);
    if (known) return known;
    const stored = this.#read(id);
    const entry = { stored, now: stored };
    this.#rows.set(id, entry);
    return entry;
  }

  #set(entry: Entry<Row>, row: Row | undefined): void {
    if (!entry.stored) this.added += Number(row !== undefined) - Number(entry.now !== undefined);
    entry.now = row;
  }
}

export class CommitRows<Tables extends RunTables = RunTables> implements RunRows {
  readonly tables: Tables;
  #header: RunHeader | undefined;
  /** The header before the current batch; set when the batch changes the header. */
  #headerBefore: { header: RunHeader | undefined } | undefined;
  // Made at their first use: most commits of a run read one stage.
  #stages: RowCache<Stage> | undefined;
  #artifacts: RowCache<Artifact> | undefined;
  #approvals: RowCache<Approval> | undefined;
  #storedApprovals: number | undefined;
  /** Running stages among the rows in memory; undefined before the first use. */
  #running: Map<string, Stage> | undefined;
  /** The last started of the running stages that are stored and not in memory; `unknown` before the first use. */
  #lastStored: { startKey: string; stage: Stage } | 'unknown' | 'none' = 'unknown';

  constructor(tables: Tables) {
    this.tables = tables;
    this.#header = tables.header;
  }

  header() {
    return this.#header;
  }
  /** Returns a header that the caller may modify. Only the first call of a batch copies the header. */
  ownHeader() {
    const header = this.#header;
    if (header && !this.#headerBefore) this.putHeader({ ...header, order: { ...header.order } });
    return this.#header;
  }
  stage(stageId: string) {
    const stage = this.#stageRows.get(stageId);
    if (stage) this.#noteRunning(stage);
    return stage;
  }
  artifact(artifactId: string) {
    return this.#artifactRows.get(artifactId);
  }
  approval(approvalId: string) {
    return this.#approvalRows.get(approvalId);
  }
  putHeader(header: RunHeader) {
    this.#headerBefore ??= { header: this.#header };
    this.#header = header;
  }
  putStage(stage: Stage) {
    this.#stageRows.put(stage.stageId, stage);
    this.#noteRunning(stage);
  }
  putArtifact(artifact: Artifact) {
    this.#artifactRows.put(artifact.artifactId, artifact);
  }
  putApproval(approval: Approval) {
    this.#approvalRows.put(approval.approvalId, approval);
  }
  lastStarted() {
    let last = this.#lastStartedStored();
    if (!this.#running) {
      this.#running = new Map();
      for (const [, stage] of this.#stageRows.all()) this.#noteRunning(stage);
    }
    for (const stage of this.#running.values()) {
      if (!last || startsAfter(stage, last)) last = stage;
    }
    return last;
  }

  /** Number of approvals of the run, the new ones included. */
  get approvalCount(): number {
    this.#storedApprovals ??= this.tables.approvalCount();
    return this.#storedApprovals + this.#approvalRows.added;
  }

  /** Keeps the changes of the current batch. */
  accept(): void {
    this.#headerBefore = undefined;
    this.#stages?.accept();
    this.#artifacts?.accept();
    this.#approvals?.accept();
  }

  /** Takes back the changes of the current batch. */
  undo(): void {
    if (this.#headerBefore) this.#header = this.#headerBefore.header;
    this.#headerBefore = undefined;
    this.#stages?.undo();
    this.#artifacts?.undo();
    this.#approvals?.undo();
    this.#running = undefined;
  }

  /** The rows that changed; undefined if none did. */
  changes(): Changes | undefined {
    const header = this.#header;
    if (!header || header === this.tables.header) return undefined;
    return {
      header,
      stages: this.#stages?.changed() ?? [],
      artifacts: this.#artifacts?.changed() ?? [],
      approvals: this.#approvals?.changed() ?? [],
    };
  }

  get #stageRows(): RowCache<Stage> {
    this.#stages ??= new RowCache((id) => this.tables.stage(id));
    return this.#stages;
  }
  get #artifactRows(): RowCache<Artifact> {
    this.#artifacts ??= new RowCache((id) => this.tables.artifact(id));
    return this.#artifacts;
  }
  get #approvalRows(): RowCache<Approval> {
    this.#approvals ??= new RowCache((id) => this.tables.approval(id));
    return this.#approvals;
  }

  #noteRunning(stage: Stage): void {
    if (stage.status === 'running') this.#running?.set(stage.stageId, stage);
    else this.#running?.delete(stage.stageId);
  }

  /**
   * Reads the stored running stages, the last started one first. Skips a stage in memory: it may have changed since it was
   * stored.
   */
  #lastStartedStored(): Stage | undefined {
    for (;;) {
      const last = this.#lastStored;
      if (last === 'none') return undefined;
      if (last !== 'unknown' && !this.#stageRows.has(last.stage.stageId)) return last.stage;
      this.#lastStored = this.tables.lastStarted(last === 'unknown' ? AFTER_ALL : last.startKey) ?? 'none';
    }
  }
}
