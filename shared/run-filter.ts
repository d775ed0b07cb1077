import type { RunHeader, RunStatus } from './run.ts';

/** Which runs a list holds. All given fields must match. */
export type RunFilter = {
  projectId?: string | undefined;
  /** Any of these. */
  status?: readonly RunStatus[] | undefined;
  /** The run must have each of these labels, with the same value. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Case-insensitive part of the name or the run id. */
  text?: string | undefined;
  /** Instants, ISO 8601 UTC, on `createdAt`: `since` inclusive, `until` exclusive. */
  since?: string | undefined;
  until?: string | undefined;
};

/**
 * Returns the test of a filter. The store lists runs with it, and the client filters a list that changes in place: the two
 * must agree, or a run would appear in the list and vanish with the next fetch.
 */
export function runMatcher({ projectId, status, labels, text, since, until }: RunFilter): (run: RunHeader) => boolean {
  const lowerCaseText = text?.toLowerCase();
  const labelEntries = Object.entries(labels ?? {});
  return (run) =>
    (projectId === undefined || run.projectId === projectId) &&
    (since === undefined || run.createdAt >= since) &&
    (until === undefined || run.createdAt < until) &&
    (status === undefined || status.includes(run.status)) &&
    labelEntries.every(([name, value]) => Object.hasOwn(run.labels, name) && run.labels[name] === value) &&
    (lowerCaseText === undefined ||
      run.name.toLowerCase().includes(lowerCaseText) ||
      run.runId.toLowerCase().includes(lowerCaseText));
}
