import type { Approval, ApprovalStatus, RunHeader, RunRows, RunStatus, RunView } from '../../../shared/run.ts';
import type { Checkpoint, Erasure } from '../integrity/attestation.ts';

/**
 * The event log: the one truth that everything else reads. A store is an implementation of {@link EventLog}; each must
 * pass the suite in `contract.ts`, which states every MUST below as a test.
 */

/** A draft that the bus has checked, with its `timestamp` and `eventId` filled in. */
export type ReadyDraft = {
  type: string;
  projectId: string;
  runId: string;
  timestamp: string;
  eventId: string;
  audience?: string[] | undefined;
};

/** What one publisher wants logged, all or none. */
export type Batch = {
  /** Who publishes, from the credentials. */
  actor: string;
  /** 1 or more, in order. */
  drafts: readonly ReadyDraft[];
  /**
   * Called inside the transaction for each draft that is not a duplicate, with the run as it is just before it; a
   * throw refuses the batch. It MUST NOT keep the rows, and may be asked again if the transaction has to be repeated.
   */
  check?: (rows: RunRows, draft: ReadyDraft) => void;
};

/** Where each draft of a batch stands, in its order; for a duplicate, where the first one stands. */
export type Receipt = { seq: number; runSeq: number; eventId: string; isDuplicate: boolean };

/** A logged event as stored. Records are shared between readers: treat them as frozen. */
export class LogRecord {
  readonly seq: number;
  readonly runSeq: number;
  readonly projectId: string;
  readonly runId: string;
  readonly type: string;
  /** The logged event as canonical JSON: what goes on the wire. */
  readonly json: string;
  /** Users that the event is meant for, fixed when it was logged. Undefined when read back from a store. */
  readonly users: readonly string[] | undefined;
  #event: object | undefined;
  #isFrozen = false;

  constructor(fields: {
    seq: number;
    runSeq: number;
    projectId: string;
    runId: string;
    type: string;
    json: string;
    users?: readonly string[];
    event?: object;
  }) {
    this.seq = fields.seq;
    this.runSeq = fields.runSeq;
    this.projectId = fields.projectId;
    this.runId = fields.runId;
    this.type = fields.type;
    this.json = fields.json;
    this.users = fields.users;
    this.#event = fields.event;
  }

  /** The logged event; parsed at first use, and frozen: all who read this record share it. */
  get event(): object {
    if (!this.#isFrozen) {
      this.#event = deepFreeze((this.#event ?? JSON.parse(this.json)) as object);
      this.#isFrozen = true;
    }
    return this.#event as object;
  }
}

function deepFreeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}

/** Which events a reader is about. */
export type Scope =
  | { kind: 'all' }
  | { kind: 'project'; projectId: string }
  | { kind: 'run'; projectId: string; runId: string }
  | { kind: 'user'; userId: string };

export type ReadQuery = {
  scope: Scope;
  /** Exclusive: the first record has a greater `seq`. */
  after: number;
  /** Only these event types. */
  types?: ReadonlySet<string> | undefined;
  /** At most so many records; a store may return fewer, to keep its slice of the event loop short. */
  limit: number;
};

/**
 * Part of the log. Every matching record with `after < seq <= scannedTo` is in `records`, in order; `scannedTo` is the
 * head where the query has been exhausted.
 */
export type Page = { records: LogRecord[]; scannedTo: number };

export type RunQuery = {
  /** Only projects for which this holds. */
  canRead: (projectId: string) => boolean;
  projectId?: string | undefined;
  status?: readonly RunStatus[] | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  /** Case-insensitive part of the name or the run id. */
  text?: string | undefined;
  /** Instants, ISO 8601 UTC, on `createdAt`: `since` inclusive, `until` exclusive. */
  since?: string | undefined;
  until?: string | undefined;
  /** Only runs with a pending approval for which this holds. */
  hasPending?: ((approval: Approval) => boolean) | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
  /** Key of the last run of the page before. */
  after?: RunKey | undefined;
};
export type RunKey = { createdAt: string; rowId: number };
export type ChangeQuery = { after: number; projectId?: string | undefined; limit: number };
export type RunPage = {
  runs: RunHeader[];
  next?: RunKey;
  /** Where the log was when the page began: what changed after it may be missing from the page. */
  position: number;
};

/** An approval, and the run that it belongs to. */
export type KeptApproval = {
  projectId: string;
  runId: string;
  /** Whether the run has completed or failed. */
  isRunOver: boolean;
  approval: Approval;
};
export type ApprovalQuery = {
  /** Only projects for which this holds. */
  canRead: (projectId: string) => boolean;
  status?: readonly ApprovalStatus[] | undefined;
  /** `next` of the page before: requests with a lower `seq`. */
  after?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};
/** `next` is there when there is more. */
export type ApprovalPage = { approvals: KeptApproval[]; next?: number };

/** What is not good any more: the token of an id (`jti`), or all tokens of a subject that were issued up to an instant. */
export type Revocation = {
  kind: 'jti' | 'sub';
  id: string;
  /** When it was revoked; Unix ms. */
  atMs: number;
  /** When everything that it concerns has expired anyway. Absent where nobody knows: then it is kept for good. */
  untilMs?: number | undefined;
};

/** Which tokens have been revoked. Few, and asked of at every call: whoever uses it keeps them in memory. */
export interface Revocations {
  all(): Promise<Revocation[]>;
  /** Durable once resolved. Put again, the later `atMs` stays, and an `untilMs` that is known. */
  put(revocation: Revocation): Promise<void>;
  /** Forgets those whose `untilMs` is before an instant (Unix ms). */
  forget(expiredBeforeMs: number): Promise<void>;
}

/** Projects that somebody may see. */
export type Projects = readonly string[] | 'all';

/** What is sought; all of it must hold. */
export type SearchQuery = {
  /** Only events of these. Those of others MUST NOT be looked at where that would show in the answer or in its time. */
  projects: Projects;
  runId?: string | undefined;
  types?: ReadonlySet<string> | undefined;
  actor?: string | undefined;
  /** Any text, read by `parseText` of words.ts. One without a word in it finds nothing. */
  text?: string | undefined;
  /** On `recordedAt`, Unix ms: `since` inclusive, `until` exclusive. */
  sinceMs?: number | undefined;
  untilMs?: number | undefined;
  /** `next` of the page before: records with a lower `seq`. */
  before?: number | undefined;
  limit: number;
  /** Stops the search between two slices. */
  signal?: AbortSignal | undefined;
};
/**
 * Newest first. Without `next`, there is nothing more. With it, there may be: a page ends short of its limit, even
 * empty, where much was looked through and little found.
 */
export type SearchPage = { records: LogRecord[]; next?: number };

/** One thing that was done, or refused, so many times from `at` on. */
export type AccessEntry = {
  /** Instant, ISO 8601 UTC. */
  at: string;
  /** Who; null where no token said so. */
  sub: string | null;
  /** The procedure, or the name of the route. */
  action: string;
  projectId?: string;
  runId?: string;
  /** `ok`, or the code of the error. */
  outcome: string;
  via: 'ws' | 'http' | 'sse' | 'caller';
  /** A word of ours: never a text of the client's. */
  detail?: string;
  count: number;
};
export type AccessQuery = {
  /** Only entries about these; `all` also those about none. */
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
/** Newest first; `next` as for {@link SearchPage}. */
export type AccessPage = { entries: AccessEntry[]; next?: number };

/**
 * The record of who read what, kept beside the log: entries in the order of their writing, of which `trim` takes those
 * that are older than the events it keeps.
 */
export interface AccessRecord {
  /**
   * Writes entries, all or none. Resolved, they outlast the process; whether also a power cut before the next commit of
   * events is the store's to choose.
   */
  write(entries: readonly AccessEntry[]): Promise<void>;
  list(query: AccessQuery): Promise<AccessPage>;
}

/**
 * Why a log does not hold from a `seq` on:
 * `payload`: what the event says is not what was logged; `row`: another column is not, or the whole was rewritten;
 * `order`: the row belongs elsewhere; `missing`: there is no row; `beginning`: the oldest row is not the one after those
 * that retention has removed; `head`: the log does not end as it says that it does; `checkpoint`: a checkpoint says
 * otherwise; `erasure`: erased without a record of it, or the other way round.
 */
export type BreakReason = 'payload' | 'row' | 'order' | 'missing' | 'beginning' | 'head' | 'checkpoint' | 'erasure';

/** `hash` is that of the row at `to`, in hexadecimal; `from` is `to + 1` for a log without events. */
export type Verdict =
  | { ok: true; from: number; to: number; hash: string; events: number; erased: number }
  | { ok: false; seq: number; reason: BreakReason };

export type VerifyOptions = {
  /** Kept checkpoints of this log, whose signatures are the caller's to check. */
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
  /** Rejects with its reason. */
  signal?: AbortSignal | undefined;
};

export type EraseRequest = {
  seq: number;
  by: string;
  reason: string;
  /** What may not be erased is answered as what is not there. */
  mayErase: (projectId: string) => boolean;
  /** Makes of a logged event what is to stand in its place. */
  tombstone: (event: object) => object;
};

/**
 * A durable, ordered log of events and the folded runs that follow from them.
 *
 * - `seq` MUST be contiguous from 1 over the log, `runSeq` over a run, and neither is ever used twice.
 * - Records MUST be visible to readers only once durable, and all rows of a batch at once.
 * - A run's header, stages, artifacts and approvals MUST change in the transaction of the event, at a cost that does not
 *   grow with the run.
 * - No method may hold the event loop for long: reads come back in slices of at most 5 ms.
 * - Every failure of the store itself is a `RunwireError` `UNAVAILABLE`; what a fold or a check throws that is no
 *   `RunwireError` is `INTERNAL`, since it would be thrown again.
 */
export interface EventLog {
  /** Identity of this log: positions of another mean nothing here. */
  readonly epoch: string;
  /** Random, of at least 128 bits, and the log's for good: a key for digests. It MUST NOT leave the server. */
  readonly secret: string;
  /** Greatest `seq` that is durable; 0 for an empty log. */
  readonly head: number;
  /** Least `seq` still kept; `head + 1` when none is. */
  readonly oldest: number;
  /** Kept beside the events, and not trimmed with them. */
  readonly revocations: Revocations;

  /**
   * Appends a batch, all or none, and resolves once it is durable. Batches of one turn of the event loop commit
   * together, in the order of the calls; one that is refused takes no other with it.
   * A draft whose `eventId` its project already has is a duplicate: it is not stored again.
   */
  append(batch: Batch): Promise<Receipt[]>;

  /** Calls the listener after each commit, before `append` resolves, with its records in order. It MUST NOT throw. */
  subscribe(listener: (records: readonly LogRecord[]) => void): () => void;

  read(query: ReadQuery): Promise<Page>;

  /**
   * Projects that have a run of this id; of these alone, where some are named: then no run of another may be looked at,
   * lest the time it takes tells that there is one.
   */
  projectsOf(runId: string, among?: readonly string[]): Promise<string[]>;

  /**
   * Events by what is in them, newest first. It may lag by a second behind what was appended; of what was there when
   * the search began, a page holds every match between its records. A long search MUST neither hold the loop nor go on
   * for long before it answers with what it has.
   */
  search(query: SearchQuery): Promise<SearchPage>;
  /** The last position recorded before an instant (Unix ms); `oldest - 1` where there is none. */
  positionBefore(recordedAtMs: number): Promise<number>;
  /** Who read what. */
  readonly access: AccessRecord;
  /** The folded run and the position that it is true at; undefined when there is none. */
  run(projectId: string, runId: string): Promise<{ run: RunView; position: number } | undefined>;
  /** Headers, newest `createdAt` first. */
  runs(query: RunQuery): Promise<RunPage>;
  /**
   * Headers of runs whose last event came after a position, in order of that event; `scannedTo` as for {@link Page}.
   */
  runsChangedSince(query: ChangeQuery): Promise<{ runs: RunHeader[]; scannedTo: number }>;

  approval(projectId: string, runId: string, approvalId: string): Promise<Approval | undefined>;
  /** Approvals, newest request first. */
  approvals(query: ApprovalQuery): Promise<ApprovalPage>;
  /**
   * At most so many pending approvals: of one run, or of those that expire, the soonest first. The cost does not grow with
   * what is not pending.
   */
  pendingApprovals(of: { projectId: string; runId: string } | 'expiring', limit: number): Promise<KeptApproval[]>;

  /**
   * Recomputes every hash from the oldest row to the head as it is at the call, and names the first `seq` that does not
   * hold. Of several neighbours that were rewritten together, it may be the one before the first or the last.
   */
  verify(options?: VerifyOptions): Promise<Verdict>;

  /** Signs and keeps where the log is; where it has not moved since the last checkpoint, that is the answer. */
  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }>;
  /** The public half of the key that signs, as PEM. */
  readonly publicKey: string;

  /**
   * Puts a tombstone in the place of an event and of all that it left in its run's rows, for good: the text MUST NOT stay
   * in the store's files, nor the salt anywhere. Erased again, an event stays as it is, and the answer is the first one's.
   * Throws `EVENT_NOT_FOUND`.
   */
  erase(request: EraseRequest): Promise<Erasure>;
  /** Calls the listener with each tombstone before `erase` resolves: what holds the text elsewhere has to let go of it. */
  onErased(listener: (record: LogRecord) => void): () => void;

  /**
   * Forgets events recorded before an instant (Unix ms), oldest first; never the newest event, and never a run's view.
   * What is forgotten is found by no search any more. Entries of `access` older than that go, too.
   */
  trim(recordedBeforeMs: number): Promise<{ removed: number }>;

  /** Makes what was accepted durable, then releases everything. Later calls fail with `UNAVAILABLE`. */
  close(): Promise<void>;
}
