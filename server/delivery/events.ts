import { can, type Resource, readKey, searchableProjects } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import { projectOfRun } from '../auth/resolve-run.ts';
import type { Page, Scope, StoredEvent } from '../event-log/contract/log.ts';
import { conflated } from './conflate.ts';
import { type Buffered, Reader, type ReaderContext, type Start } from './reader.ts';
import type { Transport } from './transport.ts';
import { type Filter, topicOf } from './waiting.ts';
import type { Window } from './window.ts';

export type EventQuery = Start & {
  /** A run without `projectId` means the only run with this id that the caller may read. */
  scope: Scope | { kind: 'run'; runId: string; projectId?: string | undefined };
  /** Only these types; default all. */
  types?: ReadonlySet<string> | undefined;
  conflate: boolean;
};

/** Maximum number of records that a reader buffers. */
const MAX_PAGE_RECORDS = 256;

/** Reads the events of a scope: recent events from the shared window in memory, older events from the log. */
export class EventReader extends Reader {
  readonly #window: Window;
  readonly #query: EventQuery;
  /** Undefined until the project of the run is known. */
  #scope: Scope | undefined;
  /** The rights with which the project of the run was last searched. */
  #searchedAs: Principal | undefined;
  #page: StoredEvent[] = [];
  #index = 0;
  /** The position up to which the buffered page was scanned. It may be greater than the position of the last match. */
  #scannedTo = 0;

  constructor(context: ReaderContext, transport: Transport, window: Window, query: EventQuery) {
    super(context, transport, query);
    this.#window = window;
    this.#query = query;
    const { scope } = query;
    if (scope.kind !== 'run') this.#scope = scope;
    else if (scope.projectId !== undefined) this.#scope = scope as Scope;
  }

  protected get wantedTopic(): string {
    if (this.#scope) return topicOf.scope(this.#scope);
    return topicOf.runId((this.#query.scope as { runId: string }).runId);
  }

  get filter(): Filter | undefined {
    if (!this.#scope) return undefined;
    const { principal } = this;
    const { types } = this.#query;
    return {
      key: JSON.stringify([types && [...types].sort(), readKey(principal)]),
      accepts: (record) => (!types || types.has(record.type)) && can(principal, 'read', record),
    };
  }

  protected get readable(): Pick<Resource, 'projectId' | 'runId'> {
    return this.#scope && 'projectId' in this.#scope ? this.#scope : {};
  }

  protected get startPosition(): number {
    return this.context.log.oldest - 1;
  }

  /** The search reports an ambiguous run, whether or not the log grows. */
  protected override get mustFetch(): boolean {
    return !this.#scope && this.#searchedAs !== this.principal;
  }

  /** Whether the caller can decide an approval depends on its roles. */
  protected override get dependsOnRoles(): boolean {
    return this.#query.scope.kind !== 'run';
  }

  protected nextBuffered(): Buffered | undefined {
    const record = this.#page[this.#index];
    if (!record) return undefined;
    this.#index++;
    const isLast = this.#index === this.#page.length;
    if (isLast) this.clearBuffer();
    const { seq, hashPrefix } = record;
    return { seq, hashPrefix, scannedTo: isLast ? this.#scannedTo : seq, message: record };
  }

  protected clearBuffer(): void {
    this.#page = [];
    this.#index = 0;
  }

  protected fetch(): void | Promise<void> {
    const scope = this.#scope;
    if (!scope) return this.#findRun();
    const { log } = this.context;
    if (this.position + 1 < log.oldest) this.setExpired(log.oldest);
    else if (!this.#window.covers(this.position)) return this.#readLog(scope);
    else {
      const { types } = this.#query;
      const matches = (record: StoredEvent) =>
        isIn(scope, record) && (!types || types.has(record.type)) && this.maySee(record);
      this.#buffer({ ...this.#window.read(this.position, MAX_PAGE_RECORDS, matches), erasures: log.erasures });
    }
  }

  async #readLog(scope: Scope): Promise<void> {
    const { log } = this.context;
    const { types } = this.#query;
    const page = await log.read({ ...this.caller, scope, types, after: this.position, limit: MAX_PAGE_RECORDS });
    if (this.isEnded) return;
    if (this.position + 1 < page.oldest) this.setExpired(page.oldest);
    else this.#buffer({ ...page, records: page.records.filter((record) => this.maySee(record)) });
  }

  #buffer({ scannedTo, erasures, ...page }: Pick<Page, 'records' | 'scannedTo' | 'erasures'>): void {
    const records = scannedTo > this.head ? page.records.filter(({ seq }) => seq <= this.head) : page.records;
    this.#page = this.#query.conflate ? conflated(records) : records;
    this.context.counts.conflated += records.length - this.#page.length;
    this.#index = 0;
    this.#scannedTo = Math.min(scannedTo, this.head);
    this.bufferedErasures = erasures;
    if (records.length === 0) this.position = this.#scannedTo;
  }

  /** Finds the project of a run that the client named without a project. */
  async #findRun(): Promise<void> {
    const { runId } = this.#query.scope as { runId: string };
    const { log } = this.context;
    const { head } = this;
    this.#searchedAs = this.principal;
    const among = searchableProjects(this.principal, { runId });
    const projectId = await projectOfRun(log.runs, runId, among, this.caller);
    if (projectId !== undefined) {
      this.#scope = { kind: 'run', projectId, runId };
      return;
    }
    // No such run exists up to `head`. A run that was created meanwhile has events after `head`, so the next `fetch` finds
    // it.
    this.advanceTo(head);
  }
}

function isIn(scope: Scope, record: StoredEvent): boolean {
  switch (scope.kind) {
    case 'all':
      return true;
    case 'project':
      return record.projectId === scope.projectId;
    case 'run':
      return record.runId === scope.runId && record.projectId === scope.projectId;
    case 'user':
      return record.users?.includes(scope.userId) ?? false;
  }
}
