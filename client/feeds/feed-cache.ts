import { FeedScope } from './feed-scope.ts';
import { keyOf, type RunFeedQuery } from './query.ts';
import type { FeedObserver, Resume, RunFeed } from './run-feed.ts';

/**
 * The feeds of one user on one connection. A feed (`run-feed.ts`) is one subscription with its recent events. Hooks with
 * equal queries share a feed if the feed can deliver everything that a separate subscription would deliver. A hook that
 * joins late, or resumes after a pause, receives the missed events from the feed's recent events.
 *
 * In three cases the hook gets a separate feed:
 * - The hook joins with `from: 'start'`, or resumes, and the feed does not hold all missed events any more.
 * - The hook resumes, and there was a gap in the meantime (events that the server could not deliver).
 * - The hook joins with `from: 'now'` while the feed still replays older events.
 *
 * A query with `projectId` is never equal to a query without it: only the server knows the project of a run.
 *
 * Known limit: a hook that joins with `from: 'now'` while the connection is down may receive events that are older than
 * the hook. It receives all events since the feed lost the connection.
 */
export class FeedCache extends FeedScope {
  readonly #feeds = new Map<string, Set<RunFeed>>();

  /**
   * Adds an observer (one hook) to a feed that can serve it, or else to a new feed. Returns the feed. The class comes from the
   * caller: a page without such hooks does not load its code.
   */
  join(Feed: typeof RunFeed, query: RunFeedQuery, observer: FeedObserver, resume: Resume | undefined): RunFeed {
    const key = keyOf(query);
    const feeds = this.#feeds.get(key) ?? new Set();
    this.#feeds.set(key, feeds);
    let feed = [...feeds].find((candidate) => candidate.canServe(observer, resume));
    if (!feed) {
      const own: RunFeed = new Feed(this, query, resume, () => {
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
