import type { AppRouter } from '../../server/api/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { RunwireClient } from '../index.ts';
import { FrameScheduler } from './frame-scheduler.ts';
import { keyOf, type RunFeedQuery } from './query.ts';
import { type FeedObserver, type Resume, RunFeed } from './run-feed.ts';

/**
 * The feeds of one connection. Hooks with equal queries share a feed if it can deliver everything that a subscription of
 * their own would deliver: a hook that joins late, or comes back, receives what it missed from the feed's recent events.
 *
 * Otherwise the hook gets a feed of its own:
 * - it joins `from: 'start'`, or comes back, and the missed events are not among the recent ones any more;
 * - it comes back after a gap;
 * - it joins `from: 'now'` while the feed still replays older events.
 *
 * Queries with and without `projectId` are never equal: only the server knows which project the run belongs to.
 *
 * Known limit: a hook that joins `from: 'now'` while the connection is down also receives the events since the feed was
 * last live, and some of them may be older than the hook.
 */
export class FeedCache {
  readonly client: RunwireClient;
  readonly connection: Connection<AppRouter>;
  /** Shared by all hooks, so that one frame renders all of them together. */
  readonly frames = new FrameScheduler();
  readonly #feeds = new Map<string, Set<RunFeed>>();

  constructor(client: RunwireClient, connection: Connection<AppRouter>) {
    this.client = client;
    this.connection = connection;
  }

  /** Returns the feed that the observer has joined. */
  join(query: RunFeedQuery, observer: FeedObserver, resume: Resume | undefined): RunFeed {
    const key = keyOf(query);
    const feeds = this.#feeds.get(key) ?? new Set();
    this.#feeds.set(key, feeds);
    let feed = [...feeds].find((candidate) => candidate.canServe(observer, resume));
    if (!feed) {
      const own: RunFeed = new RunFeed(this, query, resume, () => {
        feeds.delete(own);
        if (feeds.size === 0 && this.#feeds.get(key) === feeds) this.#feeds.delete(key);
      });
      feeds.add(own);
      feed = own;
    }
    feed.join(observer, resume);
    return feed;
  }
}
