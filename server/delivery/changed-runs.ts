import type { RunHeader } from '../../shared/run.ts';
import type { Log } from '../event-log/contract/log.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Message } from './messages.ts';

/** Least time between two looks at what changed: what a live list can show, however many events come. */
const INTERVAL_MS = 250;
const PAGE_RUNS = 256;
/** Pages kept for others who ask the same. Those who follow are all at one position. */
const PAGES_KEPT = 16;

export class HeaderMessage implements Message {
  readonly event: RunHeader;
  #json: string | undefined;

  constructor(header: RunHeader) {
    this.event = header;
  }

  get json(): string {
    this.#json ??= JSON.stringify(this.event);
    return this.#json;
  }
}

export type ChangedPage = { messages: readonly HeaderMessage[]; scannedTo: number };

/**
 * Looks at which runs changed, for all readers at once: they look at the same moments, so that those who follow ask for the
 * same, and it is read and encoded once.
 */
export class ChangedRuns {
  readonly #log: Log & Pick<EventLog, 'runs'>;
  readonly #waiting = new Set<() => void>();
  readonly #pages = new Map<string, Promise<ChangedPage>>();
  #pagesHead = -1;
  #momentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log & Pick<EventLog, 'runs'>) {
    this.#log = log;
  }

  /** Calls back at the next moment to look, at once when it is due. Returns what takes that back. */
  atNextMoment(callback: () => void): () => void {
    const waitMs = this.#momentAt + INTERVAL_MS - performance.now();
    if (waitMs <= 0) {
      this.#momentAt = performance.now();
      callback();
      return () => undefined;
    }
    this.#waiting.add(callback);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#momentAt = performance.now();
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

  /** Forgets what has been read: rows have changed though the head has not. */
  clear(): void {
    this.#pages.clear();
  }

  /** Headers of runs whose last event came after a position. */
  read(after: number, projectId: string | undefined): Promise<ChangedPage> {
    const { head } = this.#log;
    if (head !== this.#pagesHead || this.#pages.size >= PAGES_KEPT) this.#pages.clear();
    this.#pagesHead = head;
    const key = JSON.stringify([after, projectId]);
    let page = this.#pages.get(key);
    if (!page) {
      page = this.#read(after, projectId);
      this.#pages.set(key, page);
      page.catch(() => this.#pages.delete(key));
    }
    return page;
  }

  async #read(after: number, projectId: string | undefined): Promise<ChangedPage> {
    const { runs, scannedTo } = await this.#log.runs.changedSince({ after, projectId, limit: PAGE_RUNS });
    // Who comes anew looks at once; that counts as a moment, unless one is planned.
    if (scannedTo >= this.#log.head && !this.#timer) this.#momentAt = performance.now();
    return { messages: runs.map((header) => new HeaderMessage(header)), scannedTo };
  }
}
