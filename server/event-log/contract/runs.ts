import type { RunHeader, RunView } from '../../../shared/run.ts';
import type { RunActivity } from '../../../shared/run-activity.ts';
import type { RunFilter } from '../../../shared/run-filter.ts';
import type { Caller } from '../../slices.ts';
import type { Decider } from './decider.ts';
import type { Projects } from './search.ts';

export type RunQuery = RunFilter &
  Caller & {
    /** Only runs of these projects. The store MUST NOT read runs of other projects. */
    projects: Projects;
    /** Only the runs of this id. `projects` MUST be a list then. */
    runId?: string | undefined;
    /** Only runs with a pending approval that waits for this user: `waitsFor` of `decidable.ts`. */
    decider?: Decider | undefined;
    limit: number;
    /** `next` of the previous page. */
    after?: RunKey | undefined;
  };

/** Names the last run of a page, as it was then. */
export type RunKey = { createdAt: string; projectId: string; runId: string };
/**
 * `next` is absent at the end of the list. A page may be short or empty and still have `next`: the call has used up its
 * budget of work, or the page has enough bytes.
 */
export type RunPage = {
  runs: RunHeader[];
  next?: RunKey;
  /** Head of the log before the page was read: changes after this position may be missing from the page. */
  position: number;
};

/** `since`, `until`: ISO 8601 UTC. */
export type ActivityQuery = Caller & {
  /** Only runs of these projects. The store MUST NOT read runs of other projects. */
  projects: Projects;
  since: string;
  until: string;
  buckets: number;
};

/** A project with runs. `running` stops at 10,000. */
export type ProjectRuns = { projectId: string; running: number };

export type ChangeQuery = Caller & {
  /** Only runs of these projects. The store MUST NOT read runs of other projects. */
  projects: Projects;
  /** As in {@link RunQuery}. */
  runId?: string | undefined;
  /** Position in the log: only runs with a greater `lastSeq` (the position of their last event). */
  after: number;
  limit: number;
  /** If given, the page states for each run whether it has a pending approval that waits for this user. */
  decider?: Decider | undefined;
};
/**
 * All runs with `after < lastSeq <= scannedTo`. The next call continues after `scannedTo`, which is `Log.head` when the
 * call has reached the end, and never beyond it.
 */
export type ChangePage = {
  runs: RunHeader[];
  /** Of the row at `lastSeq` of each run, as `Log.hashPrefixesAt` returns it. */
  hashPrefixes: (string | undefined)[];
  /** For each run, whether an approval waits for the `decider`, as of the moment of the page. */
  isAwaited?: boolean[];
  scannedTo: number;
  /** Number of erasures that have removed their text from the page, as `Page.erasures`. */
  erasures: number;
};

/** `after`: `next` of the previous page. */
export type ViewQuery = Caller & { after?: ViewKey | undefined };
/**
 * Position in a view that is read in pages: the last row that was read, of the rows that changed after `since`. `seen` is
 * the run's `lastSeq` when this pass over the rows began.
 */
export type ViewKey = {
  list: 'stages' | 'artifacts' | 'approvals';
  id: string;
  since: number;
  seen: number;
  erasures: number;
};
/**
 * A page of a view. A view with few bytes is one page. The pages of a larger view are merged by the ids of their rows: a
 * later page has rows again that changed meanwhile. The result is the state of the run at the `position` of the last page.
 */
export type ViewPage = { run: RunView; position: number; next?: ViewKey };

/**
 * The state of every run, computed from its events.
 *
 * - A run's header, stages, artifacts and approvals MUST change in the transaction that logs the event. The cost MUST NOT
 *   grow with the size of the run.
 * - A run MUST stay when its events are trimmed. Only `remove` removes it.
 */
export interface RunStore {
  /**
   * Returns the state of a run and a position in the log, read at the same moment: the state includes every event up to
   * this position. Undefined for an unknown run.
   */
  get(projectId: string, runId: string, query?: ViewQuery): Promise<ViewPage | undefined>;

  /** Returns the header of a run; undefined for an unknown run. */
  header(projectId: string, runId: string, caller?: Caller): Promise<RunHeader | undefined>;

  /**
   * Lists headers (runs without their stages, artifacts and approvals), newest `createdAt` first. A run that is created
   * between two pages MUST NOT make the next page repeat or skip another run. After a bounded amount of work, the store
   * MUST return what it has found.
   */
  list(query: RunQuery): Promise<RunPage>;

  /** Returns the names of runs, in their order; undefined for an unknown run. */
  namesOf(runs: readonly { projectId: string; runId: string }[], caller?: Caller): Promise<(string | undefined)[]>;

  /** Counts the runs of a period, and those that have not ended, in a bounded amount of work. */
  activity(query: ActivityQuery): Promise<RunActivity>;

  /**
   * Returns the projects that have runs, in the order of their ids, with the number of their running runs: at most `limit`.
   * The store MUST NOT read runs of other projects than `projects`.
   */
  projects(query: Caller & { projects: Projects; limit: number }): Promise<ProjectRuns[]>;

  /** Returns the headers of the runs that changed after a position, in the order of their last event. */
  changedSince(query: ChangeQuery): Promise<ChangePage>;

  /** Returns the headers of runs, in their order; undefined for an unknown run. */
  headers(runs: readonly { projectId: string; runId: string }[], caller?: Caller): Promise<(RunHeader | undefined)[]>;

  /**
   * Returns the projects that have a run with this id. With `among`, only projects of this list, in its order. Then the
   * store MUST NOT read runs of other projects: otherwise the response time would reveal that such a run exists.
   */
  projectsOf(runId: string, among?: readonly string[], caller?: Caller): Promise<string[]>;

  /**
   * Removes the runs that ended before an instant (ISO 8601 UTC) and have no event left, with their stages and artifacts,
   * and the erasures of trimmed events from before that instant. A run with a pending approval MUST stay. The approvals
   * of a removed run MUST stay in `ApprovalStore.list`. A later event of a removed run begins a new run.
   */
  remove(endedBefore: string): Promise<{ removed: number }>;
}
