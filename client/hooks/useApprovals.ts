import { hashKey, type SkipToken, skipToken } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import {
  ApprovalsFeed,
  type ApprovalsFeedState,
  type ApprovalsQuery,
  approvalsInputOf,
} from '../feeds/approvals-feed.ts';
import type { ApprovalKey, DecisionInput, InboxApproval } from '../feeds/decisions.ts';
import { useRunwire } from './context.ts';
import { listStateOf } from './list-state.ts';
import { useTracked } from './useTracked.ts';

/** Options of `useApprovals`: a box or a status, a project, and the size of a page (default 50). */
export type UseApprovalsOptions = ApprovalsQuery & {
  /** `false` stops the query and the subscription; default true. */
  enabled?: boolean | undefined;
};

/** Result of `useApprovals`: the approvals, `decide`, and the pages. */
export type UseApprovalsReturn = Omit<ApprovalsFeedState, 'approvals' | 'status' | 'error'> & {
  /** The approvals, in the order of the box or newest request first. An unchanged approval is the same object as before. */
  approvals: readonly InboxApproval[];
  /**
   * `pending`: the list is loading. `success`: `approvals` is loaded. `error`: there is no list; `error` states why. A
   * request that the server did not answer is tried again with growing delays, also in the status `error`.
   */
  status: 'pending' | 'success' | 'error';
  /** Why there is no list, or why it is not updated at the moment; null otherwise. */
  error: RunwireError | null;
  isConnected: boolean;
  /**
   * Sends the user's decision. The approval shows it in `deciding` at once. Rejects with a `RunwireError`; if another decision
   * came first, its code is `APPROVAL_ALREADY_DECIDED` and `outcome` states the result. If the request or its evidence changed
   * after `seenSeq`, its code is `EVIDENCE_CHANGED` and `changes` states what.
   */
  decide(approval: ApprovalKey, decision: DecisionInput): Promise<void>;
  /** Loads the next page. Does nothing without a next page. If a fetch is under way, waits for that fetch instead. */
  fetchNextPage(): Promise<void>;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

const noApprovals = { approvals: [], counts: undefined, status: 'pending', hasNextPage: false } as const;

/**
 * Returns approvals in pages, and keeps them up to date: an inbox. With `box`, these are what waits for the user, what the
 * user asked for, what is decided, or what has expired, with the counts of all boxes; else the pending approvals, newest
 * request first. `canDecide` states whether the user can decide an approval now, and `cannotDecide` why not. The artifacts of
 * the evidence are as they were when the approval last changed: `useApproval` follows them.
 * The component renders only after a change of a field that it reads.
 */
export function useApprovals(options: UseApprovalsOptions | SkipToken = {}): UseApprovalsReturn {
  const isSkipped = options === skipToken;
  const { enabled = !isSkipped, ...query } = isSkipped ? ({} as UseApprovalsOptions) : options;
  const { feeds, queries, queryKey: keyFor, renderedData } = useRunwire();
  const queryKey = keyFor('approvals', approvalsInputOf(query));
  const key = hashKey(queryKey);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the options.
  const feed = useMemo(() => new ApprovalsFeed(feeds, queries, queryKey, query), [feeds, queries, key]);

  const resultOf = useCallback(
    (state: ApprovalsFeedState): UseApprovalsReturn => {
      const { decide, fetchNextPage, reconnect } = feed;
      const shown = isSkipped ? { ...state, ...noApprovals } : state;
      return { ...listStateOf(shown, enabled), decide, fetchNextPage, reconnect };
    },
    [feed, enabled, isSkipped],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the query key.
  const renderedResult = useCallback(() => {
    // No function fetches approvals in advance: a server renders the loading state.
    const isLoaded = renderedData(queryKey) === undefined && queries.getQueryData(queryKey) !== undefined;
    return isLoaded ? resultOf({ ...feed.getState(), ...noApprovals }) : undefined;
  }, [feed, queries, key, renderedData, resultOf]);
  const onRead = useCallback(
    (field: keyof UseApprovalsReturn) => {
      if (field === 'counts') feed.needsCounts = true;
    },
    [feed],
  );
  const result = useTracked(feed, resultOf, onRead, renderedResult);
  // This effect comes after the subscription of the state, so that at unmount React removes the listener first.
  useEffect(() => (enabled ? feed.follow() : undefined), [feed, enabled]);
  return result;
}
