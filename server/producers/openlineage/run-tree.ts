import type { Dataset, LineageEvent, Placement, RunRef } from './map.ts';

/**
 * Decides where the drafts of OpenLineage messages are published, from facts of earlier messages: the place, the name and
 * the outputs of each run. The facts are {@link Memo}s, which the intake reads from the log's store and writes back:
 * they outlive a restart, and no run loses them to other runs. Tokens with different projects have separate memos.
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
 * once, and the resulting name and start time do not depend on the order.
 *
 * **Limits.**
 *
 * - In a tree of three levels without root facets, a child may arrive before the first message of its parent. Then the
 *   child becomes a stage of the parent, as if the parent were a root. The child is not held back, because a parent may
 *   send no message at all. Later messages of the parent publish the parent twice: as a stage of the root, and as a run
 *   with `parentRunId`, so that this run ends too.
 * - A run stays in its place if only later messages have a parent facet.
 */

/** Limits of the outputs that a run keeps until COMPLETE: their characters, and the messages that contained them. */
const OUTPUT_CHARS_LIMIT = 256 * 1024;
const OUTPUT_MESSAGE_LIMIT = 64;

/** Announcements of a name: the times of the first and the last one, and a digest of the name in the last one. */
type Announced = { first: string; last: string; name: string };

/** Facts about one OpenLineage run, as JSON. A memo contains no name: the PHI guard has not seen names yet. */
export type Memo = {
  /** The root run, which may be the run itself. */
  home?: { projectId: string; runId: string };
  run?: Announced;
  stage?: Announced;
  /** Whether other runs are stages of this run. */
  isRoot?: boolean;
  hasStarted?: boolean;
  /** Keys of the outputs that messages before COMPLETE contained, one key a message, and the characters of the outputs. */
  outputs?: { keys: string[]; chars: number };
  completedAt?: string;
};

export type RunTreeParts = {
  /** Memos by run id. The tree changes them, and adds new ones. */
  memos: Map<string, Memo>;
  /** Outputs of earlier messages, by the keys in the memos. The tree adds those of messages before COMPLETE. */
  outputs: Map<string, readonly Dataset[]>;
  /** Returns the digest of a name. */
  digestOf: (name: string) => string;
};

export class RunTree {
  readonly #memos: Map<string, Memo>;
  readonly #outputs: Map<string, readonly Dataset[]>;
  readonly #digestOf: (name: string) => string;

  constructor({ memos, outputs, digestOf }: RunTreeParts) {
    this.#memos = memos;
    this.#outputs = outputs;
    this.#digestOf = digestOf;
  }

  /**
   * Returns the places where the drafts of a message are published: one run, or two for a root that is also a stage.
   * `projects` are those of the caller's token. The memos of the message's runs, and of the roots in them, must be read.
   */
  place(event: LineageEvent, projects: readonly string[]): Placement[] {
    const only = projects.length === 1 && projects[0] !== '*' ? projects[0] : undefined;
    const within = (run: RunRef): RunRef => (only === undefined ? run : { ...run, projectId: only });
    const self = within(event.self);
    const memo = this.#memo(self.runId);
    const home = this.#home(event, memo, within);
    memo.home = { projectId: home.projectId, runId: home.runId };
    const written = this.#written(event, memo);
    const isFirstStart = !memo.hasStarted;
    if (event.type === 'START') memo.hasStarted = true;
    if (home.runId === self.runId) {
      const namesRun = this.#announces(memo, 'run', event, self.name);
      const starts = event.type === 'START' || (event.type === 'RUNNING' && isFirstStart);
      return [{ run: self, isStage: false, starts, namesRun, namesStage: false, parentRunId: undefined, written }];
    }
    const root = this.#memo(home.runId);
    root.isRoot = true;
    // Until messages of the root run arrive, the root has the name that messages of its stages contain.
    const asStage: Placement = {
      run: home,
      isStage: true,
      starts: false,
      namesRun: home.name !== undefined && this.#announces(root, 'run', { ...event, type: 'RUNNING' }, home.name),
      namesStage: this.#announces(memo, 'stage', event, self.name),
      parentRunId: undefined,
      written,
    };
    if (!memo.isRoot) return [asStage];
    const starts = event.type === 'START';
    const asRun = { run: self, isStage: false, starts, namesRun: true, namesStage: false, parentRunId: home.runId };
    return [asStage, { ...asRun, written: undefined }];
  }

  /** Forgets the announcements of a message that was not published, so that later messages repeat them. */
  forget({ self }: LineageEvent): void {
    const memo = this.#memo(self.runId);
    delete memo.stage;
    delete memo.run;
    if (memo.home) delete this.#memo(memo.home.runId).run;
  }

  #home({ self, parent, root }: LineageEvent, memo: Memo, within: (run: RunRef) => RunRef): RunRef {
    const known = memo.home ?? (parent && this.#memos.get(parent.runId)?.home);
    const runId = (root ?? known ?? parent ?? self).runId;
    if (runId === self.runId) return within(self);
    const named = [root, parent].find((run) => run?.runId === runId);
    if (!root && known) return { namespace: '', name: undefined, ...named, ...known };
    return within(named as RunRef);
  }

  /** Whether a message must announce a name. START always does. */
  #announces(memo: Memo, kind: 'run' | 'stage', { type, at }: Pick<LineageEvent, 'type' | 'at'>, name = ''): boolean {
    const known = memo[kind];
    const digest = this.#digestOf(name);
    const isNews = known === undefined || at < known.first || (at >= known.last && digest !== known.name);
    memo[kind] = {
      first: known && known.first < at ? known.first : at,
      last: known && known.last > at ? known.last : at,
      name: known && known.last > at ? known.name : digest,
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
      const earlier = (memo.outputs?.keys ?? []).flatMap((key) => this.#outputs.get(key) ?? []);
      return { at: event.at, datasets: unique([...earlier, ...event.outputs]) };
    }
    if (event.outputs.length === 0) return undefined;
    const datasets = unique(event.outputs);
    if (memo.completedAt !== undefined) return { at: memo.completedAt, datasets };
    const { keys, chars } = memo.outputs ?? { keys: [], chars: 0 };
    const key = outputsKeyOf(event);
    if (keys.includes(key) || keys.length >= OUTPUT_MESSAGE_LIMIT) return undefined;
    let total = chars;
    const added = datasets.filter(({ artifactId, name, uri = '' }) => {
      total += artifactId.length + name.length + uri.length;
      return total <= OUTPUT_CHARS_LIMIT;
    });
    this.#outputs.set(key, added);
    memo.outputs = { keys: [...keys, key], chars: total };
    return undefined;
  }

  #memo(runId: string): Memo {
    let memo = this.#memos.get(runId);
    if (!memo) {
      memo = {};
      this.#memos.set(runId, memo);
    }
    return memo;
  }
}

/** A run id contains no blank, so the key of outputs never equals that of a memo. */
const outputsKeyOf = ({ self, digest }: LineageEvent): string => `${self.runId} ${digest.slice(0, 32)}`;

const unique = (datasets: readonly Dataset[]): Dataset[] => [
  ...new Map(datasets.map((dataset) => [dataset.artifactId, dataset])).values(),
];
