import { skipToken } from '@tanstack/react-query';
import { createContext, type ReactNode, use, useEffect, useRef } from 'react';
import { type InboxApproval, useApprovals } from '../../hooks/index.ts';
import { useSession } from '../hooks/useSession.ts';
import { announce } from '../lib/announce.ts';

/** Above this number the count is `99+`. */
const MAX_COUNTED = 99;

const Count = createContext(0);

/** Returns how many approvals wait for the user. */
export const useWaitingForMe = (): number => use(Count);

export const countText = (count: number): string => (count > MAX_COUNTED ? `${MAX_COUNTED}+` : String(count));

/** Follows the approvals that the user can decide now, for the count beside the word Approvals and in the title. */
export function WaitingForMe({ children }: { children: ReactNode }) {
  const { can } = useSession();
  // The inbox has the same query, and so the same subscription.
  const { approvals, counts, status } = useApprovals(can('approver') ? { box: 'mine' } : skipToken);
  const known = useRef<ReadonlySet<string> | null>(null);
  useEffect(() => {
    if (status !== 'success') return;
    const before = known.current;
    known.current = new Set(approvals.map(keyOf));
    const fresh = before ? approvals.find((approval) => !before.has(keyOf(approval))) : undefined;
    if (fresh) announce(`New approval: ${fresh.title}`);
  }, [approvals, status]);
  return <Count value={counts?.mine ?? approvals.length}>{children}</Count>;
}

const keyOf = ({ projectId, runId, approvalId }: InboxApproval) => JSON.stringify([projectId, runId, approvalId]);
