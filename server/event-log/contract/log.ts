import type { RunRows } from '../../../shared/run.ts';

/** A validated draft with `timestamp` and `eventId` filled in. */
export type ReadyDraft = {
  type: string;
  projectId: string;
  runId: string;
  timestamp: string;
  eventId: string;
  audience?: string[] | undefined;
};

/** Drafts of one publisher, logged all or none. */
export type Batch = {
  /** The publisher, from its credentials. */
  actor: string;
  /** At least 1, in order. */
  drafts: readonly ReadyDraft[];
  /**
   * Called inside the transaction for each draft that is not a duplicate, with the run just before the draft. A throw
   * refuses the batch. It MUST NOT keep the rows, and the store may call it again when it repeats the transaction.
   */
  check?: (rows: RunRows, draft: ReadyDraft) => void;
};

/** Position of a draft; for a duplicate, the position of the stored event. */
export type Receipt = { seq: number; runSeq: number; eventId: string; isDuplicate: boolean };

/** A logged event as stored. Readers share it: treat it as frozen. */
export class StoredEvent {
  readonly seq: number;
  readonly runSeq: number;
  readonly projectId: string;
  readonly runId: string;
  readonly type: string;
  /** The logged event as canonical JSON: clients get this text. */
  readonly json: string;
  /** Users that the event is for, fixed at logging. Undefined when read back from a store. */
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

  /** The logged event: parsed at first use, and frozen, since readers share it. */
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

/** The events that a reader subscribes to. */
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
  /** At most this many records. A store may return fewer to keep its slice of the event loop short. */
  limit: number;
};

/** Part of the log: every match with `after < seq <= scannedTo`, in order. `scannedTo` is the head at the end. */
export type Page = { records: StoredEvent[]; scannedTo: number };

/**
 * A durable, ordered log of events.
 *
 * - `seq` MUST be contiguous from 1 over the log, `runSeq` from 1 over a run. Neither is ever used twice.
 * - Readers MUST see records only once durable, and all records of a batch at once.
 * - `recordedAt` MUST NOT go back along `seq`, even when the clock does.
 */
export interface Log {
  /** Identity of the log: positions of another log are invalid here. Constant over restarts. */
  readonly epoch: string;
  /** Key for digests: random, at least 128 bits, constant over restarts. It MUST NOT leave the server. */
  readonly secret: string;
  /**
   * Greatest durable `seq` that this process has seen; 0 for an empty log. With several nodes, a backplane moves it when
   * another node commits.
   */
  readonly head: number;
  /** Least `seq` that this process knows to be kept; `head + 1` for a log without events. Another node's trim may move it. */
  readonly oldest: number;

  /**
   * Appends a batch, all or none, and resolves once it is durable. Batches of one turn of the event loop commit together,
   * in the order of the calls; a refused batch MUST NOT affect the others. A draft with an `eventId` that its project
   * already has is a duplicate and is not stored again.
   */
  append(batch: Batch): Promise<Receipt[]>;

  /**
   * Calls the listener with the records of each commit, in order, before `append` resolves. The listener MUST NOT throw.
   * Returns a stop function.
   */
  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void;

  read(query: ReadQuery): Promise<Page>;

  /** Last position recorded before an instant (Unix ms); `oldest - 1` when there is none. */
  positionBeforeTime(recordedBeforeMs: number): Promise<number>;

  /**
   * Deletes events recorded before an instant (Unix ms), oldest first, and access entries older than that. It MUST keep the
   * newest event and every run's view. Search finds no trimmed event.
   */
  trim(recordedBeforeMs: number): Promise<{ removed: number }>;
}
