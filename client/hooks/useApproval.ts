import { type SkipToken, skipToken } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import { ApprovalFeed, type ApprovalFeedState } from '../feeds/approval-feed.ts';
import type { ApprovalKey, DecisionInput, InboxApproval } from '../feeds/decisions.ts';
import { useRunwire } from './context.ts';
import { listStateOf } from './list-state.ts';
import { useTracked } from './useTracked.ts';

/** Result of `useApproval`: the approval with its evidence, and `decide`. */
export type UseApprovalReturn = Omit<ApprovalFeedState, 'approval' | 'status' | 'error' | 'seq'> & {
  /** The approval, whatever its status. The same object until something of it changes. */
  approval: InboxApproval | undefined;
  /** `error`: there is no such approval yet, or the user may not read it; `error` states why. It is followed all the same. */
  status: 'pending' | 'success' | 'error';
  /** Why there is no approval, or why it is not updated at the moment; null otherwise. */
  error: RunwireError | null;
  /** `approval` has every change up to this position of the log, its evidence included: the `seenSeq` of a decision. */
  seq: number | null;
  isConnected: boolean;
  /** Sends the user's decision. Rejects as `decide` of `useApprovals` does. */
  decide(decision: DecisionInput): Promise<void>;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

/**
 * Returns one approval with its evidence, and keeps it up to date, also after it was decided or has expired. With
 * `skipToken` the hook is idle. The component renders only after a change of a field that it reads.
 */
export function useApproval(key: ApprovalKey | SkipToken): UseApprovalReturn {
  const isSkipped = key === skipToken;
  const { feeds } = useRunwire();
  const { projectId, runId, approvalId } = isSkipped ? noKey : key;
  const feed = useMemo(
    () => new ApprovalFeed(feeds, { projectId, runId, approvalId }),
    [feeds, projectId, runId, approvalId],
  );
  const resultOf = useCallback(
    (state: ApprovalFeedState): UseApprovalReturn => {
      const { decide, reconnect } = feed;
      return { ...listStateOf(state, !isSkipped), decide, reconnect };
    },
    [feed, isSkipped],
  );
  const result = useTracked(feed, resultOf);
  // This effect comes after the subscription of the state, so that at unmount React removes the listener first.
  useEffect(() => (isSkipped ? undefined : feed.follow()), [feed, isSkipped]);
  return result;
}

const noKey: ApprovalKey = { projectId: '', runId: '', approvalId: '' };
