import type { StoredEvent } from './log.ts';

/** Projects that a principal may read. */
export type Projects = readonly string[] | 'all';

/** All given fields must match. */
export type SearchQuery = {
  /** Only events of these. The store MUST NOT read events of others if the answer or its time could reveal them. */
  projects: Projects;
  runId?: string | undefined;
  types?: ReadonlySet<string> | undefined;
  actor?: string | undefined;
  /** Any text, parsed by `parseText` of search/tokenizer.ts. A text without a word MUST find nothing. */
  text?: string | undefined;
  /** On `recordedAt`, Unix ms: `since` inclusive, `until` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the page before: only events with a lower `seq`. */
  before?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};

/**
 * Newest first. `next` is absent at the end of the results. A page may be short or empty and still have `next`: the search
 * has used up its budget.
 */
export type SearchPage = { records: StoredEvent[]; next?: number };

/** Search for events by text and by fields. */
export interface EventSearch {
  /**
   * Finds events, newest first. The index may lag the log by 1 s; of the events that were indexed when the search began, a
   * page MUST hold every match between its first and its last record. A search MUST return what it has found after a
   * bounded amount of work. Trimmed events and erased text MUST NOT be found.
   */
  find(query: SearchQuery): Promise<SearchPage>;
}
