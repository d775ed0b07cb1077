import type { RunEvent } from '../../shared/events.ts';
import type { Decision, ListedApproval } from '../../shared/run.ts';
import { Store } from '../connection/store.ts';
import { MAX_ANSWER_MS, within } from '../connection/timer.ts';
import { runwireErrorOf } from '../errors.ts';
import {
  type ApprovalKey,
  type DecisionInput,
  decided,
  type InboxApproval,
  inboxApprovalOf,
  sendDecision,
} from './decisions.ts';
import type { FeedScope } from './feed-scope.ts';
import { subscribeTo } from './query.ts';
import { FeedSubscription, reconnectIfDown, retryLoading, type SubscriptionState } from './subscription.ts';

/**
 * One approval that stays up to date, whatever its status. A subscription delivers the events of its run that can change
 * it or its evidence: requests, decisions, artifacts, and the end of the run. After each of these, and after a gap, the feed
 * requests the approval again, because the server alone knows whether the user can decide it.
 */

export type ApprovalFeedState = SubscriptionState & {
  /** `error`: there is no such approval, or the user may not read it; `error` states why. */
  status: 'pending' | 'success' | 'error';
  approval: InboxApproval | undefined;
};

const TYPES: RunEvent['type'][] = [
  'governance.required',
  'approval.granted',
  'approval.denied',
  'artifact.created',
  'run.completed',
  'run.failed',
];

export class ApprovalFeed {
  readonly #feeds: FeedScope;
  readonly #key: ApprovalKey;
  readonly #subscription: FeedSubscription<RunEvent>;
  readonly #store: Store<ApprovalFeedState>;
  #observerCount = 0;
  #listed: ListedApproval | undefined;
  #deciding: Decision['decision'] | undefined;
  #approval: InboxApproval | undefined;
  /** What {@link #approval} was made of. */
  #source: ListedApproval | undefined;
  /** Why the server has no answer. */
  #refusal: ApprovalFeedState['error'] = null;
  /** The approval must be requested (again) before it is complete. */
  #isStale = true;
  /** Aborts the request that is under way. */
  #request: AbortController | undefined;
  /** The position up to which {@link #approval} is complete. */
  #seq: number | null = null;

  constructor(feeds: FeedScope, { projectId, runId, approvalId }: ApprovalKey) {
    this.#feeds = feeds;
    this.#key = { projectId, runId, approvalId };
    this.#subscription = new FeedSubscription<RunEvent>(feeds, {
      open: (cursor, observer) => subscribeTo(feeds.client, { projectId, runId, types: TYPES }, cursor, observer),
      seqOf: ({ seq }) => seq,
      onItem: (event) => {
        if (this.#concerns(event)) void this.#load();
      },
      onLive: () => {
        if (this.#isStale) void this.#load();
      },
      onGap: () => void this.#load(),
      onChange: () => this.changed(),
    });
    this.#store = new Store(this.#stateNow());
  }

  readonly getState = (): ApprovalFeedState => this.#store.state;
  readonly subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  /** Schedules an update for the next frame. */
  readonly changed = (): void => this.#feeds.frames.add(this.#update);

  /** Requests the approval, and keeps it up to date until the returned function is called. */
  follow(): () => void {
    this.#observerCount++;
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

  /** Resumes after an error, and tries at once what waits to be tried again. */
  readonly reconnect = (): void => {
    reconnectIfDown(this.#feeds.connection);
    this.#subscription.failure = null;
    this.#open();
    if (this.#isStale) void this.#load();
  };

  /**
   * Sends a decision. Until the server answers, the approval has it as `deciding`. Rejects with a `RunwireError`; the approval
   * is then shown as the server has it.
   */
  readonly decide = async (input: DecisionInput): Promise<void> => {
    this.#deciding = input.decision;
    this.changed();
    try {
      const standing = await sendDecision(this.#feeds.client, this.#key, input);
      if (this.#listed) this.#listed = decided(this.#listed, standing);
    } catch (error) {
      throw runwireErrorOf(error);
    } finally {
      this.#deciding = undefined;
      if (this.#observerCount > 0) void this.#load();
      this.changed();
    }
  };

  #concerns(event: RunEvent): boolean {
    if (event.type === 'artifact.created') return this.#listed?.evidence?.includes(event.artifactId) ?? true;
    return !('approvalId' in event) || event.approvalId === this.#key.approvalId;
  }

  #open(): void {
    const { isOpen, failure } = this.#subscription;
    if (this.#observerCount === 0 || isOpen || failure) return;
    this.#subscription.open();
    // An answer before `stream.live` may lack an event. It is shown meanwhile, unless `stream.live` comes at once.
    if (this.#feeds.connection.getStatus().state !== 'connected') void this.#load();
  }

  #close(): void {
    this.#feeds.frames.delete(this.#update);
    this.#request?.abort();
    this.#request = undefined;
    this.#isStale = true;
    this.#subscription.end();
    this.#subscription.failure = null;
    this.#subscription.cursor = undefined; // The next subscription begins at the head, and requests the approval again.
    this.#store.state = this.#stateNow();
    this.#store.notify();
  }

  /** Requests the approval. An earlier request that is under way is given up: its answer may be older than the event. */
  async #load(): Promise<void> {
    this.#isStale = true;
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    // Before the first `stream.live`, the answer may lack an event that the subscription does not deliver.
    const isComplete = this.#subscription.cursor !== undefined;
    try {
      const { client } = this.#feeds;
      const listed = await retryLoading(
        () =>
          within(MAX_ANSWER_MS, 'the server', request.signal, (signal) =>
            client.approval.get.query(this.#key, { signal }),
          ),
        request.signal,
      );
      if (request.signal.aborted) return;
      this.#listed = listed;
      this.#refusal = null;
    } catch (error) {
      if (request.signal.aborted) return;
      this.#listed = undefined;
      this.#refusal = runwireErrorOf(error);
    }
    this.#request = undefined;
    if (isComplete) {
      this.#isStale = false;
      this.#subscription.isInGap = false;
    }
    this.changed();
  }

  readonly #update = (): void => {
    this.#store.state = this.#stateNow();
    this.#store.notify();
  };

  #stateNow(): ApprovalFeedState {
    const subscription = this.#subscription.state({ needsSnapshot: this.#isStale });
    // While the approval is requested again, it does not have the events that the subscription has delivered.
    if (!this.#isStale) this.#seq = subscription.seq;
    const isIdle = this.#observerCount === 0;
    return {
      ...subscription,
      ...(isIdle ? { connectionState: 'idle', retryAtMs: null } : {}),
      seq: this.#seq,
      status: this.#listed ? 'success' : this.#refusal ? 'error' : 'pending',
      error: isIdle ? null : (this.#refusal ?? subscription.error),
      approval: this.#shown(),
    };
  }

  /** Returns the same object while the approval is the same. */
  #shown(): InboxApproval | undefined {
    const listed = this.#listed;
    if (!listed) this.#approval = undefined;
    else if (this.#source !== listed || this.#approval?.deciding !== this.#deciding) {
      this.#approval = inboxApprovalOf(listed, this.#deciding);
    }
    this.#source = listed;
    return this.#approval;
  }
}
