import type { Approval, Artifact, RunHeader, RunRows, RunView, Stage } from './run.ts';
import { compareApprovals, compareArtifacts, compareStages, startsAfter } from './run-order.ts';

/** Whether two values of JSON say the same. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [keys, others] = [Object.keys(a), Object.keys(b)];
  return (
    keys.length === others.length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame((a as never)[key], (b as never)[key]))
  );
}

/** The rows of a snapshot, with the objects of an earlier one where they say the same. */
function likeBefore<Row>(
  idOf: (row: Row) => string,
  rows: readonly Row[],
  before: readonly Row[] | undefined,
): readonly Row[] {
  if (!before) return rows;
  const known = new Map(before.map((row) => [idOf(row), row]));
  const like = rows.map((row) => {
    const same = known.get(idOf(row));
    return same !== undefined && isSame(same, row) ? same : row;
  });
  return like.length === before.length && like.every((row, place) => row === before[place]) ? before : like;
}

/**
 * Rows of a kind, and the list of them in display order. The list is a value, replaced when a row changed and the same
 * one until then: it is copied with the changes in their places, new rows at the end, and sorted only when one of them
 * does not stand between its neighbours. Sorting 10,000 stages for each event would take up what a page has for a frame.
 */
class RowList<Row> {
  readonly #rows = new Map<string, Row>();
  readonly #idOf: (row: Row) => string;
  readonly #compare: (a: Row, b: Row) => number;
  /** Rows that were put since the list was made. */
  readonly #changed = new Set<string>();
  #list: readonly Row[];
  /** Places in the list, once they are needed. */
  #places: Map<string, number> | undefined;

  constructor(
    idOf: (row: Row) => string,
    compare: (a: Row, b: Row) => number,
    snapshot: readonly Row[] = [],
    before?: readonly Row[],
  ) {
    this.#idOf = idOf;
    this.#compare = compare;
    const list = likeBefore(idOf, snapshot, before);
    // The order of a snapshot is not taken for granted.
    const isSorted = list.every((row, place) => place === 0 || compare(list[place - 1] as Row, row) <= 0);
    this.#list = isSorted ? list : [...list].sort(compare);
    for (const row of list) this.#rows.set(idOf(row), row);
  }

  get(id: string): Row | undefined {
    return this.#rows.get(id);
  }

  put(row: Row): void {
    const id = this.#idOf(row);
    const before = this.#rows.get(id);
    // A fold that says nothing new makes a copy all the same.
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
    this.#places ??= this.#placesOf(this.#list);
    const places = this.#places;
    const list = [...this.#list];
    const changed: number[] = [];
    for (const id of this.#changed) {
      const place = places.get(id) ?? list.length;
      places.set(id, place);
      list[place] = this.#rows.get(id) as Row;
      changed.push(place);
    }
    const isInOrder = (place: number) =>
      place < 1 || place >= list.length || this.#compare(list[place - 1] as Row, list[place] as Row) <= 0;
    if (!changed.every((place) => isInOrder(place) && isInOrder(place + 1))) {
      this.#places = this.#placesOf(list.sort(this.#compare));
    }
    return list;
  }

  #placesOf(list: readonly Row[]): Map<string, number> {
    return new Map(list.map((row, place) => [this.#idOf(row), place]));
  }
}

/**
 * The rows of one run in memory: what a browser folds into, from nothing or on from a snapshot. What did not change from
 * one view to the next is the same object in both.
 */
export class RunMemory implements RunRows {
  readonly #stages: RowList<Stage>;
  readonly #artifacts: RowList<Artifact>;
  readonly #approvals: RowList<Approval>;
  readonly #running = new Map<string, Stage>();
  #header: RunHeader | undefined;
  #view: RunView | undefined;
  #isViewOld = false;

  /** Goes on from a snapshot. `before`: an earlier view, whose objects stand wherever the snapshot says the same. */
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
      this.#isViewOld = true;
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
    this.#isViewOld = true;
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

  /** The view as of now; the same object until something changes. Undefined before the first event. */
  view(): RunView | undefined {
    if (!this.#header || !this.#isViewOld) return this.#view;
    this.#isViewOld = false;
    const before = this.#view;
    const view: RunView = {
      ...this.#header,
      // Views are values: whoever holds one changes nothing in it.
      stages: this.#stages.list() as Stage[],
      artifacts: this.#artifacts.list() as Artifact[],
      approvals: this.#approvals.list() as Approval[],
    };
    if (before) {
      for (const name of ['labels', 'counts', 'error', 'order'] as const) {
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
