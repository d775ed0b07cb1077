import type { Caller } from '../../slices.ts';
import type { StoredEvent } from './log.ts';

/** The projects that the caller may read. */
export type Projects = readonly string[] | 'all';

/** An event must match every given field. */
export type SearchQuery = Caller & {
  /**
   * Only events of these projects. The store MUST NOT read events of other projects if the answer or the response time
   * could reveal them.
   */
  projects: Projects;
  runId?: string | undefined;
  types?: ReadonlySet<string> | undefined;
  /** The publisher is one of these. */
  actors?: ReadonlySet<string> | undefined;
  /** Any text, parsed by `parseText` of shared/search-text.ts. A text without a word MUST find nothing. */
  text?: string | undefined;
  /** Range of `recordedAt` in Unix ms: `sinceMs` inclusive, `untilMs` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the previous page: only events with a lower `seq`. */
  before?: number | undefined;
  limit: number;
};

/**
 * Events, newest first. `next` is absent at the end of the results. A page may be short or empty and still have `next`: the
 * search has used up its budget of work. `searchedToMs`: about the `recordedAt` of the event at `next`.
 */
export type SearchPage = { records: StoredEvent[]; next?: number; searchedToMs?: number };

/** How many events have each value of a field. `hours`: by the Unix ms at which the hour of `recordedAt` begins. */
export type Tally = {
  total: number;
  types: Map<string, number>;
  projects: Map<string, number>;
  actors: Map<string, number>;
  hours: Map<number, number>;
};
/** Counts of the events between `before` and `next`. Absent `next`: of all that match. */
export type TallyPage = { tally: Tally; next?: number };

/** Search for events by text and by fields. */
export interface EventSearch {
  /** Number of positions between the last indexed event and the head of the log. */
  readonly lag: number;

  /**
   * Finds events, newest first. The index may be 1 s behind the log. A page MUST NOT skip a match that was indexed before
   * the search began. After a bounded amount of work, a search MUST return what it has found. Trimmed events and erased
   * text MUST NOT be found.
   */
  find(query: SearchQuery): Promise<SearchPage>;

  /** Counts events that `find` finds with the same query, newest first, until `limit` are counted. It has the same bounds. */
  count(query: SearchQuery): Promise<TallyPage>;
}
