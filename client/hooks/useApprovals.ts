import { hashKey, type SkipToken, skipToken, useInfiniteQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useMemo, useSyncExternalStore } from 'react';
import type { RunwireError } from '../../shared/errors.ts';
import type { ApprovalStatus, Decision, ListedApproval } from '../../shared/run.ts';
import { runwireErrorOf } from '../errors.ts';
import {
  type ApprovalKey,
  ApprovalsFeed,
  type ApprovalsFeedState,
  type ApprovalsPages,
  approvalKeyOf,
  type DecisionInput,
} from '../feeds/approvals-feed.ts';
import { MAX_PENDING_FAILURES, retryOptions } from '../feeds/subscription.ts';
import { useRunwire } from './context.ts';

export type UseApprovalsOptions = {
  /** Default: all projects that the user may read. */
  projectId?: string | undefined;
  /** Default `pending`. */
  status?: ApprovalStatus | readonly ApprovalStatus[] | undefined;
  /** Lists only approvals that the user can decide now. Default false. */
  needsMyDecision?: boolean | undefined;
  /** Approvals per page, at most 500; default 50. */
  limit?: number | undefined;
  /** `false` stops the query and the subscription; default true. */
  enabled?: boolean | undefined;
};

export type InboxApproval = ListedApproval & {
  /** Number of grants so far. `requiredApprovals` grants decide. */
  grantsGiven: number;
  /** The decision that the user has sent and that the server has not answered; undefined without one. */
  deciding: Decision['decision'] | undefined;
};

export type UseApprovalsReturn = Omit<ApprovalsFeedState, 'deciding'> & {
  /** The approvals, newest request first. An unchanged approval is the same object as before. */
  approvals: readonly InboxApproval[];
  /** `pending`: the list is loading. `success`: `approvals` is loaded. `error`: there is no list; `error` states why. */
  status: 'pending' | 'success' | 'error';
  error: RunwireError | null;
  isConnected: boolean;
  /**
   * Sends the user's decision. The approval shows it in `deciding` at once. Rejects with a `RunwireError`; if another decision
   * came first, its code is `APPROVAL_ALREADY_DECIDED` and `outcome` states the result.
   */
  decide(approval: ApprovalKey, decision: DecisionInput): Promise<void>;
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  /** Loads the next page. Does nothing without a next page. */
  fetchNextPage(): Promise<void>;
  /** Resumes after an error. Reconnects at once if the connection is down. */
  reconnect(): void;
};

const nothing: readonly never[] = [];

/**
 * Returns approvals, newest request first and in pages, and keeps them up to date: an inbox. By default these are the
 * pending approvals of all projects that the user may read. `canDecide` states whether the user can decide an approval now.
 */
export function useApprovals(options: UseApprovalsOptions | SkipToken = {}): UseApprovalsReturn {
  const { enabled = true, projectId, status = 'pending', needsMyDecision, limit } = settingsOf(options);
  const { client, feeds, queries, queryKey: keyOf } = useRunwire();
  const statuses = typeof status === 'string' ? [status] : [...status];
  const input = { projectId, status: statuses, needsMyDecision, limit };
  const queryKey = keyOf('approvals', input);
  const key = hashKey(queryKey);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key represents the options.
  const feed = useMemo(
    () => new ApprovalsFeed(feeds, queries, queryKey, { projectId, status: statuses, needsMyDecision }),
    [feeds, queries, key],
  );
  const query = useInfiniteQuery(
    {
      queryKey,
      queryFn: ({ pageParam, signal }) => client.approval.list.query({ ...input, cursor: pageParam }, { signal }),
      initialPageParam: null as string | null,
      getNextPageParam: (page) => page.nextCursor,
      enabled,
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      structuralSharing: false,
      ...retryOptions,
    },
    queries,
  );
  const state = useSyncExternalStore(feed.subscribe, feed.getState, feed.getState);
  const { data, fetchStatus, hasNextPage, isFetchingNextPage, fetchNextPage: fetchNext, refetch } = query;
  const hasList = data !== undefined;
  useEffect(() => (enabled && hasList ? feed.follow() : undefined), [feed, enabled, hasList]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `fetchStatus` changes when a fetch ends.
  useEffect(() => feed.changed(), [feed, fetchStatus]);

  const approvals = useInbox(data as ApprovalsPages | undefined, state.deciding);
  const failure = query.error ?? (query.failureCount >= MAX_PENDING_FAILURES ? query.failureReason : null);
  const listError = useMemo(() => (failure ? runwireErrorOf(failure) : null), [failure]);
  const fetchNextPage = useCallback(async () => {
    if (hasNextPage) await fetchNext({ cancelRefetch: false });
  }, [fetchNext, hasNextPage]);
  const reconnect = useCallback(() => {
    feed.reconnect();
    if (enabled && !hasList) void refetch({ cancelRefetch: false });
  }, [feed, refetch, enabled, hasList]);
  // A page may be empty although there are further approvals.
  const isIncomplete = enabled && hasNextPage && approvals.length === 0 && !query.error;
  useEffect(() => {
    if (isIncomplete && !isFetchingNextPage) void fetchNext({ cancelRefetch: false });
  }, [isIncomplete, isFetchingNextPage, fetchNext]);
  const { deciding: _, ...rest } = state;
  return {
    ...rest,
    approvals,
    status: !hasList ? (listError ? 'error' : 'pending') : isIncomplete ? 'pending' : 'success',
    error: listError ?? state.error,
    connectionState: enabled && state.connectionState === 'idle' ? 'connecting' : state.connectionState,
    isConnected: state.connectionState === 'connected',
    decide: feed.decide,
    hasNextPage,
    isFetchingNextPage,
    fetchNextPage,
    reconnect,
  };
}

const settingsOf = (options: UseApprovalsOptions | SkipToken): UseApprovalsOptions =>
  options === skipToken ? { enabled: false } : (options as UseApprovalsOptions);

/** Returns the approvals of all pages. An approval that did not change is the same object as before. */
function useInbox(
  data: ApprovalsPages | undefined,
  deciding: ApprovalsFeedState['deciding'],
): readonly InboxApproval[] {
  const made = useMemo(() => new WeakMap<ListedApproval, InboxApproval>(), []);
  return useMemo(() => {
    const listed = data?.pages.flatMap(({ approvals }) => approvals) ?? nothing;
    return listed.map((approval) => {
      const decision = deciding.get(approvalKeyOf(approval));
      const before = made.get(approval);
      if (before && before.deciding === decision) return before;
      const grantsGiven = approval.decisions.filter((each) => each.decision === 'granted').length;
      const after = { ...approval, grantsGiven, deciding: decision };
      made.set(approval, after);
      return after;
    });
  }, [data, deciding, made]);
}
