import { can } from '../auth/permissions.ts';
import type { ChangedRuns, HeaderMessage } from './changed-runs.ts';
import { Reader, type ReaderContext, type Start, type Taken } from './reader.ts';
import type { Transport } from './transport.ts';
import { topicOf } from './waiting.ts';

export type SummaryQuery = Start & { projectId?: string | undefined };

/**
 * Reads the headers of runs that changed. It needs no events: headers are found by their `lastSeq`, which is also their
 * cursor, so a run that changed ten times since is sent once, and one cut off half-way goes on where it was.
 */
export class SummaryReader extends Reader {
  /** Woken, it looks for itself: what is sent is not what rang. */
  readonly filter = undefined;
  protected readonly projectId: string | undefined;
  readonly #changed: ChangedRuns;
  #page: HeaderMessage[] = [];
  #index = 0;
  #hasSeenHead = false;
  #stopWaiting: (() => void) | undefined;

  constructor(context: ReaderContext, transport: Transport, changed: ChangedRuns, query: SummaryQuery) {
    super(context, transport, query);
    this.#changed = changed;
    this.projectId = query.projectId;
  }

  override end(): void {
    super.end();
    this.#stopWaiting?.();
  }

  protected get wantedKey(): string {
    const { projectId } = this;
    return topicOf.of(projectId === undefined ? { kind: 'all' } : { kind: 'project', projectId });
  }

  protected get beginning(): number {
    return 0; // Headers outlive the events.
  }

  protected nextBuffered(): Taken | undefined {
    const message = this.#page[this.#index];
    if (!message) return undefined;
    this.#index++;
    const { lastSeq } = message.event;
    return { seq: lastSeq, seenTo: lastSeq, message };
  }

  protected clearBuffer(): void {
    this.#page = [];
    this.#index = 0;
  }

  protected async fetch(): Promise<void> {
    if (this.#hasSeenHead) await this.#nextMoment();
    if (this.isEnded) return;
    const { messages, scannedTo } = await this.#changed.read(this.position, this.projectId);
    if (this.isEnded) return;
    this.#hasSeenHead = scannedTo >= this.context.log.head;
    this.#index = 0;
    this.#page = messages.filter(({ event }) => can(this.principal, 'read', { projectId: event.projectId }));
    if (this.#page.length === 0) this.position = scannedTo;
  }

  /** Resolves at the end too. */
  #nextMoment(): Promise<void> {
    return new Promise((resolve) => {
      const giveUp = this.#changed.atNextMoment(resolve);
      this.#stopWaiting = () => {
        giveUp();
        resolve();
      };
    });
  }
}
