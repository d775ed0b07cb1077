import type { RunRows } from '../../../shared/run.ts';

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
export class StoredEvent {
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
export type Page = { records: StoredEvent[]; scannedTo: number };
