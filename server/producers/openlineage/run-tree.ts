import type { Dataset, LineageEvent, Placement, RunRef } from './map.ts';

/**
 * Remembers facts from earlier OpenLineage messages: the place, the name and the outputs of each run. At its limit, the
 * memory drops the least recently used run. Tokens with different projects have separate memories.
 *
 * **Place.** A run is published as a stage of its root run. The root run is the first of these that is known:
 *
 * 1. the root in the parent facet of the message
 * 2. the root run according to earlier messages of the run
 * 3. the root run of its parent, or the parent itself
 * 4. the run itself
 *
 * Recorded messages of Airflow, dbt and Spark can arrive in any order: each has a root facet, or its parent is a root.
 *
 * **Name.** `run.created` announces the name of a run, `stage.started` that of a stage. A START message always causes
 * an announcement. Another message causes one only if no name is known, if the message is earlier than the first
 * announcement, or if it is later than the last announcement and has another name. So messages in order announce a name
 * once, and the resulting name and start time do not depend on the order. After a loss of the memory, one announcement
 * is redundant.
 *
 * **Limits.**
 *
 * - In a tree of three levels without root facets, a child may arrive before the first message of its parent, or after
 *   a restart. Then the child becomes a stage of the parent, as if the parent were a root. The child is not held back,
 *   because a parent may send no message at all. Later messages of the parent publish the parent twice: as a stage of
 *   the root, and as a run with `parentRunId`, so that this run ends too.
 * - A run stays in its place if only later messages have a parent facet.
 * - Outputs in START or RUNNING are lost if the server restarts before COMPLETE.
 */

/** Maximum number of runs and outputs in memory. Each one takes at most 1–2 kB. */
const LIMIT = 20_000;
const OUTPUT_LIMIT = 1_000;

/** Announcements of a name: the times of the first and the last one, and the name in the last one. */
type Announced = { first: string; last: string; name: string };
type Memo = {
  /** The root run, which may be the run itself. */
  home?: RunRef;
  run?: Announced | undefined;
  stage?: Announced | undefined;
  /** Whether other runs are stages of this run. */
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

  /**
   * Returns the places where the drafts of a message are published: one run, or two for a root that is also a stage.
   * `projects` are those of the caller's token.
   */
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
    // Until messages of the root run arrive, the root has the name that messages of its stages contain.
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

  /** Forgets the announcements of a message that was not published, so that later messages repeat them. */
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

  /**
   * Returns the outputs to publish. COMPLETE publishes the outputs of all messages of the run so far; a message after
   * COMPLETE publishes its own.
   */
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

/** Scope of a token's memory. With a single scope, a caller could change the place of another caller's run. */
const scopeOf = (projects: readonly string[]): string => JSON.stringify([...projects].sort());
const keyOf = (scope: string, runId: string): string => `${scope} ${runId}`;
