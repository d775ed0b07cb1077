import { can, deciderOf, listScope, type Resource } from '../auth/permissions.ts';
import type { ChangedRuns, HeaderMessage } from './changed-runs.ts';
import { type Buffered, Reader, type ReaderContext, type Start } from './reader.ts';
import type { Transport } from './transport.ts';
import { topicOf } from './waiting.ts';

export type SummaryQuery = Start & {
  projectId?: string | undefined;
  /** If true, each header states whether an approval of the run waits for the caller. */
  needsMyDecision?: boolean | undefined;
};

/**
 * Reads the headers of changed runs. It reads no events: the store finds headers by `lastSeq`, the position of a run's last
 * event. This position is also the cursor of the header. So a run that changed ten times between two reads is sent once,
 * and a client can resume after any header.
 */
export class SummaryReader extends Reader {
  /** Undefined, because a fan-out group sends events, and this reader sends headers: the notifier wakes it. */
  readonly filter = undefined;
  readonly #projectId: string | undefined;
  readonly #changed: ChangedRuns;
  readonly #needsMyDecision: boolean;
  #page: HeaderMessage[] = [];
  #index = 0;
  #hasReachedHead = false;
  #stopWaiting: (() => void) | undefined;

  constructor(context: ReaderContext, transport: Transport, changed: ChangedRuns, query: SummaryQuery) {
    super(context, transport, query);
    this.#changed = changed;
    this.#projectId = query.projectId;
    this.#needsMyDecision = query.needsMyDecision ?? false;
  }

  override end(): void {
    super.end();
    this.#stopWaiting?.();
  }

  /** Of a principal of one run, the run is all that it can read of a project. */
  protected get readable(): Pick<Resource, 'projectId' | 'runId'> {
    return { projectId: this.#projectId, runId: this.principal.runId };
  }

  protected override get isOfAll(): boolean {
    return super.isOfAll || this.principal.runId !== undefined;
  }

  protected get wantedTopic(): string {
    const projectId = this.#projectId;
    return topicOf.scope(projectId === undefined ? { kind: 'all' } : { kind: 'project', projectId });
  }

  protected get startPosition(): number {
    return 0; // A trim keeps the headers of all runs.
  }

  protected nextBuffered(): Buffered | undefined {
    const message = this.#page[this.#index];
    if (!message) return undefined;
    this.#index++;
    const { lastSeq } = message.event;
    return { seq: lastSeq, hashPrefix: message.hashPrefix, scannedTo: lastSeq, message };
  }

  protected override get dependsOnRoles(): boolean {
    return this.#needsMyDecision;
  }

  protected clearBuffer(): void {
    this.#page = [];
    this.#index = 0;
  }

  protected async fetch(): Promise<void> {
    if (this.#hasReachedHead) await this.#nextRefresh();
    if (this.isEnded) return;
    const { messages, scannedTo, erasures } = await this.#changed.read(
      this.position,
      listScope(this.principal, this.#projectId),
      this.caller,
      this.#needsMyDecision ? deciderOf(this.principal, this.context.log.now()) : undefined,
    );
    if (this.isEnded) return;
    this.#hasReachedHead = scannedTo >= this.head;
    this.bufferedErasures = erasures;
    this.#index = 0;
    this.#page = messages.filter(({ event }) => event.lastSeq <= this.head && can(this.principal, 'read', event));
    if (this.#page.length === 0) this.position = Math.min(scannedTo, this.head);
  }

  /** Resolves at the next refresh, or when the reader ends. */
  #nextRefresh(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#changed.atNextRefresh(resolve);
      this.#stopWaiting = () => {
        cancel();
        resolve();
      };
    });
  }
}
