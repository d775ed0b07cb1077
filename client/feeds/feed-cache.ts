import type { AppRouter } from '../../server/api/router.ts';
import type { Connection } from '../connection/connection.ts';
import type { RunwireClient } from '../index.ts';
import { FrameScheduler } from './frame-scheduler.ts';
import { keyOf, type RunFeedQuery } from './query.ts';
import { type FeedObserver, type Resume, RunFeed } from './run-feed.ts';

/**
 * The feeds of one connection: hooks with the same query share one, as long as it can tell each of them all that a
 * subscription of its own would.
 *
 * One who comes late to a feed from the start, or comes back to one that has gone on without it, is told what it missed
 * from the events that the feed still holds. Not shared, but given a subscription of its own, is who would need more:
 * a late `from: 'start'` on a long run, one who was away for long or through a gap, and a follower of events `from: 'now'`
 * where the feed is still catching up with what was logged before it. `from: 'now'` and `from: 'start'` are two
 * subscriptions: each would have to be told what the other must not be. So are a run named with and without its project,
 * for which of them it is only the server knows.
 *
 * Admitted: who comes `from: 'now'` while the connection is down is told, once it is back, of all that was missed since
 * the feed was last live, which may begin before it came.
 */
export class FeedCache {
  readonly client: RunwireClient;
  readonly connection: Connection<AppRouter>;
  /** Renders of all hooks happen in one go. */
  readonly frames = new FrameScheduler();
  readonly #feeds = new Map<string, Set<RunFeed>>();

  constructor(client: RunwireClient, connection: Connection<AppRouter>) {
    this.client = client;
    this.connection = connection;
  }

  /** The feed that a follower is on from now on, until it leaves it. */
  join(query: RunFeedQuery, follower: FeedObserver, resume: Resume | undefined): RunFeed {
    const key = keyOf(query);
    const feeds = this.#feeds.get(key) ?? new Set();
    this.#feeds.set(key, feeds);
    let feed = [...feeds].find((candidate) => candidate.canServe(follower, resume));
    if (!feed) {
      const own: RunFeed = new RunFeed(this, query, resume, () => {
        feeds.delete(own);
        if (feeds.size === 0 && this.#feeds.get(key) === feeds) this.#feeds.delete(key);
      });
      feeds.add(own);
      feed = own;
    }
    feed.join(follower, resume);
    return feed;
  }
}
