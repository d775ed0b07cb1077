import type { AccessEntry } from '../../../shared/audit.ts';
import type { Caller } from '../../slices.ts';
import type { Projects } from './search.ts';

export type AccessQuery = Caller & {
  /** Only entries about these projects; `all` also includes entries without a project. */
  projects: Projects;
  sub?: string | undefined;
  action?: string | undefined;
  projectId?: string | undefined;
  runId?: string | undefined;
  outcome?: string | undefined;
  /** Unix ms: `sinceMs` inclusive, `untilMs` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the previous page. */
  before?: number | undefined;
  limit: number;
};

/**
 * Entries, newest first. `next` is absent at the end of the list. A page may be short or empty and still have `next`: one
 * call reads a limited number of entries.
 */
export type AccessPage = { entries: AccessEntry[]; next?: number };

/**
 * The access log: which users read which data. Entries have the order in which they were written, and their times MUST NOT
 * decrease along this order. `Log.trim` also deletes old access entries.
 */
export interface AccessLog {
  /**
   * Writes all entries or none. Once the promise has resolved, the entries MUST survive a crash of the process. A power cut
   * may lose them until the next commit of events.
   */
  write(entries: readonly AccessEntry[]): Promise<void>;
  list(query: AccessQuery): Promise<AccessPage>;
}
