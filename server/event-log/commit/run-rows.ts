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
  stages: Iterable<Change<Stage>>;
  artifacts: Iterable<Change<Artifact>>;
  approvals: Iterable<Change<Approval>>;
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

/** The rows of one table. A row object is never modified: a change puts a new object in its place. */
class RowCache<Row> {
  readonly #rows = new Map<string, { stored: Row | undefined; now: Row | undefined }>();
  /** The journal: the rows that the current batch has changed, with their values before the batch. */
  readonly #before = new Map<string, Row | undefined>();
  /** Number of new rows, which are not stored yet. */
  added = 0;
  readonly #read: (id: string) => Row | undefined;
  readonly #onChange: (id: string, row: Row | undefined) => void;

  constructor(read: (id: string) => Row | undefined, onChange = (_id: string, _row?: Row) => {}) {
    this.#read = read;
    this.#onChange = onChange;
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  get(id: string): Row | undefined {
    return this.#entry(id).now;
  }

  put(id: string, row: Row): void {
    const { now } = this.#entry(id);
    if (!this.#before.has(id)) this.#before.set(id, now);
    this.#set(id, row);
  }

  accept(): void {
    this.#before.clear();
  }

  undo(): void {
    for (const [id, row] of this.#before) this.#set(id, row);
    this.#before.clear();
  }

  *changed(): Iterable<Change<Row>> {
    for (const [id, { stored, now }] of this.#rows) if (now && now !== stored) yield [id, now, stored];
  }

  #entry(id: string) {
    const known = this.#rows.get(id);
    if (known) return known;
    const stored = this.#read(id);
    const entry = { stored, now: stored };
    this.#rows.set(id, entry);
    this.#onChange(id, stored);
    return entry;
  }

  #set(id: string, row: Row | undefined): void {
    const entry = this.#entry(id);
    if (!entry.stored) this.added += Number(row !== undefined) - Number(entry.now !== undefined);
    entry.now = row;
    this.#onChange(id, row);
  }
}

export class CommitRows<Tables extends RunTables = RunTables> implements RunRows {
  readonly tables: Tables;
  #header: RunHeader | undefined;
  /** The header before the current batch; set when the batch changes the header. */
  #headerBefore: { header: RunHeader | undefined } | undefined;
  readonly #stages: RowCache<Stage>;
  readonly #artifacts: RowCache<Artifact>;
  readonly #approvals: RowCache<Approval>;
  #storedApprovals: number | undefined;
  /** Running stages among the rows in memory. */
  readonly #running = new Map<string, Stage>();
  /** The last started of the running stages that are stored and not in memory; `unknown` before the first use. */
  #lastStored: { startKey: string; stage: Stage } | 'unknown' | 'none' = 'unknown';

  constructor(tables: Tables) {
    this.tables = tables;
    this.#header = tables.header;
    this.#stages = new RowCache<Stage>(
      (id) => tables.stage(id),
      (id, stage) => {
        if (stage?.status === 'running') this.#running.set(id, stage);
        else this.#running.delete(id);
      },
    );
    this.#artifacts = new RowCache<Artifact>((id) => tables.artifact(id));
    this.#approvals = new RowCache<Approval>((id) => tables.approval(id));
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
    return this.#stages.get(stageId);
  }
  artifact(artifactId: string) {
    return this.#artifacts.get(artifactId);
  }
  approval(approvalId: string) {
    return this.#approvals.get(approvalId);
  }
  putHeader(header: RunHeader) {
    this.#headerBefore ??= { header: this.#header };
    this.#header = header;
  }
  putStage(stage: Stage) {
    this.#stages.put(stage.stageId, stage);
  }
  putArtifact(artifact: Artifact) {
    this.#artifacts.put(artifact.artifactId, artifact);
  }
  putApproval(approval: Approval) {
    this.#approvals.put(approval.approvalId, approval);
  }
  lastStarted() {
    let last = this.#lastStartedStored();
    for (const stage of this.#running.values()) {
      if (!last || startsAfter(stage, last)) last = stage;
    }
    return last;
  }

  /** Number of approvals of the run, the new ones included. */
  get approvalCount(): number {
    this.#storedApprovals ??= this.tables.approvalCount();
    return this.#storedApprovals + this.#approvals.added;
  }

  /** Keeps the changes of the current batch. */
  accept(): void {
    this.#headerBefore = undefined;
    for (const rows of [this.#stages, this.#artifacts, this.#approvals]) rows.accept();
  }

  /** Takes back the changes of the current batch. */
  undo(): void {
    if (this.#headerBefore) this.#header = this.#headerBefore.header;
    this.#headerBefore = undefined;
    for (const rows of [this.#stages, this.#artifacts, this.#approvals]) rows.undo();
  }

  /** The rows that changed; undefined if none did. */
  changes(): Changes | undefined {
    const header = this.#header;
    if (!header || header === this.tables.header) return undefined;
    return {
      header,
      stages: this.#stages.changed(),
      artifacts: this.#artifacts.changed(),
      approvals: this.#approvals.changed(),
    };
  }

  /**
   * Reads the stored running stages, the last started one first. Skips a stage in memory: it may have changed since it was
   * stored.
   */
  #lastStartedStored(): Stage | undefined {
    for (;;) {
      const last = this.#lastStored;
      if (last === 'none') return undefined;
      if (last !== 'unknown' && !this.#stages.has(last.stage.stageId)) return last.stage;
      this.#lastStored = this.tables.lastStarted(last === 'unknown' ? AFTER_ALL : last.startKey) ?? 'none';
    }
  }
}
