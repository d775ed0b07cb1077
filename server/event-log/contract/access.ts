import type { Projects } from './search.ts';

/** One kind of access, allowed or refused, that happened `count` times from `at` on. */
export type AccessEntry = {
  /** Instant, ISO 8601 UTC. */
  at: string;
  /** The user; null when the request had no valid token. */
  sub: string | null;
  /** Name of the procedure or of the route. */
  action: string;
  projectId?: string;
  runId?: string;
  /** `ok`, or the code of the error. */
  outcome: string;
  via: 'ws' | 'http' | 'sse' | 'caller';
  /** A word from a fixed list, never text of the client. */
  detail?: string;
  count: number;
};

export type AccessQuery = {
  /** Only entries about these projects; `all` also includes entries without a project. */
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

/** Newest first; `next` as in `SearchPage`. */
export type AccessPage = { entries: AccessEntry[]; next?: number };

/**
 * The access log: which users read what. Entries are in the order of their writing, and their times MUST NOT go back.
 * `Log.trim` removes entries that are older than the events it keeps.
 */
export interface AccessLog {
  /**
   * Writes entries, all or none. Once resolved, they MUST survive a crash of the process. The store may leave a power cut
   * uncovered until the next commit of events.
   */
  write(entries: readonly AccessEntry[]): Promise<void>;
  list(query: AccessQuery): Promise<AccessPage>;
}
