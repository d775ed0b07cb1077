import type { Projects } from './search.ts';

/** One thing that was done, or refused, so many times from `at` on. */
export type AccessEntry = {
  /** Instant, ISO 8601 UTC. */
  at: string;
  /** Who; null where no token said so. */
  sub: string | null;
  /** The procedure, or the name of the route. */
  action: string;
  projectId?: string;
  runId?: string;
  /** `ok`, or the code of the error. */
  outcome: string;
  via: 'ws' | 'http' | 'sse' | 'caller';
  /** A word of ours: never a text of the client's. */
  detail?: string;
  count: number;
};

export type AccessQuery = {
  /** Only entries about these; `all` also those about none. */
  projects: Projects;
  sub?: string | undefined;
  action?: string | undefined;
  projectId?: string | undefined;
  runId?: string | undefined;
  outcome?: string | undefined;
  /** Unix ms: `since` inclusive, `until` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the page before. */
  before?: number | undefined;
  limit: number;
  signal?: AbortSignal | undefined;
};

/** Newest first; `next` as for {@link SearchPage}. */
export type AccessPage = { entries: AccessEntry[]; next?: number };
/**
 * The record of who read what, kept beside the log: entries in the order of their writing, of which `trim` takes those
 * that are older than the events it keeps.
 */
export interface AccessLog {
  /**
   * Writes entries, all or none. Resolved, they outlast the process; whether also a power cut before the next commit of
   * events is the store's to choose.
   */
  write(entries: readonly AccessEntry[]): Promise<void>;
  list(query: AccessQuery): Promise<AccessPage>;
}
