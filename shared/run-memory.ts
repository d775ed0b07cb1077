import type { Approval, Artifact, RunHeader, RunRows, RunView, Stage } from './run.ts';
import { compareApprovals, compareArtifacts, compareStages, startsAfter } from './run-order.ts';

/**
 * The rows of one run in a client's memory, and the view (`RunView`) built from the rows. A view is immutable. A new
 * view reuses the unchanged objects of the previous view, so React components can compare objects by identity.
 */

/** Deep equality of two JSON values. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  return (
    keys.length === others.length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame((a as never)[key], (b as never)[key]))
  );
}

/** Returns `rows`, but with the objects of `before` where rows are equal, and `before` itself where all rows are equal. */
function reuseEqual<Row>(
  idOf: (row: Row) => string,
  rows: readonly Row[],
  before: readonly Row[] | undefined,
): readonly Row[] {
  if (!before) return rows;
  const known = new Map(before.map((row) => [idOf(row), row]));
  const reused = rows.map((row) => {
    const same = known.get(idOf(row));
    return same !== undefined && isSame(same, row) ? same : row;
  });
  return reused.length === before.length && reused.every((row, index) => row === before[index]) ? before : reused;
}

/**
 * Stores rows by id, and lists them in display order. A returned list is immutable: after a change, `list()` makes a
 * copy with the changed rows in their places and the new rows at the end. The copy is sorted only if a changed row is
 * out of order with its neighbours: sorting 10,000 stages for each event would take longer than a frame of the display.
 */
class RowList<Row> {
  readonly #rows = new Map<string, Row>();
  readonly #idOf: (row: Row) => string;
  readonly #compare: (a: Row, b: Row) => number;
  /** Ids of the rows that changed since the last call of `list()`. */
  readonly #changed = new Set<string>();
  #list: readonly Row[];
  /** Index of each row in the list, by id. Built when a row changes for the first time. */
  #indexes: Map<string, number> | undefined;

  constructor(
    idOf: (row: Row) => string,
    compare: (a: Row, b: Row) => number,
    snapshot: readonly Row[] = [],
    before?: readonly Row[],
  ) {
    this.#idOf = idOf;
    this.#compare = compare;
    const list = reuseEqual(idOf, snapshot, before);
    // A server of another version may have sent the snapshot in another order.
    const isSorted = list.every((row, index) => index === 0 || compare(list[index - 1] as Row, row) <= 0);
    this.#list = isSorted ? list : [...list].sort(compare);
    for (const row of list) this.#rows.set(idOf(row), row);
  }

  get(id: string): Row | undefined {
    return this.#rows.get(id);
  }

  put(row: Row): void {
    const id = this.#idOf(row);
    const before = this.#rows.get(id);
    // The fold passes a new copy even if the event changed nothing. An equal row is not a change.
    if (before !== undefined && isSame(before, row)) return;
    this.#rows.set(id, row);
    this.#changed.add(id);
  }

  list(): readonly Row[] {
    if (this.#changed.size > 0) {
      this.#list = this.#next();
      this.#changed.clear();
    }
    return this.#list;
  }

  #next(): readonly Row[] {
    this.#indexes ??= this.#indexesOf(this.#list);
    const indexes = this.#indexes;
    const list = [...this.#list];
    const changed: number[] = [];
    for (const id of this.#changed) {
      const index = indexes.get(id) ?? list.length;
      indexes.set(id, index);
      list[index] = this.#rows.get(id) as Row;
      changed.push(index);
    }
    const isInOrder = (index: number) =>
      index < 1 || index >= list.length || this.#compare(list[index - 1] as Row, list[index] as Row) <= 0;
    if (!changed.every((index) => isInOrder(index) && isInOrder(index + 1))) {
      this.#indexes = this.#indexesOf(list.sort(this.#compare));
    }
    return list;
  }

  #indexesOf(list: readonly Row[]): Map<string, number> {
    return new Map(list.map((row, index) => [this.#idOf(row), index]));
  }
}

/** The rows of one run. They start empty, or from a snapshot (a view that the server sent). */
export class RunMemory implements RunRows {
  readonly #stages: RowList<Stage>;
  readonly #artifacts: RowList<Artifact>;
  readonly #approvals: RowList<Approval>;
  readonly #running = new Map<string, Stage>();
  #header: RunHeader | undefined;
  #view: RunView | undefined;
  #isViewStale = false;

  /** `before` is an earlier view of the run. Its objects are reused where they equal those of the snapshot. */
  constructor(snapshot?: RunView, before?: RunView) {
    const { stages, artifacts, approvals, ...header } = snapshot ?? {};
    this.#stages = new RowList((stage) => stage.stageId, compareStages, stages, before?.stages);
    this.#artifacts = new RowList((artifact) => artifact.artifactId, compareArtifacts, artifacts, before?.artifacts);
    this.#approvals = new RowList((approval) => approval.approvalId, compareApprovals, approvals, before?.approvals);
    if (!snapshot) return;
    this.#header = header as RunHeader;
    this.#view = snapshot;
    if (before) {
      this.#view = before;
      this.#isViewStale = true;
    }
    for (const stage of snapshot.stages) if (stage.status === 'running') this.#running.set(stage.stageId, stage);
  }

  header() {
    return this.#header;
  }
  ownHeader() {
    const header = this.#header;
    if (header) this.putHeader({ ...header, order: { ...header.order } });
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
    this.#header = header;
    this.#isViewStale = true;
  }
  putStage(stage: Stage) {
    this.#stages.put(stage);
    if (stage.status === 'running') this.#running.set(stage.stageId, stage);
    else this.#running.delete(stage.stageId);
  }
  putArtifact(artifact: Artifact) {
    this.#artifacts.put(artifact);
  }
  putApproval(approval: Approval) {
    this.#approvals.put(approval);
  }
  lastStarted() {
    let last: Stage | undefined;
    for (const stage of this.#running.values()) {
      if (!last || startsAfter(stage, last)) last = stage;
    }
    return last;
  }

  /** Returns the current view, as the same object until a row changes. Undefined before the first event. */
  view(): RunView | undefined {
    if (!this.#header || !this.#isViewStale) return this.#view;
    this.#isViewStale = false;
    const before = this.#view;
    const view: RunView = {
      ...this.#header,
      // `list()` returns readonly arrays, and `RunView` has plain arrays. The casts change the type only.
      stages: this.#stages.list() as Stage[],
      artifacts: this.#artifacts.list() as Artifact[],
      approvals: this.#approvals.list() as Approval[],
    };
    if (before) {
      for (const name of ['labels', 'counts', 'error', 'stageError', 'order'] as const) {
        if (view[name] !== undefined && isSame(before[name], view[name])) Object.assign(view, { [name]: before[name] });
      }
      if (isSameShallow(before, view)) return before;
    }
    this.#view = view;
    return view;
  }
}

const isSameShallow = (a: RunView, b: RunView) => {
  const keys = Object.keys(a) as (keyof RunView)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
};
