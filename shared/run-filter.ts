import type { RunHeader, RunStatus } from './run.ts';

/** The filter of a list of runs. A run must match every field that is given. */
export type RunFilter = {
  projectId?: string | undefined;
  /** The run has one of these statuses. */
  status?: readonly RunStatus[] | undefined;
  /** Of the failed runs, only those that were cancelled (error code `CANCELLED`); `false`: only the others. */
  cancelled?: boolean | undefined;
  /** The run must have each of these labels, with the same value. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** The run's name or id contains this text. Upper and lower case are treated as equal. */
  text?: string | undefined;
  /** The run was created at this instant or later (ISO 8601 UTC). */
  since?: string | undefined;
  /** The run was created before this instant (ISO 8601 UTC). */
  until?: string | undefined;
};

export const isCancelled = ({ error }: Pick<RunHeader, 'error'>): boolean => error?.code === 'CANCELLED';

/**
 * Returns a function that checks a run against a filter. The server lists runs with this function, and the client
 * updates a list with it. If the two disagreed, a run would appear in the client's list and vanish with the next fetch.
 */
export function runMatcher({
  projectId,
  status,
  cancelled,
  labels,
  text,
  since,
  until,
}: RunFilter): (run: RunHeader) => boolean {
  const lowerCaseText = text?.toLowerCase();
  const labelEntries = Object.entries(labels ?? {});
  return (run) =>
    (projectId === undefined || run.projectId === projectId) &&
    (since === undefined || run.createdAt >= since) &&
    (until === undefined || run.createdAt < until) &&
    (status === undefined || status.includes(run.status)) &&
    (cancelled === undefined || run.status !== 'failed' || isCancelled(run) === cancelled) &&
    labelEntries.every(([name, value]) => Object.hasOwn(run.labels, name) && run.labels[name] === value) &&
    (lowerCaseText === undefined ||
      run.name.toLowerCase().includes(lowerCaseText) ||
      run.runId.toLowerCase().includes(lowerCaseText));
}
