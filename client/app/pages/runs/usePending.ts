import { useMemo, useRef } from 'react';
import { type InboxApproval, type RunHeader, useApprovals } from '../../../hooks/index.ts';

export type PendingOf = (run: RunHeader) => readonly InboxApproval[];

const MAX_APPROVALS = 500;
const none: readonly InboxApproval[] = [];

/** Returns a function from a run to its pending approvals, for the titles and counts of runs that wait. */
export function usePending(projectId: string | undefined, runs: readonly RunHeader[]): PendingOf {
  const hasWaiting = runs.some(({ status }) => status === 'waiting');
  // Once needed, the approvals stay followed: the last run that waits may be replaced by another soon.
  const wasNeeded = useRef(false);
  wasNeeded.current ||= hasWaiting;
  const { approvals } = useApprovals({
    status: 'pending',
    projectId,
    limit: MAX_APPROVALS,
    enabled: wasNeeded.current,
  });
  const lists = useRef<ReadonlyMap<string, readonly InboxApproval[]>>(new Map());
  return useMemo(() => {
    const byRun = new Map<string, InboxApproval[]>();
    for (const approval of [...approvals].reverse()) {
      const key = keyOf(approval);
      const list = byRun.get(key);
      if (list) list.push(approval);
      else byRun.set(key, [approval]);
    }
    // An unchanged list is the same object as before, so that the row of the run is not rendered again.
    const kept = new Map<string, readonly InboxApproval[]>(byRun);
    for (const [key, list] of byRun) {
      const before = lists.current.get(key);
      if (before?.length === list.length && list.every((one, index) => one === before[index])) kept.set(key, before);
    }
    lists.current = kept;
    return (run) => kept.get(keyOf(run)) ?? none;
  }, [approvals]);
}

const keyOf = ({ projectId, runId }: { projectId: string; runId: string }) => `${projectId} ${runId}`;
