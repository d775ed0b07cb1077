import type { RunHeader, RunStatus } from './run.ts';

/**
 * A list of runs that changes in place: the pages of `run.list` in React Query's cache, and the headers that changed since
 * (`onRunSummary` from the first page's `position`) patched into them once a frame.
 *
 * A fetch of another page builds on the pages as they were when it began, and so undoes patches that were made meanwhile;
 * and it may bring runs older than a header that came before it. So while one is under way all changed headers are kept
 * beside the pages, and `merge` puts them together whenever the list is looked at: of two headers the later `lastSeq`
 * stands. Once nothing is under way only the runs that wait to be shown are kept.
 */
export type RunsFilter = {
  projectId?: string | undefined;
  status?: readonly RunStatus[] | undefined;
  labels?: Record<string, string> | undefined;
  /** In the name or the id, in whatever case. */
  text?: string | undefined;
};
/** As the server selects. */
export function matcherOf({ projectId, status, labels, text }: RunsFilter): (run: RunHeader) => boolean {
  const wanted = text?.toLowerCase();
  const wantedLabels = Object.entries(labels ?? {});
  return (run) =>
    (projectId === undefined || run.projectId === projectId) &&
    (status === undefined || status.includes(run.status)) &&
    wantedLabels.every(([name, value]) => Object.hasOwn(run.labels, name) && run.labels[name] === value) &&
    (wanted === undefined || run.name.toLowerCase().includes(wanted) || run.runId.toLowerCase().includes(wanted));
}
