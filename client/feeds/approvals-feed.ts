import type { QueryClient, QueryKey } from '@tanstack/react-query';
import type { RunEvent } from '../../shared/events.ts';
import type { ApprovalBox, ApprovalCounts, ApprovalStatus, Decision, ListedApproval } from '../../shared/run.ts';
import { Store } from '../connection/store.ts';
import { MAX_ANSWER_MS, within } from '../connection/timer.ts';
import { runwireErrorOf } from '../errors.ts';
import {
  type ApprovalKey,
  compareIn,
  type DecisionInput,
  decided,
  type InboxApproval,
  inboxApprovalOf,
  isInBox,
  keyOf,
  sendDecision,
} from './decisions.ts';
import type { FeedScope } from './feed-scope.ts';
import { type ListPage, ListQuery, type ListState } from './list-query.ts';
import { subscribeTo } from './query.ts';
import { FeedSubscription, reconnectIfDown, retryLoading } from './subscription.ts';

/**
 * A list of approvals that stays up to date. React Query's cache holds the pages of the procedure `approval.list`. A
 * subscription delivers the governance events after the first page's `position` (in the log).
 *
 * The server alone knows whether the user can decide an approval. So after an event, the feed requests the approval of the
 * event (`approval.get`), and writes it into the pages. After many events at once, and after a gap, it fetches the pages
 * again instead. An answer that arrives during a fetch is requested again after it: the fetch replaces the pages.
 */

export type ApprovalsQuery = {
  /** Default: all projects that the user may read. */
  projectId?: string | undefined;
  /**
   * `mine`: what the user can decide now, the soonest `expiresAt` first. `asked`: what the user asked for, newest request
   * first. `decided` and `expired`: newest decision first. Without a box, approvals are listed by `status`.
   */
  box?: ApprovalBox | undefined;
  /** Default `pending`. Not used with a box. */
  status?: ApprovalStatus | readonly ApprovalStatus[] | undefined;
  /** Approvals per page, at most 500; default 50. */
  limit?: number | undefined;
};

export type ApprovalsFeedState = ListState & {
  approvals: readonly InboxApproval[];
  /** Number of approvals in each box, at most 1,000. Only with a box. */
  counts: ApprovalCounts | undefined;
};

/** Returns the input of `approval.list`. It is also the part of the query key that names the list. */
export const approvalsInputOf = ({ status = 'pending', ...rest }: ApprovalsQuery) => {
  if (rest.box !== undefined) return rest;
  return { ...rest, status: typeof status === 'string' ? [status] : [...status] };
};

type ApprovalsPage = ListPage & { approvals: ListedApproval[]; counts?: ApprovalCounts };
/** `isRequest`: the approval may be new to the list. */
type Changed = ApprovalKey & { isRequest: boolean };

/** Above this number of changed approvals, the feed fetches the pages again. */
const MAX_SINGLE_REQUESTS = 20;
/** Shortest time between two requests of the counts. */
const COUNT_MS = 500;

export class ApprovalsFeed {
  readonly #feeds: FeedScope;
  readonly #list: ListQuery<ApprovalsPage>;
  readonly #query: ApprovalsQuery;
  readonly #subscription: FeedSubscription<RunEvent>;
  readonly #store: Store<ApprovalsFeedState>;
  #observerCount = 0;
  /** Approvals that have changed since the pages were fetched or since they were requested. */
  readonly #changed = new Map<string, Changed>();
  /** Aborts the requests of changed approvals. */
  #requests: AbortController | undefined;
  /** The list must be fetched again before it is complete. */
  #isStale = false;
  /** Whether the counts are used: else they are not requested again. */
  needsCounts = false;
  /** Set from the time when the counts are to be requested until their answer. */
  #countTimer: ReturnType<typeof setTimeout> | undefined;
  #counting = new AbortController();
  readonly #deciding = new Map<string, Decision['decision']>();
  readonly #made = new WeakMap<ListedApproval, InboxApproval>();
  #approvals: readonly InboxApproval[] = [];

  constructor(feeds: FeedScope, queries: QueryClient, queryKey: QueryKey, query: ApprovalsQuery) {
    this.#feeds = feeds;
    const input = approvalsInputOf(query);
    const { projectId } = query;
    this.#query = query;
    this.#list = new ListQuery<ApprovalsPage>(feeds, queries, queryKey, (cursor, signal) =>
      feeds.client.approval.list.query({ ...input, cursor }, { signal }),
    );
    const scope = projectId === undefined ? { scope: 'all' as const } : { projectId };
    this.#subscription = new FeedSubscription<RunEvent>(feeds, {
      open: (cursor, observer) => {
        const lastEventId = cursor ?? this.#list.data?.pages[0]?.position;
        return subscribeTo(feeds.client, { ...scope, categories: ['governance'] }, lastEventId, observer);
      },
      seqOf: ({ seq }) => seq,
      onItem: (event) => this.#note(event as RunEvent & ApprovalKey, event.type === 'governance.required'),
      onGap: () => this.#refetch(),
      onChange: () => this.changed(),
    });
    this.#store = new Store(this.#stateNow());
  }

  /** Returns the state, as the same object until the state changes. */
  readonly getState = (): ApprovalsFeedState => this.#store.state;
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  /** Fetches the list, unless it is in the cache, and keeps it up to date until the returned function is called. */
  follow(): () => void {
    this.#observerCount++;
    this.#list.follow(() => {
      this.#open();
      this.changed();
    });
    this.#subscription.watch();
    // React's StrictMode follows, leaves and follows again in one task.
    queueMicrotask(() => this.#open());
    this.changed();
    return () => {
      this.#observerCount--;
      queueMicrotask(() => {
        if (this.#observerCount === 0) this.#close();
      });
    };
  }

  readonly fetchNextPage = (): Promise<void> => this.#list.fetchNextPage();

  /** Resumes after an error, and tries at once what waits to be tried again. */
  readonly reconnect = (): void => {
    reconnectIfDown(this.#feeds.connection);
    this.#subscription.failure = null;
    this.#list.retry();
    this.#open();
    this.changed();
  };

  /**
   * Sends a decision. Until the server answers, the approval has it as `deciding`. Then the list shows the answer. Rejects
   * with a `RunwireError`; the list then shows the approval as the server has it.
   */
  readonly decide = async ({ projectId, runId, approvalId }: ApprovalKey, input: DecisionInput): Promise<void> => {
    const key = { projectId, runId, approvalId };
    const id = keyOf(key);
    this.#deciding.set(id, input.decision);
    this.changed();
    try {
      const standing = await sendDecision(this.#feeds.client, key, input);
      const isWritten = this.#patch(id, (before) => before && decided(before, standing));
      if (isWritten) this.#recount();
      else this.#note(key);
    } catch (error) {
      this.#note(key);
      throw runwireErrorOf(error);
    } finally {
      this.#deciding.delete(id);
      this.changed();
    }
  };

  /** Schedules an update for the next frame. */
  readonly changed = (): void => this.#feeds.frames.add(this.#update);

  #note({ projectId, runId, approvalId }: ApprovalKey, isRequest = false): void {
    const key = { projectId, runId, approvalId };
    const id = keyOf(key);
    this.#changed.set(id, { ...key, isRequest: isRequest || this.#changed.get(id)?.isRequest === true });
    this.#recount();
    this.changed();
  }

  /** Requests the counts, which concern approvals that the list does not have. Many changes are one request. */
  #recount(): void {
    if (this.#query.box === undefined || this.#observerCount === 0 || !this.needsCounts) return;
    this.#countTimer ??= setTimeout(() => void this.#count(), COUNT_MS * (0.5 + Math.random() / 2));
  }

  async #count(): Promise<void> {
    const { box, projectId } = this.#query;
    const { signal } = this.#counting;
    try {
      const { counts } = await within(MAX_ANSWER_MS, 'the server', signal, (limited) =>
        this.#feeds.client.approval.list.query({ box, projectId, limit: 1 }, { signal: limited }),
      );
      this.#countTimer = undefined;
      if (signal.aborted) return;
      const { data, isWritable } = this.#list;
      const [first, ...rest] = data?.pages ?? [];
      if (!data || !first || !isWritable) return this.#recount();
      this.#list.write({ ...data, pages: [{ ...first, ...(counts ? { counts } : {}) }, ...rest] });
      this.changed();
    } catch {
      this.#countTimer = undefined;
      if (!signal.aborted) this.#recount();
    }
  }

  #open(): void {
    const { isOpen, failure } = this.#subscription;
    if (this.#observerCount === 0 || isOpen || failure || !this.#list.data) return;
    if (this.#list.isInvalidated) this.#isStale = true;
    this.#subscription.open();
  }

  #close(): void {
    this.#feeds.frames.delete(this.#update);
    this.#subscription.end();
    this.#subscription.failure = null;
    clearTimeout(this.#countTimer);
    this.#countTimer = undefined;
    this.#counting.abort();
    this.#counting = new AbortController();
    // The next subscription starts at the `position` in the cache, which is not past an approval that must be requested.
    this.#dropRequests();
    this.#subscription.cursor = undefined;
    this.#list.stop();
    this.#store.state = this.#stateNow();
    this.#store.notify();
  }

  #dropRequests(): void {
    this.#requests?.abort();
    this.#requests = undefined;
    this.#changed.clear();
  }

  /** Fetches the pages again, which then have all changes so far. */
  #refetch(): void {
    this.#dropRequests();
    this.#isStale = true;
    this.#list.invalidate();
  }

  /** Requests the changed approvals, one batch at a time. */
  async #request(): Promise<void> {
    if (this.#changed.size > MAX_SINGLE_REQUESTS) return this.#refetch();
    const requests = new AbortController();
    this.#requests = requests;
    const batch = [...this.#changed];
    this.#changed.clear();
    await Promise.all(batch.map(([id, key]) => this.#requestOne(id, key, requests.signal)));
    if (this.#requests !== requests) return;
    this.#requests = undefined;
    this.changed();
  }

  async #requestOne(id: string, { isRequest, ...key }: Changed, signal: AbortSignal): Promise<void> {
    try {
      const approval = await retryLoading(async () => {
        try {
          return await within(MAX_ANSWER_MS, 'the server', signal, (limited) =>
            this.#feeds.client.approval.get.query(key, { signal: limited }),
          );
        } catch (error) {
          const { code } = runwireErrorOf(error);
          if (code === 'RUN_NOT_FOUND' || code === 'APPROVAL_NOT_FOUND') return undefined;
          throw error;
        }
      }, signal);
      if (signal.aborted || this.#changed.has(id)) return;
      // Of an approval that is not open, the answer does not state whether the user asked for it.
      const isUnknown = this.#query.box === 'asked' && isRequest && approval && !isOpen(approval);
      if (isUnknown) this.#refetch();
      else if (!this.#patch(id, () => approval)) this.#note(key, isRequest);
    } catch {
      if (!signal.aborted) this.#refetch(); // The list then has the error, or an answer.
    }
  }

  /**
   * Writes an approval into the pages, or removes it from them. Returns false if the pages
   * cannot be written now.
   */
  #patch(id: string, change: (before: ListedApproval | undefined) => ListedApproval | undefined): boolean {
    const { data, isWritable } = this.#list;
    if (!data || !isWritable) return false;
    const all = data.pages.flatMap((page) => page.approvals);
    const before = all.find((approval) => keyOf(approval) === id);
    const after = change(before);
    const listed = after && this.#matches(after, before !== undefined) ? after : undefined;
    const compare = compareIn(this.#query.box);
    if (before === listed) return true;
    // Without another approval, the place of a new one between the pages is unknown.
    if (!before && all.length === 0 && data.pages.at(-1)?.nextCursor !== undefined) {
      this.#refetch();
      return true;
    }
    let rest = listed;
    const pages = data.pages.map((page, index) => {
      const approvals = page.approvals.flatMap((approval) => {
        if (keyOf(approval) === id) {
          const kept = rest;
          rest = undefined;
          return kept ? [kept] : [];
        }
        if (before || !rest || compare(rest, approval) > 0) return [approval];
        const inserted = rest;
        rest = undefined;
        return [inserted, approval];
      });
      // Below the last page, an approval belongs to a page that has not been fetched.
      const isLast = index === data.pages.length - 1 && page.nextCursor === undefined;
      if (rest && isLast) approvals.push(rest);
      return { ...page, approvals };
    });
    this.#list.write({ ...data, pages });
    this.changed();
    return true;
  }

  /** `wasListed`: of the box `asked`, no approval leaves. */
  #matches(approval: ListedApproval, wasListed: boolean): boolean {
    const { box, status = 'pending' } = this.#query;
    if (box !== undefined) return isInBox(approval, box) || (box === 'asked' && wasListed);
    return status === approval.status || (typeof status !== 'string' && status.includes(approval.status));
  }

  readonly #update = (): void => {
    this.#list.fetchIfRemoved();
    const isFollowed = this.#observerCount > 0;
    if (this.#isStale && !this.#list.isFetching && !this.#list.isInvalidated) {
      this.#isStale = false;
      this.#subscription.isInGap = false;
    }
    const { isWritable } = this.#list;
    if (isFollowed && isWritable && this.#changed.size > 0 && !this.#requests) void this.#request();
    this.#advance();
    this.#store.state = this.#stateNow();
    this.#store.notify();
    if (isFollowed && this.#isSearching && isWritable && !this.#list.error) void this.fetchNextPage();
  };

  /** Moves the `position` of the pages up to the subscription, once the pages contain every change up to there. */
  #advance(): void {
    const { data, isWritable } = this.#list;
    const { cursor } = this.#subscription;
    const [first, ...rest] = data?.pages ?? [];
    const isComplete = isWritable && !this.#isStale && !this.#requests && this.#changed.size === 0;
    if (!data || !first || cursor === undefined || !isComplete || first.position === cursor) return;
    this.#list.write({ ...data, pages: [{ ...first, position: cursor }, ...rest] });
  }

  /** A page may be empty although there are further approvals. */
  get #isSearching(): boolean {
    return this.#list.hasNextPage && (this.#list.data?.pages.every((page) => page.approvals.length === 0) ?? false);
  }

  #stateNow(): ApprovalsFeedState {
    const needsSnapshot = this.#isStale || this.#changed.size > 0 || this.#requests !== undefined;
    return {
      ...this.#list.state(this.#subscription.state({ needsSnapshot }), this.#isSearching),
      approvals: this.#inbox(),
      counts: this.#list.data?.pages[0]?.counts,
    };
  }

  /** Returns the approvals of all pages. An approval that did not change is the same object as before, and so is the list. */
  #inbox(): readonly InboxApproval[] {
    const listed = this.#list.data?.pages.flatMap(({ approvals }) => approvals) ?? [];
    const inbox = listed.map((approval) => {
      const deciding = this.#deciding.get(keyOf(approval));
      const before = this.#made.get(approval);
      if (before && before.deciding === deciding) return before;
      const after = inboxApprovalOf(approval, deciding);
      this.#made.set(approval, after);
      return after;
    });
    const isSame = inbox.length === this.#approvals.length && inbox.every((each, at) => each === this.#approvals[at]);
    if (!isSame) this.#approvals = inbox;
    return this.#approvals;
  }
}

const isOpen = ({ canDecide, cannotDecide }: ListedApproval) =>
  canDecide || !['decided', 'expired', 'run_over', 'producer'].includes(cannotDecide ?? '');
