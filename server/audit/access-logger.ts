import type { Logger } from 'pino';
import type { ErrorCode } from '../../shared/errors.ts';
import * as field from '../../shared/fields.ts';
import { can, readKey, searchableProjects } from '../auth/permissions.ts';
import type { Principal } from '../auth/principal.ts';
import type { AccessEntry, AccessPage, AccessQuery } from '../event-log/contract/access.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { WITHHELD } from '../phi/withhold.ts';
import { TokenBucket } from '../rate-limit.ts';

/**
 * Who subscribed, read, searched, exported and decided, and who was refused: collected in memory, and written by a
 * timer, in the way of no answer and of no commit. What is the same within a batch is one entry that counts. What is
 * lost when the process is killed is the batch: up to a second.
 */

export type AccessAttempt = {
  /** Absent where no token said who it is. */
  principal: Principal | undefined;
  /** The procedure, or the name of the route. */
  action: string;
  via: AccessEntry['via'];
  outcome: 'ok' | ErrorCode;
  /** As they were asked for; ids alone, and no other text of the client's. */
  projectId?: string | undefined;
  runId?: string | undefined;
  /** A word of ours. */
  detail?: 'resume' | 'origin' | 'ndjson' | 'csv' | undefined;
};

const BATCH_MS = 1_000;
/** Different entries of a batch; the rest is counted together. */
const BATCH_ENTRIES = 1_000;
/** Different refusals a second that keep the ids they were about: whoever makes ids up must not fill the disk. */
const REFUSALS_PER_SECOND = 10;
/** Entries of one write, which holds the event loop. */
const WRITE_ENTRIES = 250;

type Kept = { entry: AccessEntry; principal: Principal | undefined };

export type AccessRecorderOptions = {
  log: Pick<EventLog, 'access' | 'runs'>;
  logger: Logger;
  /** Whether an id gives somebody away: anything may be asked for, and what the log refuses must not come in here. */
  isRefused: (id: string) => boolean;
};

export class AccessLogger {
  /** Batches that could not be written. */
  failures = 0;
  readonly #log: AccessRecorderOptions['log'];
  readonly #logger: Logger;
  readonly #isRefused: (id: string) => boolean;
  readonly #refusals = new TokenBucket(REFUSALS_PER_SECOND);
  #batch = new Map<string, Kept>();
  #timer: NodeJS.Timeout | undefined;
  /** The write under way. */
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor({ log, logger, isRefused }: AccessRecorderOptions) {
    this.#log = log;
    this.#logger = logger;
    this.#isRefused = isRefused;
  }

  /** Never throws, and takes a microsecond or two. */
  record({ principal, action, via, outcome, projectId, runId, detail }: AccessAttempt): void {
    if (this.#isClosed) return;
    // Whoever may not read a project is told nothing; the record says what it was.
    const isHidden = outcome === 'ok' && projectId !== undefined && principal && !can(principal, 'read', { projectId });
    const who = { sub: principal?.sub ?? null, action, via, outcome: isHidden ? 'FORBIDDEN' : outcome, detail };
    if (this.#count(keyOf({ ...who, projectId, runId }, principal), 1)) return;
    const isBare = (projectId ?? runId) === undefined;
    const isKept = who.outcome === 'ok' || isBare || this.#refusals.take(1);
    this.#add({ entry: entryOf(isKept ? { ...who, projectId, runId } : who), principal });
  }

  /** What is on record, this moment included. */
  async list(query: AccessQuery): Promise<AccessPage> {
    await this.#write();
    return this.#log.access.list(query);
  }

  /** Writes what is left. */
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

  #add({ entry, principal }: Kept): void {
    const key = keyOf(entry, principal);
    if (this.#count(key, entry.count)) return;
    if (this.#batch.size < BATCH_ENTRIES) this.#batch.set(key, { entry, principal });
    else {
      const { at, outcome, via, count } = entry;
      const rest = { at, sub: null, action: 'rest', outcome, via, count };
      const restKey = keyOf(rest, undefined);
      // Outcomes and transports are few.
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
        await this.#log.access.write(
          await Promise.all(some.map(async (kept) => this.#told(await this.#resolved(kept)))),
        );
        left.splice(0, some.length);
      }
    } catch (error) {
      this.failures++;
      this.#logger.error({ err: error }, 'the record of access could not be written, and will be tried again');
      for (const kept of left) this.#add(kept);
    }
  }

  /** A run that was named without its project is the only one of that id that the caller may read. */
  async #resolved({ entry, principal }: Kept): Promise<AccessEntry> {
    const { projectId, runId, outcome } = entry;
    if (!principal || projectId !== undefined || runId === undefined) return entry;
    const readable = await this.#log.runs.projectsOf(runId, searchableProjects(principal, undefined));
    if (readable.length === 0) return { ...entry, outcome: outcome === 'ok' ? 'RUN_NOT_FOUND' : outcome };
    return readable.length === 1 ? { ...entry, projectId: readable[0] as string } : entry;
  }

  /** As it may be kept. */
  #told(entry: AccessEntry): AccessEntry {
    const { projectId, runId } = entry;
    const isBad = (id: string | undefined) => id !== undefined && this.#isRefused(id);
    return {
      ...entry,
      ...(isBad(projectId) ? { projectId: WITHHELD } : {}),
      ...(isBad(runId) ? { runId: WITHHELD } : {}),
    };
  }
}

/** What an input is about, as far as it has the form of ids. */
export function aboutOf(input: unknown): { projectId?: string; runId?: string; isResumed: boolean } {
  const { projectId, runId, lastEventId } = (input ?? {}) as Record<string, unknown>;
  return {
    ...(isId(projectId) ? { projectId } : {}),
    ...(isId(runId) ? { runId } : {}),
    isResumed: typeof lastEventId === 'string',
  };
}

const scopeId = field.scopeId();
const isId = (value: unknown): value is string => typeof value === 'string' && scopeId.safeParse(value).success;

type Named = Pick<AccessAttempt, 'projectId' | 'runId'> & Pick<AccessEntry, 'sub' | 'action' | 'outcome' | 'via'>;

function entryOf({ projectId, runId, detail, ...who }: Named & { detail?: string | undefined }): AccessEntry {
  return {
    at: new Date().toISOString(),
    ...who,
    ...(projectId === undefined ? {} : { projectId }),
    ...(runId === undefined ? {} : { runId }),
    ...(detail === undefined ? {} : { detail }),
    count: 1,
  };
}

function keyOf(about: Named & { detail?: string | undefined }, principal: Principal | undefined): string {
  const { sub, action, projectId = '', runId = '', outcome, via, detail = '' } = about;
  // Which run is meant is a matter of who asks.
  const reach = principal && runId !== '' && projectId === '' ? readKey(principal) : '';
  return `${sub ?? ''}\n${action}\n${projectId}\n${runId}\n${outcome}\n${via}\n${detail}\n${reach}`;
}
