/**
 * The fault that verification finds at a `seq` (position in the log):
 * - `payload`: the event is not the one that was logged.
 * - `row`: another column differs, the whole row was rewritten, or its time is earlier than that of the row before.
 * - `order`: the row belongs to another position.
 * - `missing`: there is no row at this position.
 * - `beginning`: the oldest row does not follow the last trimmed row.
 * - `head`: the last row is not the end of the log that the store recorded at its last commit.
 * - `checkpoint`: a checkpoint has another hash for this row.
 * - `erasure`: the event was erased without a signed record, or a signed record exists for an event that was not erased.
 * - `unreadable`: the rows from here to `to` cannot be read: the file is damaged there.
 * - `wal`: the copy of a file that was in use lacks its WAL, so events from here on may be missing.
 */
export type BreakReason =
  | 'payload'
  | 'row'
  | 'order'
  | 'missing'
  | 'beginning'
  | 'head'
  | 'checkpoint'
  | 'erasure'
  | 'unreadable'
  | 'wal';
/**
 * Result of a verification. `from` and `to` are the first and the last verified position. `hash` is the hash of the row at
 * `to`, in hexadecimal. For a log without events `from` is `to + 1`.
 */
export type Verdict =
  | { ok: true; from: number; to: number; hash: string; events: number; erased: number }
  | { ok: false; seq: number; reason: BreakReason; to?: number };
/** The user `by` has had the log verified. */
export type Verification = { at: string; by: string; verdict: Verdict };
/**
 * The end of the hash chain: position, and the first 8 hexadecimal digits of the hash. `verified`: the last verification since
 * the server's start.
 */
export type RecordState = { seq: number; oldest: number; hashPrefix: string; verified?: Verification };
export type Signed = { keyId: string; signature: string };
/**
 * Signed statement that the row at `seq` had this hash, which also covers all earlier rows. Keep checkpoints outside the
 * store: they reveal a log that was rewritten completely.
 */
export type Checkpoint = Signed & {
  epoch: string;
  seq: number;
  hash: string;
  /** Lowest `seq` that the log still had at that time. */
  oldest: number;
  at: string;
};
/** Signed statement that the text of an event was erased: by which user, why, and what replaced it. */
export type Erasure = Signed & {
  epoch: string;
  seq: number;
  projectId: string;
  runId: string;
  /**
   * Salted hash of the erased payload. The hash chain still covers this hash, but without the deleted salt it does not
   * reveal the text.
   */
  payloadHash: string;
  tombstoneHash: string;
  at: string;
  by: string;
  reason: string;
  /** Set when the payload had been altered before it was erased. */
  altered?: true;
};
/** Signed statement that the `recordedAt` of events after `seq` begins again at `at`, although it was `from` at `seq`. */
export type ClockRepair = Signed & { epoch: string; seq: number; from: string; at: string; by: string };
/** One kind of access, allowed or refused. Equal accesses share one entry: `count` is their number. */
export type AccessEntry = {
  /** Time of the first access, ISO 8601 UTC. */
  at: string;
  /** Id of the user (the token's `sub`); null when the request had no valid token. */
  sub: string | null;
  /** Name of the tRPC procedure or of the HTTP route. */
  action: string;
  projectId?: string;
  runId?: string;
  /** `ok`, or the error code, like `FORBIDDEN`. */
  outcome: string;
  via: 'ws' | 'http' | 'sse' | 'caller';
  /** A word from a fixed list, like `resume`; never text from the client. */
  detail?: string;
  count: number;
};
