import type { RunSummary } from '../../shared/run.ts';
import type { Decider } from '../event-log/contract/decider.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { ChangeQuery } from '../event-log/contract/runs.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Caller } from '../slices.ts';
import type { Message } from './messages.ts';

/** Minimum time between two refreshes of a live list of runs, at any rate of events. */
const REFRESH_MS = 250;
const PAGE_RUNS = 256;
/** Maximum number of runs in cached pages; an empty page counts as one. Readers of the same projects that keep up share a page. */
const MAX_CACHED_RUNS = 4_096;

export class HeaderMessage implements Message {
  readonly event: RunSummary;
  /** Of the row of the run's last event, for the cursor. */
  readonly hashPrefix: string | undefined;
  #json: string | undefined;

  constructor(header: RunSummary, hashPrefix: string | undefined) {
    this.event = header;
    this.hashPrefix = hashPrefix;
  }

  get json(): string {
    this.#json ??= JSON.stringify(this.event);
    return this.#json;
  }
}

type ListScope = Pick<ChangeQuery, 'projects' | 'runId'>;
export type ChangedPage = { messages: readonly HeaderMessage[]; scannedTo: number; erasures: number };

/**
 * Reads the headers of changed runs for all readers. Readers refresh at the same moments, so all readers that keep up need
 * the same page: it is read and encoded once.
 */
export class ChangedRuns {
  readonly #log: Log & Pick<EventLog, 'runs'>;
  readonly #waiting = new Set<() => void>();
  readonly #pages = new Map<string, Promise<ChangedPage>>();
  #pagesHead = -1;
  #cachedRuns = 0;
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log & Pick<EventLog, 'runs'>) {
    this.#log = log;
  }

  /** Calls `callback` at the next refresh, or at once if a refresh is due. Returns a function that cancels the call. */
  atNextRefresh(callback: () => void): () => void {
    const waitMs = this.#refreshedAt + REFRESH_MS - performance.now();
    if (waitMs <= 0) {
      this.#refreshedAt = performance.now();
      callback();
      return () => undefined;
    }
    this.#waiting.add(callback);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#refreshedAt = performance.now();
      const due = [...this.#waiting];
      this.#waiting.clear();
      for (const resume of due) resume();
    }, waitMs);
    return () => {
      this.#waiting.delete(callback);
      if (this.#waiting.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Drops the cached pages. Called after an erasure, which changes headers without moving the head of the log. */
  clear(): void {
    this.#pages.clear();
    this.#cachedRuns = 0;
  }

  /** Returns the headers of runs with a last event after a position. With `decider`, the page is the caller's own. */
  read(after: number, scope: ListScope, caller: Caller, decider?: Decider): Promise<ChangedPage> {
    if (decider) return this.#read(after, scope, caller, decider);
    const { head } = this.#log;
    if (head !== this.#pagesHead || this.#cachedRuns >= MAX_CACHED_RUNS) this.clear();
    this.#pagesHead = head;
    const key = JSON.stringify([after, scope.projects, scope.runId]);
    let page = this.#pages.get(key);
    if (!page) {
      page = this.#read(after, scope, caller);
      this.#pages.set(key, page);
      page.catch(() => this.#pages.delete(key));
    }
    return page;
  }

  async #read(after: number, scope: ListScope, { user }: Caller, decider?: Decider): Promise<ChangedPage> {
    if (!decider) this.#cachedRuns++;
    const page = await this.#log.runs.changedSince({ ...scope, after, limit: PAGE_RUNS, user, decider });
    const { runs, hashPrefixes, scannedTo, erasures } = page;
    if (!decider) this.#cachedRuns += runs.length;
    // A new reader does not wait for a refresh. Its read counts as a refresh, unless one is planned.
    if (scannedTo >= this.#log.head && !this.#timer) this.#refreshedAt = performance.now();
    const messages = runs.map((header, index) => {
      const summary = page.isAwaited ? { ...header, needsMyDecision: page.isAwaited[index] === true } : header;
      return new HeaderMessage(summary, hashPrefixes[index]);
    });
    return { messages, scannedTo, erasures };
  }
}
