import type { RunHeader } from '../../shared/run.ts';
import { can } from '../auth.ts';
import { bellKey } from './bell.ts';
import { Reader, type ReaderContext, type Start, type Taken } from './reader.ts';

export type SummaryQuery = Start & { projectId?: string | undefined };

/** Least time between two looks at what changed: what a live list can show, however many events come. */
const INTERVAL_MS = 250;
const PAGE_RUNS = 256;

/**
 * Reads the headers of runs that changed. It needs no events: headers are found by their `lastSeq`, which is also their
 * cursor, so a run that changed ten times since is sent once, and one cut off half-way goes on where it was.
 */
export class SummaryReader extends Reader<RunHeader> {
  protected readonly projectId: string | undefined;
  #page: RunHeader[] = [];
  #index = 0;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(context: ReaderContext, query: SummaryQuery, signal: AbortSignal | undefined) {
    super(context, query, signal);
    this.projectId = query.projectId;
  }

  protected get bellKey(): string {
    const { projectId } = this;
    return bellKey.of(projectId === undefined ? { kind: 'all' } : { kind: 'project', projectId });
  }

  protected get beginning(): number {
    return 0; // Headers outlive the events.
  }

  protected take(): Taken<RunHeader> | undefined {
    const header = this.#page[this.#index];
    if (!header) return undefined;
    this.#index++;
    return { seq: header.lastSeq, seenTo: header.lastSeq, item: header };
  }

  protected drop(): void {
    this.#page = [];
    this.#index = 0;
  }

  protected async readOn(): Promise<void> {
    const waitMs = this.#readAt + INTERVAL_MS - performance.now();
    if (waitMs > 0) await this.sleep(waitMs);
    if (this.isEnded) return;
    const { projectId } = this;
    const { runs, scannedTo } = await this.context.log.runsChangedSince({
      after: this.position,
      projectId,
      limit: PAGE_RUNS,
    });
    if (scannedTo >= this.context.log.head) this.#readAt = performance.now();
    this.#index = 0;
    this.#page = runs.filter((run) => can(this.principal, 'read', { projectId: run.projectId }));
    if (this.#page.length === 0) this.position = scannedTo;
  }
}
