import type { Dataset, LineageEvent, Placement, RunRef } from './map.ts';

/**
 * The memory of the OpenLineage producer: facts from earlier messages about the place, the name and the outputs of a run. It
 * is bounded, drops the least recently used run first, and is separate for tokens with different projects.
 *
 * **Place.** A run belongs to the first of these that is known:
 *
 * 1. the root in its parent facet
 * 2. its earlier place
 * 3. the place of its parent, or the parent itself
 * 4. the run itself
 *
 * Recorded Airflow, dbt and Spark messages can arrive in any order: each has a root facet, or its parent is a root.
 *
 * **Name.** START announces a name (`run.created`, `stage.started`). Another message announces it only with news: no name is
 * known, or it is earlier than the first one, or it is later and different. So messages in order announce a name once, and
 * the folded name and start do not depend on the order. Losing the memory costs one redundant announcement.
 *
 * **Limits.**
 *
 * - With three levels and no root facet, a child may arrive before the first message of its parent, or after a restart. It
 *   becomes a stage of the parent, as if the parent were a root. Holding the child back was rejected: a parent need not
 *   report at all. Later messages of the parent publish it as a stage of the root and as a run with `parentRunId`, so that
 *   run ends too.
 * - A run stays in its place when only later messages have a parent facet.
 * - Outputs in START or RUNNING are lost if the server restarts before COMPLETE.
 */

/** Total weight. A run weighs 1 plus its outputs; each takes 1–2 kB at most. */
const LIMIT = 20_000;
const OUTPUT_LIMIT = 1_000;

/** Announcements of a name: the first and the last time, and the last name. */
type Announced = { first: string; last: string; name: string };
type Memo = {
  /** The root run, perhaps itself. */
  home?: RunRef;
  run?: Announced | undefined;
  stage?: Announced | undefined;
  /** Whether other runs are its stages. */
  isRoot?: boolean;
  /** Outputs from messages before COMPLETE. */
  outputs: Map<string, Dataset>;
  completedAt?: string;
};

export class RunTree {
  readonly #memos = new Map<string, Memo>();
  readonly #limit: number;
  #weight = 0;

  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /** The number of runs and outputs in memory. */
  get weight(): number {
    return this.#weight;
  }

  /** The places of a message, for a token with these projects: one run, or two for a root that is also a stage. */
  place(event: LineageEvent, projects: readonly string[]): Placement[] {
    const scope = scopeOf(projects);
    const only = projects.length === 1 && projects[0] !== '*' ? projects[0] : undefined;
    const within = (run: RunRef): RunRef => (only === undefined ? run : { ...run, projectId: only });
    const memo = this.#memo(scope, event.self.runId);
    const home = within(this.#home(scope, event, memo));
    memo.home = home;
    const self = within(event.self);
    const written = this.#written(event, memo);
    if (home.runId === self.runId) {
      const namesRun = this.#announces(memo, 'run', event, self.name);
      return [{ run: self, isStage: false, namesRun, namesStage: false, parentRunId: undefined, written }];
    }
    const root = this.#memo(scope, home.runId);
    root.isRoot = true;
    // Until the parent's own messages arrive, it has the name that its children use.
    const named = [event.root, event.parent].find((run) => run?.runId === home.runId);
    const asStage: Placement = {
      run: { ...home, name: named?.name },
      isStage: true,
      namesRun: named?.name !== undefined && this.#announces(root, 'run', { ...event, type: 'RUNNING' }, named.name),
      namesStage: this.#announces(memo, 'stage', event, self.name),
      parentRunId: undefined,
      written,
    };
    if (!memo.isRoot) return [asStage];
    const asRun = { run: self, isStage: false, namesRun: true, namesStage: false, parentRunId: home.runId };
    return [asStage, { ...asRun, written: undefined }];
  }

  /** Forgets announcements after a failed publish, so that later messages repeat them. */
  forget(event: LineageEvent, projects: readonly string[]): void {
    const scope = scopeOf(projects);
    const memo = this.#memo(scope, event.self.runId);
    memo.stage = undefined;
    if (memo.home) this.#memo(scope, memo.home.runId).run = undefined;
  }

  #home(scope: string, { self, parent, root }: LineageEvent, memo: Memo): RunRef {
    const home = root ?? memo.home ?? (parent && (this.#memos.get(keyOf(scope, parent.runId))?.home ?? parent));
    return home === undefined || home.runId === self.runId ? self : home;
  }

  /** Whether a message must announce a name. START always does. */
  #announces(memo: Memo, kind: 'run' | 'stage', { type, at }: Pick<LineageEvent, 'type' | 'at'>, name = ''): boolean {
    const known = memo[kind];
    const isNews = known === undefined || at < known.first || (at >= known.last && name !== known.name);
    memo[kind] = {
      first: known && known.first < at ? known.first : at,
      last: known && known.last > at ? known.last : at,
      name: known && known.last > at ? known.name : name,
    };
    return isNews || type === 'START';
  }

  /** The outputs of a run: the union over its messages, published when it completes. */
  #written(event: LineageEvent, memo: Memo): Placement['written'] {
    if (event.type === 'COMPLETE') {
      memo.completedAt = event.at;
      const datasets = new Map(memo.outputs);
      for (const dataset of event.outputs) datasets.set(dataset.artifactId, dataset);
      return { at: event.at, datasets: [...datasets.values()] };
    }
    if (event.outputs.length === 0) return undefined;
    const datasets = new Map(event.outputs.map((dataset) => [dataset.artifactId, dataset]));
    if (memo.completedAt !== undefined) return { at: memo.completedAt, datasets: [...datasets.values()] };
    for (const [artifactId, dataset] of datasets) {
      if (memo.outputs.size >= OUTPUT_LIMIT || memo.outputs.has(artifactId)) continue;
      memo.outputs.set(artifactId, dataset);
      this.#weight++;
    }
    return undefined;
  }

  #memo(scope: string, runId: string): Memo {
    const key = keyOf(scope, runId);
    const memo = this.#memos.get(key) ?? { outputs: new Map() };
    if (!this.#memos.delete(key)) this.#weight++;
    this.#memos.set(key, memo);
    for (const [oldest, { outputs }] of this.#memos) {
      if (this.#weight <= this.#limit || oldest === key) break;
      this.#memos.delete(oldest);
      this.#weight -= 1 + outputs.size;
    }
    return memo;
  }
}

/** Separates tokens with different projects: otherwise one could move the events of another. */
const scopeOf = (projects: readonly string[]): string => JSON.stringify([...projects].sort());
const keyOf = (scope: string, runId: string): string => `${scope} ${runId}`;
