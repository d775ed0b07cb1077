import type { RunHeader, RunStatus } from './run.ts';

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
