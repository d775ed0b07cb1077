import type { StoredEvent } from './log.ts';

/** Projects that somebody may see. */
export type Projects = readonly string[] | 'all';
/** What is sought; all of it must hold. */
export type SearchQuery = {
  /** Only events of these. Those of others MUST NOT be looked at where that would show in the answer or in its time. */
  projects: Projects;
  runId?: string | undefined;
  types?: ReadonlySet<string> | undefined;
  actor?: string | undefined;
  /** Any text, read by `parseText` of words.ts. One without a word in it finds nothing. */
  text?: string | undefined;
  /** On `recordedAt`, Unix ms: `since` inclusive, `until` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the page before: records with a lower `seq`. */
  before?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};

/**
 * Newest first. Without `next`, there is nothing more. With it, there may be: a page ends short of its limit, even
 * empty, where much was looked through and little found.
 */
export type SearchPage = { records: StoredEvent[]; next?: number };
