import type { AccessEntry } from '../../shared/audit.ts';
import type { ErrorCode } from '../../shared/errors.ts';
import { SCOPE_ID } from '../../shared/fields.ts';
import { can, readKey, searchableProjects } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { AccessPage, AccessQuery } from '../event-log/contract/access.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Health } from '../health.ts';
import { WITHHELD } from '../phi/withhold.ts';
import { TokenBucket } from '../rate-limit.ts';

/**
 * Writes the access log: which principal subscribed, read, searched, exported and decided, and which requests were
 * refused.
 *
 * 1. `record` adds the attempt to a batch in memory. Equal attempts are one entry with a count.
 * 2. A timer writes the batch after 1 s, so no response and no commit waits for the write. If the process is killed,
 *    the last second is lost.
 * 3. Before the write, an entry with only a run id gets the project of the run, and ids that the PHI guard refuses
 *    (`phi/identifiers.ts`) are withheld.
 */

export type AccessAttempt = {
  /** Undefined when the request was not authenticated. */
  principal: Principal | undefined;
  /** The procedure, or the action of the route. */
  action: string;
  via: AccessEntry['via'];
  outcome: 'ok' | ErrorCode;
  /** The ids that the client sent. No other text of the client is recorded. */
  projectId?: string | undefined;
  runId?: string | undefined;
  detail?: 'resume' | 'origin' | 'ndjson' | 'csv' | 'limit' | undefined;
};

const BATCH_MS = 1_000;
/** Maximum number of entries in a batch. Further attempts are counted in entries without user and ids. */
const BATCH_ENTRIES = 1_000;
/** Refused attempts per second that keep their ids. Others lose them, so that a client cannot fill the disk. */
const REFUSALS_PER_SECOND = 10;
/**
 * Entries of one user in a day (UTC). Further ones are merged without ids, as one entry for each action, outcome and
 * transport in a batch, with the detail `limit`: a client could fill the disk otherwise.
 */
const USER_ENTRIES_PER_DAY = 50_000;
/** Entries in one write. A larger write would block the event loop for longer. */
const WRITE_ENTRIES = 250;

type PendingEntry = { entry: AccessEntry; principal: Principal | undefined };

export type AccessLoggerOptions = {
  log: Pick<EventLog, 'access' | 'runs'>;
  health: Pick<Health, 'note'>;
  /** Whether the PHI guard refuses an id. A client may request any id, also one that the event log would refuse. */
  isRefused: (id: string) => boolean;
};

export class AccessLogger {
  /** Number of writes that failed. */
  failures = 0;
  readonly #log: AccessLoggerOptions['log'];
  readonly #health: AccessLoggerOptions['health'];
  readonly #isRefused: (id: string) => boolean;
  readonly #refusals = new TokenBucket(REFUSALS_PER_SECOND);
  /** Entries written today, by user. */
  readonly #written = new Map<string | null, number>();
  #day = '';
  #batch = new Map<string, PendingEntry>();
  #timer: NodeJS.Timeout | undefined;
  /** The last write, which may be in progress. */
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor({ log, health, isRefused }: AccessLoggerOptions) {
    this.#log = log;
    this.#health = health;
    this.#isRefused = isRefused;
  }

  /** Adds an attempt to the batch. Never throws; takes 1–2 µs. */
  record({ principal, action, via, outcome, projectId, runId, detail }: AccessAttempt): void {
    if (this.#isClosed) return;
    // A principal that may not read a project gets an empty answer, not an error. The access log records a refusal.
    const isNamed = projectId !== undefined;
    const isHidden = outcome === 'ok' && isNamed && principal && !can(principal, 'read', { projectId, runId });
    const attempt = { sub: principal?.sub ?? null, action, via, outcome: isHidden ? 'FORBIDDEN' : outcome, detail };
    const named = { ...attempt, projectId, runId };
    const key = keyOf(named, principal);
    if (this.#count(key, 1)) return;
    const isBare = (projectId ?? runId) === undefined;
    const isKept = attempt.outcome === 'ok' || isBare || this.#refusals.take(1);
    if (isKept) this.#add({ entry: entryOf(named), principal }, key);
    else this.#add({ entry: entryOf(attempt), principal });
  }

  /** Lists entries that match a query. Writes the batch first, so the list includes the latest attempts. */
  async list(query: AccessQuery): Promise<AccessPage> {
    await this.#write();
    return this.#log.access.list(query);
  }

  /** Writes the last batch. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#write();
    clearTimeout(this.#timer);
  }

  #count(key: string, count: number): boolean {
    const known = this.#batch.get(key);
    if (known) known.entry.count += count;
    return known !== undefined;
  }

  #add({ entry, principal }: PendingEntry, key = keyOf(entry, principal)): void {
    if (this.#count(key, entry.count)) return;
    if (this.#batch.size < BATCH_ENTRIES) this.#batch.set(key, { entry, principal });
    else {
      const { at, outcome, via, count } = entry;
      const rest = { at, sub: null, action: 'rest', outcome, via, count };
      const restKey = keyOf(rest, undefined);
      // These entries may exceed the limit of the batch: there are only a few outcomes and transports.
      if (!this.#count(restKey, rest.count)) this.#batch.set(restKey, { entry: rest, principal: undefined });
    }
    this.#timer ??= setTimeout(() => void this.#write(), BATCH_MS).unref();
  }

  #write(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeBatch());
    return this.#writing;
  }

  async #writeBatch(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const left = [...this.#batch.values()];
    this.#batch = new Map();
    try {
      while (left.length > 0) {
        const some = left.slice(0, WRITE_ENTRIES);
        const entries = await Promise.all(
          some.map(async (pending) => this.#withoutRefusedIds(await this.#withProject(pending))),
        );
        const bounded = entries.map((entry) => this.#withinDay(entry));
        await this.#log.access.write(merged(bounded)).catch((error) => {
          for (const entry of bounded) this.#uncount(entry);
          throw error;
        });
        left.splice(0, some.length);
      }
    } catch (error) {
      this.failures++;
      this.#health.note('cannot write the access log; will retry', { err: error });
      for (const pending of left) this.#add(pending);
    }
  }

  /**
   * Adds the project of a run that was requested by its id alone. A run that does not exist is a refusal: a client can
   * invent any number of ids, so only some are kept.
   */
  async #withProject({ entry, principal }: PendingEntry): Promise<AccessEntry> {
    const { runId, outcome, ...rest } = entry;
    if (!principal || runId === undefined || (entry.projectId !== undefined && outcome !== 'ok')) return entry;
    const among = searchableProjects(principal, { projectId: entry.projectId, runId });
    const [found, ...others] = await this.#log.runs.projectsOf(runId, among);
    if (others.length > 0) return entry;
    if (found !== undefined) return { ...entry, projectId: found };
    if (outcome !== 'ok') return entry;
    return { ...rest, ...(this.#refusals.take(1) ? { runId } : {}), outcome: 'RUN_NOT_FOUND' };
  }

  #withinDay(entry: AccessEntry): AccessEntry {
    const { at, sub, action, outcome, via, count } = entry;
    const day = at.slice(0, 10);
    if (day !== this.#day) this.#written.clear();
    this.#day = day;
    const written = this.#written.get(sub) ?? 0;
    if (written >= USER_ENTRIES_PER_DAY) return { at, sub, action, outcome, via, detail: 'limit', count };
    this.#written.set(sub, written + 1);
    return entry;
  }

  /** Called for an entry that could not be written: the retry counts it again. */
  #uncount({ sub, detail }: AccessEntry): void {
    const written = this.#written.get(sub);
    if (written !== undefined && detail !== 'limit') this.#written.set(sub, written - 1);
  }

  #withoutRefusedIds(entry: AccessEntry): AccessEntry {
    const { projectId, runId } = entry;
    const isBad = (id: string | undefined) => id !== undefined && this.#isRefused(id);
    return {
      ...entry,
      ...(isBad(projectId) ? { projectId: WITHHELD } : {}),
      ...(isBad(runId) ? { runId: WITHHELD } : {}),
    };
  }
}

/** Merges equal entries. */
function merged(entries: readonly AccessEntry[]): AccessEntry[] {
  const byKey = new Map<string, AccessEntry>();
  for (const entry of entries) {
    const key = keyOf(entry, undefined);
    const known = byKey.get(key);
    byKey.set(key, known ? { ...known, count: known.count + entry.count } : entry);
  }
  return [...byKey.values()];
}

/** Returns the valid ids in a procedure's input, and whether the client resumes a subscription. */
export function aboutOf(input: unknown): { projectId?: string; runId?: string; isResumed: boolean } {
  const { projectId, runId, lastEventId } = (input ?? {}) as Record<string, unknown>;
  return {
    ...(isId(projectId) ? { projectId } : {}),
    ...(isId(runId) ? { runId } : {}),
    isResumed: typeof lastEventId === 'string',
  };
}

const isId = (value: unknown): value is string => typeof value === 'string' && SCOPE_ID.test(value);

type Named = Pick<AccessAttempt, 'projectId' | 'runId'> & Pick<AccessEntry, 'sub' | 'action' | 'outcome' | 'via'>;

function entryOf({ projectId, runId, detail, ...attempt }: Named & { detail?: AccessEntry['detail'] }): AccessEntry {
  const entry: AccessEntry = { at: new Date().toISOString(), ...attempt, count: 1 };
  if (projectId !== undefined) entry.projectId = projectId;
  if (runId !== undefined) entry.runId = runId;
  if (detail !== undefined) entry.detail = detail;
  return entry;
}

function keyOf(about: Named & { detail?: string | undefined }, principal: Principal | undefined): string {
  const { sub, action, projectId = '', runId = '', outcome, via, detail = '' } = about;
  // Without a project, a run id may name different runs for principals with different projects.
  const reach = principal && runId !== '' && projectId === '' ? readKey(principal) : '';
  return `${sub ?? ''}\n${action}\n${projectId}\n${runId}\n${outcome}\n${via}\n${detail}\n${reach}`;
}
