import type { Dataset, LineageEvent, Placement, RunRef } from './map.ts';

/**
 * What one OpenLineage message does not say and others did: where a run belongs, what it is called, what it wrote. It is
 * kept in memory, bounded, the least recently used run going first, and for the tokens of the same projects apart.
 *
 * A run belongs to the root that its parent facet names; else to where it was put before; else to where its parent
 * belongs, or to the parent itself; else to itself. Recorded Airflow, dbt and Spark need no more than their own facets,
 * so their order does not matter: the one step to a parent ends at a root, or a root facet is there.
 *
 * Names are announced (`run.created`, `stage.started`) by START, and by another message only if it has news: nothing is
 * known, or only something later, or something older and different. So one that came in order is announced once, and
 * the folded name and start are those of the same set of messages in any order. Losing the memory costs a redundant
 * announcement at most.
 *
 * What cannot be resolved. With three levels and no root facet, a child that arrives before its parent's first message
 * (or after a restart, if the parent says nothing more) is put under the parent as a run of its own: the log cannot be
 * changed, and to hold the child back could be for ever, since parents need not report at all. That run is not left
 * open: its own messages then speak of it both as a stage of the root and as a run, with `parentRunId`, and end it. The
 * same goes for a run whose first message lacks the parent facet that later ones have: it stays where it was put.
 * Outputs that only START or RUNNING named are lost if a restart comes between them and COMPLETE.
 */

/** A run weighs 1 and its outputs; each is a kilobyte or two at most. */
const LIMIT = 20_000;
const OUTPUT_LIMIT = 1_000;

/** What has been announced: the first and the last time, and the name at the last. */
type Announced = { first: string; last: string; name: string };
type Memo = {
  /** Where the run belongs: a root, perhaps itself. */
  home?: RunRef;
  run?: Announced | undefined;
  stage?: Announced | undefined;
  /** Others were put under it. */
  isRoot?: boolean;
  /** Named by messages before it completed. */
  outputs: Map<string, Dataset>;
  completedAt?: string;
};

export class LineageMemory {
  readonly #memos = new Map<string, Memo>();
  readonly #limit: number;
  #weight = 0;

  constructor(limit = LIMIT) {
    this.#limit = limit;
  }

  /** Runs remembered, and their outputs. */
  get weight(): number {
    return this.#weight;
  }

  /** Where a message of a token for these projects belongs: in one run, or, for a root that is a stage too, in two. */
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
    // A parent's own name for itself comes with its own messages; until then it has the one that its children use.
    const said = [event.root, event.parent].find((run) => run?.runId === home.runId);
    const asStage: Placement = {
      run: { ...home, name: said?.name },
      isStage: true,
      namesRun: said?.name !== undefined && this.#announces(root, 'run', { ...event, type: 'RUNNING' }, said.name),
      namesStage: this.#announces(memo, 'stage', event, self.name),
      parentRunId: undefined,
      written,
    };
    if (!memo.isRoot) return [asStage];
    const asRun = { run: self, isStage: false, namesRun: true, namesStage: false, parentRunId: home.runId };
    return [asStage, { ...asRun, written: undefined }];
  }

  /** What a message announced did not get into the log: later ones will say it again. */
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

  /** Whether a message has news about a name; START always has. */
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

  /** The outputs of a run are the union over its messages, written when it completed. */
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

/** What tokens with other rights said is not known: they could lead events astray. */
const scopeOf = (projects: readonly string[]): string => JSON.stringify([...projects].sort());
const keyOf = (scope: string, runId: string): string => `${scope} ${runId}`;
