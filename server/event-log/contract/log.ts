import type { RunRows } from '../../../shared/run.ts';
import type { Caller } from '../../slices.ts';

/** A draft (an event before it is logged) that is validated and has a `timestamp` and an `eventId`. */
export type ReadyDraft = {
  type: string;
  projectId: string;
  runId: string;
  timestamp: string;
  eventId: string;
  audience?: string[] | undefined;
};

/** Drafts of one publisher. The log stores all of them or none. */
export type Batch = {
  /** Id of the publisher, from its credentials. */
  actor: string;
  /** At least 1, in the order in which the log stores them. */
  drafts: readonly ReadyDraft[];
  /**
   * Whether the server has made each `eventId` of the drafts for this call, as a random UUID: no stored event has one of
   * them, so the store need not look them up. It MUST still refuse to store an `eventId` twice. Default: false.
   */
  hasNewIds?: boolean;
  /**
   * Called for each draft that is not a duplicate. `rows` is the state of the run just before the draft, which MUST still
   * hold in the transaction that logs the draft. If `check` throws, the log refuses the whole batch. `check` MUST NOT keep
   * `rows`, and MUST NOT have effects: a store may call it several times for one draft, and only the call of the
   * transaction that logs the draft counts. Its result is in the receipt; a refusal is recognised by its code.
   */
  check?: (rows: RunRows, draft: ReadyDraft) => unknown;
  /** Estimate of the work of logging the batch, in units of a small event. Default: the number of drafts. */
  cost?: number;
};

/** Where a draft is stored. For a duplicate: where the first event with this `eventId` is stored. */
export type Receipt = {
  seq: number;
  runSeq: number;
  eventId: string;
  isDuplicate: boolean;
  /**
   * What `check` returned for this draft in the transaction that logged it, also if the log had to look up whether the
   * transaction was committed. Absent without `check` and for a duplicate.
   */
  checked?: unknown;
};

/** A logged event as the store has it. All readers share the object: do not change it. */
export class StoredEvent {
  readonly seq: number;
  readonly runSeq: number;
  readonly projectId: string;
  readonly runId: string;
  readonly type: string;
  /** The logged event as canonical JSON (with sorted keys). The server sends this text to clients. */
  readonly json: string;
  /** First 8 hexadecimal digits of the row's hash, for its cursor. Undefined where the store has not read it. */
  readonly hashPrefix: string | undefined;
  /**
   * Ids of the users that the event is for, fixed when it is logged. Undefined for an event that was read by `read`, `scan`
   * or a search.
   */
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
    hashPrefix?: string | undefined;
    users?: readonly string[];
    event?: object;
  }) {
    this.seq = fields.seq;
    this.runSeq = fields.runSeq;
    this.projectId = fields.projectId;
    this.runId = fields.runId;
    this.type = fields.type;
    this.json = fields.json;
    this.hashPrefix = fields.hashPrefix;
    this.users = fields.users;
    this.#event = fields.event;
  }

  /** The logged event as an object. It is parsed at the first use, and frozen because all readers share it. */
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

/** Which events a reader (the server's side of one subscription) gets: all, or those of one project, run or user. */
export type Scope =
  | { kind: 'all' }
  | { kind: 'project'; projectId: string }
  | { kind: 'run'; projectId: string; runId: string }
  | { kind: 'user'; userId: string };

export type ReadQuery = Caller & {
  scope: Scope;
  /** Position in the log: only events with a greater `seq`. */
  after: number;
  /** Only these event types. */
  types?: ReadonlySet<string> | undefined;
  /** Maximum number of records. A store may return fewer, so that it does not hold the event loop too long. */
  limit: number;
};

/** State of the log at the moment of a read: the snapshot that the records of a page are from. */
export type Snapshot = {
  /** Whether the read has reached the end: `scannedTo` is at least the `Log.head` of that moment. */
  isExhausted: boolean;
  /**
   * Lowest `seq` that the log still had. If it is above `after + 1`, retention has removed events before the read, and the
   * page lacks them.
   */
  oldest: number;
  /**
   * Number of erasures that have removed their text from the page. If it is below `Log.erasures`, the page may have the text of an
   * event that was erased meanwhile: read it again.
   */
  erasures: number;
};

/**
 * All matching events with `after < seq <= scannedTo`, in order, all from one snapshot. The next read continues after
 * `scannedTo`, which is `Log.head` at the end. A page MUST NOT go beyond `Log.head`, even if the store has later events.
 * With `after` at or beyond `Log.head`, the page is empty and `scannedTo` is `after`.
 */
export type Page = Snapshot & { records: StoredEvent[]; scannedTo: number };
/** A position, and the hash prefix of its row. */
export type LogHead = { seq: number; hashPrefix: string };

export type ScanQuery = Caller & {
  projectId: string;
  runId: string;
  /** Position in the log: only events with a greater `seq`. */
  after: number;
  /** Called with the JSON of each event, in order. If it returns false, the scan ends after this event. */
  visit: (json: string) => boolean;
};

/**
 * A durable, ordered log of events. Several nodes (servers) may share it. Each has an object of this type, and the members
 * without a promise are the log as this node knows it.
 *
 * - `seq` (position in the log) MUST be contiguous from 1 over the log, `runSeq` from 1 over a run. No number is used
 *   twice.
 * - Readers MUST NOT see a record before it is durable. They MUST see all records of a batch at once.
 * - Two batches with the same `eventId`, or about the same run, that two nodes append at the same time MUST have the result
 *   of one after the other.
 * - `recordedAt` MUST NOT decrease along `seq`, even if the system clock is set back. Only `Integrity.repairClock` lets it
 *   begin again at an earlier time.
 */
export interface Log {
  /**
   * Random id of the log, constant for ever, also over `Integrity.renewEpoch`. A copy of the log (a backup) has the same id.
   */
  readonly id: string;
  /**
   * Random id of the log's history, constant over restarts, until `Integrity.renewEpoch`, or until the store has lost the
   * end of its history. A position with another epoch belongs to another history and is invalid here.
   */
  readonly epoch: string;
  /**
   * Key for the HMACs that replace ids with personal data: random, at least 128 bits, constant over restarts. It MUST NOT
   * leave the server.
   */
  readonly secret: string;
  /**
   * Position up to which this node has read the log without a hole and called the listeners of `subscribe`; 0 for an empty
   * log. Inside a listener it already includes the records of the call. Within one epoch it never decreases. If the node is
   * current, it is at most 1 s behind `durableHead`.
   */
  readonly head: number;
  /** First 8 hexadecimal digits of the hash of the row at `head` (of 32 zero bytes for an empty log). Changes with `head`. */
  readonly headHashPrefix: string;
  /** Lowest `seq` that the log still has, as far as this node knows; `head + 1` for a log without events. */
  readonly oldest: number;
  /**
   * Number of erasures that this node has applied to its memory. Increases just before the listeners of
   * `Integrity.onErased` are called, in the same turn of the event loop.
   */
  readonly erasures: number;
  /**
   * Whether this node knows the state that the store had 1 s ago: positions, erasures, revocations. While false, a
   * revocation or an erasure may be unknown here, so the server MUST answer no call and deliver nothing.
   */
  readonly isCurrent: boolean;

  /**
   * Time of the newest event or access entry (Unix ms), after a repair of the clock the time of the repair; 0 if there is
   * none. Above the present time, the log was written with a clock ahead.
   */
  readonly newestMs: number;

  /**
   * Returns the present time (Unix ms) by the clock that the nodes share, the store's. It is off by at most half the time that
   * the store takes to answer.
   */
  now(): number;

  /** Asks the store for its last durable position. Every event that any node has acknowledged before the call is up to it. */
  durableHead(caller?: Caller): Promise<LogHead>;

  /**
   * Resolves to true once `head >= seq`, at once if it is. Resolves to false if the store has no such position, at a change
   * of the epoch, or at the timeout. Never resolves before the listeners of `subscribe` have the record.
   */
  reached(seq: number, timeoutMs: number): Promise<boolean>;

  /**
   * Logs all drafts of a batch or none, and resolves once they are durable and this node has given them to its listeners.
   * Batches of one turn of the event loop of a node are committed together, in the order of the calls. A refused batch MUST
   * NOT affect the other batches. A draft is a duplicate if its project already has an event with its `eventId`: it is not
   * stored again. If the connection to the store is lost during a commit, the log looks up whether the batch is stored
   * before it answers. It rejects with `UNAVAILABLE` only if the batch is not stored and never will be, or if the store
   * cannot be asked for 30 s: a caller that then sends the batch again MUST use the same event ids.
   */
  append(batch: Batch): Promise<Receipt[]>;

  /**
   * Calls the listener with the records of every commit of every node, with their `users`: each record once, in order, and
   * contiguous: the first one is at the `head` of the time of `subscribe` plus 1, or after a change of the epoch at the new
   * `head` plus 1. The records of a batch are in one call. A listener that throws disturbs neither other listeners nor
   * publishers. Returns a function that removes the listener.
   */
  subscribe(listener: (records: readonly StoredEvent[]) => void): () => void;

  /**
   * Calls the listener when the log has got a new `epoch` while it was open: by `Integrity.renewEpoch`, or because the store
   * lost the end of its history (a fail-over to a replica that was behind). `epoch`, `head` and `headHashPrefix` are already
   * those of the new history, and `head` may be lower than before. Returns a function that removes the listener.
   */
  onEpoch(listener: () => void): () => void;

  /** The records of a page MUST have their `hashPrefix`, unless the row after them was lost. */
  read(query: ReadQuery): Promise<Page>;

  /**
   * Visits the events of a run with `after < seq <= scannedTo`, for one slice. The next scan continues after `scannedTo`,
   * which is `head` at the end. A scan MUST NOT go beyond `head`.
   */
  scan(query: ScanQuery): Promise<Snapshot & { scannedTo: number }>;

  /** Returns the position of the event with an `eventId`; undefined if the project has no such event, or it was trimmed. */
  seqOf(projectId: string, eventId: string): Promise<number | undefined>;

  /**
   * Returns the hash prefixes (`StoredEvent.hashPrefix`) of the rows at these positions, in their order; undefined for a row
   * that the log does not have. An erasure MUST NOT change a hash.
   */
  hashPrefixesAt(seqs: readonly number[]): Promise<(string | undefined)[]>;

  /** Returns the last position with a `recordedAt` before an instant (Unix ms); `oldest - 1` if there is none. */
  positionBeforeTime(recordedBeforeMs: number, caller?: Caller): Promise<number>;

  /**
   * Deletes the events with a `recordedAt` before an instant (Unix ms), oldest first, and the access entries from before
   * that instant. It MUST keep the newest event, and the state of every run. Search MUST NOT find a trimmed event. An event
   * from before a repair of the clock counts as recorded at the time of the repair, if its `recordedAt` is later.
   */
  trim(recordedBeforeMs: number): Promise<{ removed: number }>;

  /** Stores the time of a system clock that was right (Unix ms), for the next start. */
  keepClock(nowMs: number): Promise<void>;
  /** Returns the time that `keepClock` stored last; undefined if there is none. */
  keptClock(): Promise<number | undefined>;
}
