import type { InfiniteData, QueryClient, QueryKey } from '@tanstack/react-query';
import type { RunEvent } from '../../shared/events.ts';
import type { ApprovalStatus, Decision, ListedApproval } from '../../shared/run.ts';
import { Store } from '../connection/store.ts';
import { runwireErrorOf } from '../errors.ts';
import type { FeedScope } from './feed-scope.ts';
import { subscribeTo } from './query.ts';
import { FeedSubscription, reconnectIfDown, retryLoading, type SubscriptionState } from './subscription.ts';

/**
 * A list of approvals that stays up to date. React Query's cache holds the pages of the procedure `approval.list`. A
 * subscription delivers the governance events after the first page's `position` (in the log).
 *
 * The server alone knows whether the user can decide an approval. So after an event, the feed requests the approval of the
 * event (`approval.get`), and writes it into the pages. After many events at once, it fetches the pages again instead.
 */

export type ApprovalKey = { projectId: string; runId: string; approvalId: string };
export type DecisionInput =
  | { decision: 'granted'; comment?: string | undefined }
  | { decision: 'denied'; reason: string };
export type ApprovalFilter = {
  projectId?: string | undefined;
  status?: readonly ApprovalStatus[] | undefined;
  needsMyDecision?: boolean | undefined;
};
export type ApprovalsPage = { approvals: ListedApproval[]; nextCursor?: string; position: string };
export type ApprovalsPages = InfiniteData<ApprovalsPage, string | null>;

export type ApprovalsFeedState = SubscriptionState & {
  /** Decisions that the user has sent and that the server has not answered, by {@link approvalKeyOf}. */
  deciding: ReadonlyMap<string, Decision['decision']>;
};

export const approvalKeyOf = ({ projectId, runId, approvalId }: ApprovalKey) =>
  JSON.stringify([projectId, runId, approvalId]);

/** Above this number of changed approvals, the feed fetches the pages again. */
const MAX_SINGLE_REQUESTS = 20;

export class ApprovalsFeed {
  readonly #feeds: FeedScope;
  readonly #queries: QueryClient;
  readonly #queryKey: QueryKey;
  readonly #filter: ApprovalFilter;
  readonly #subscription: FeedSubscription<RunEvent>;
  readonly #store: Store<ApprovalsFeedState>;
  #observerCount = 0;
  /** Aborted when the last hook has stopped following the list. */
  #following: AbortController | undefined;
  /** Approvals that have changed since the pages were fetched or since they were requested. */
  #changed = new Map<string, ApprovalKey>();
  /** True after a gap, until the pages have been fetched again. */
  #needsAll = false;
  #isLoading = false;
  #deciding = new Map<string, Decision['decision']>();

  constructor(feeds: FeedScope, queries: QueryClient, queryKey: QueryKey, filter: ApprovalFilter) {
    this.#feeds = feeds;
    this.#queries = queries;
    this.#queryKey = queryKey;
    this.#filter = filter;
    const { projectId } = filter;
    const query = {
      ...(projectId === undefined ? { scope: 'all' as const } : { projectId }),
      categories: ['governance' as const],
    };
    this.#subscription = new FeedSubscription<RunEvent>(feeds, {
      open: (cursor, observer) => {
        return subscribeTo(feeds.client, query, cursor ?? this.#pages?.pages[0]?.position, observer);
      },
      seqOf: ({ seq }) => seq,
      onItem: (event) => {
        const { projectId, runId, approvalId } = event as RunEvent & ApprovalKey;
        const key = { projectId, runId, approvalId };
        this.#changed.set(approvalKeyOf(key), key);
        void this.#load();
      },
      onGap: () => {
        this.#needsAll = true;
        void this.#load();
      },
      onChange: () => this.changed(),
    });
    this.#store = new Store<ApprovalsFeedState>({
      ...this.#subscription.state(),
      connectionState: 'idle',
      deciding: this.#deciding,
    });
  }

  /** Returns the state, as the same object until the state changes. */
  readonly getState = (): ApprovalsFeedState => this.#store.getState();
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  /** Keeps the list up to date until the returned function is called. The first page must be in the cache. */
  follow(): () => void {
    this.#observerCount++;
    this.#subscription.watch();
    queueMicrotask(() => this.#open());
    this.changed();
    return () => {
      this.#observerCount--;
      queueMicrotask(() => {
        if (this.#observerCount === 0) this.#close();
      });
    };
  }

  readonly reconnect = (): void => {
    reconnectIfDown(this.#feeds.connection);
    this.#subscription.failure = null;
    this.#open();
    this.changed();
  };

  /**
   * Sends a decision. Until the server answers, the state has it in `deciding`. Then the list shows the answer. Rejects with
   * a `RunwireError`; the list then shows the approval as the server has it.
   */
  readonly decide = async (approval: ApprovalKey, input: DecisionInput): Promise<void> => {
    const { projectId, runId, approvalId } = approval;
    const key = { projectId, runId, approvalId };
    const id = approvalKeyOf(key);
    this.#setDeciding(id, input.decision);
    try {
      const { client } = this.#feeds;
      const standing =
        input.decision === 'granted'
          ? await client.approval.grant.mutate({ ...key, comment: input.comment })
          : await client.approval.deny.mutate({ ...key, reason: input.reason });
      this.#patch(id, (before) => before && { ...before, ...standing, canDecide: false });
    } catch (error) {
      this.#changed.set(id, key);
      void this.#load();
      throw runwireErrorOf(error);
    } finally {
      this.#setDeciding(id, undefined);
    }
  };

  /** Schedules an update for the next frame. Call it after a change of the cached pages or of their fetch status. */
  changed(): void {
    this.#feeds.frames.add(this.#update);
  }

  get #pages(): ApprovalsPages | undefined {
    return this.#queries.getQueryData<ApprovalsPages>(this.#queryKey);
  }

  get #isFetching(): boolean {
    return this.#queries.getQueryState(this.#queryKey)?.fetchStatus === 'fetching';
  }

  #open(): void {
    if (this.#observerCount === 0 || this.#subscription.isOpen || this.#subscription.failure) return;
    if (this.#feeds.isEnded) return;
    this.#following ??= new AbortController();
    this.#subscription.open();
    void this.#load();
  }

  #close(): void {
    this.#following?.abort();
    this.#following = undefined;
    this.#subscription.end();
    this.#subscription.failure = null;
    this.#feeds.frames.delete(this.#update);
    // The next subscription starts at the `position` in the cache, which is not past an approval that must be requested.
    this.#changed.clear();
    this.#subscription.cursor = undefined;
  }

  /** Requests the changed approvals, or fetches the pages again, until nothing has changed meanwhile. */
  async #load(): Promise<void> {
    const signal = this.#following?.signal;
    if (this.#isLoading || !signal) return;
    this.#isLoading = true;
    try {
      await Promise.resolve(); // Events of one message are handled together.
      while (!signal.aborted && (this.#needsAll || (this.#changed.size > 0 && !this.#isFetching))) {
        if (this.#changed.size > MAX_SINGLE_REQUESTS) this.#needsAll = true;
        if (this.#needsAll) await retryLoading(() => this.#fetchAll(), signal);
        else await Promise.all([...this.#changed].map(([id, key]) => this.#request(id, key, signal)));
      }
    } catch {
      // The signal was aborted; or the server refused, and React Query keeps that error for the hook.
    } finally {
      this.#isLoading = false;
      this.changed();
      // The last hook may have left, and another one may have come, while the last request was under way.
      if (signal.aborted) void this.#load();
    }
  }

  async #fetchAll(): Promise<void> {
    this.#needsAll = false;
    this.#changed.clear();
    await this.#queries.refetchQueries({ queryKey: this.#queryKey, exact: true });
    const state = this.#queries.getQueryState(this.#queryKey);
    if (state?.status === 'success' && state.fetchStatus === 'idle' && !this.#needsAll) {
      this.#subscription.isInGap = false;
      return;
    }
    this.#needsAll = true;
    throw state?.error ?? new Error('the fetch was cancelled');
  }

  async #request(id: string, key: ApprovalKey, signal: AbortSignal): Promise<void> {
    this.#changed.delete(id);
    const approval = await retryLoading(async () => {
      try {
        return await this.#feeds.client.approval.get.query(key, { signal });
      } catch (error) {
        const { code } = runwireErrorOf(error);
        if (code === 'RUN_NOT_FOUND' || code === 'APPROVAL_NOT_FOUND') return undefined;
        throw error;
      }
    }, signal);
    if (!signal.aborted && !this.#changed.has(id)) this.#patch(id, () => approval);
  }

  /** Writes an approval into the pages, or removes it from them. The newest request is first. */
  #patch(id: string, change: (before: ListedApproval | undefined) => ListedApproval | undefined): void {
    const data = this.#pages;
    if (!data) return;
    const before = data.pages.flatMap((page) => page.approvals).find((approval) => approvalKeyOf(approval) === id);
    const after = change(before);
    const listed = after && this.#matches(after) ? after : undefined;
    if (before === listed) return;
    let rest = listed;
    const pages = data.pages.map((page, index) => {
      const approvals = page.approvals.flatMap((approval) => {
        if (approvalKeyOf(approval) === id) {
          const kept = rest;
          rest = undefined;
          return kept ? [kept] : [];
        }
        if (before || !rest || rest.order.seq < approval.order.seq) return [approval];
        const inserted = rest;
        rest = undefined;
        return [inserted, approval];
      });
      // Below the last page, an approval belongs to a page that has not been fetched.
      const isLast = index === data.pages.length - 1 && page.nextCursor === undefined;
      if (rest && isLast) approvals.push(rest);
      return { ...page, approvals };
    });
    this.#queries.setQueryData<ApprovalsPages>(this.#queryKey, { ...data, pages });
    this.changed();
  }

  #matches({ status, canDecide }: ListedApproval): boolean {
    const { status: wanted, needsMyDecision } = this.#filter;
    return (wanted === undefined || wanted.includes(status)) && (!needsMyDecision || canDecide);
  }

  #setDeciding(id: string, decision: Decision['decision'] | undefined): void {
    this.#deciding = new Map(this.#deciding);
    if (decision === undefined) this.#deciding.delete(id);
    else this.#deciding.set(id, decision);
    this.changed();
  }

  readonly #update = (): void => {
    if (this.#changed.size > 0 && !this.#isFetching) void this.#load();
    this.#advance();
    const needsSnapshot = this.#changed.size > 0 || this.#isLoading;
    const state = { ...this.#subscription.state({ needsSnapshot }), deciding: this.#deciding };
    const isIdle = this.#observerCount === 0;
    this.#store.state = isIdle ? { ...state, connectionState: 'idle', error: null, retryAtMs: null } : state;
    this.#store.notify();
  };

  /** Moves the `position` of the pages up to the subscription, once the pages contain every change up to there. */
  #advance(): void {
    const data = this.#pages;
    const { cursor, isInGap } = this.#subscription;
    const [first, ...rest] = data?.pages ?? [];
    const isComplete = !isInGap && !this.#needsAll && !this.#isLoading && !this.#isFetching && this.#changed.size === 0;
    if (!data || !first || cursor === undefined || !isComplete || first.position === cursor) return;
    this.#queries.setQueryData<ApprovalsPages>(this.#queryKey, {
      ...data,
      pages: [{ ...first, position: cursor }, ...rest],
    });
  }
}
