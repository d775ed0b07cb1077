import type { StoredEvent } from './log.ts';

/**
 * Why the log is invalid at a `seq`:
 * - `payload`: the event is not the one that was logged.
 * - `row`: another column differs, or the whole row was rewritten.
 * - `order`: the row belongs to another position.
 * - `missing`: there is no row.
 * - `beginning`: the oldest row does not follow the trimmed rows.
 * - `head`: the last row is not the recorded end of the log.
 * - `checkpoint`: a checkpoint has another hash.
 * - `erasure`: the event was erased without a signed record, or the record exists without an erasure.
 */
export type BreakReason = 'payload' | 'row' | 'order' | 'missing' | 'beginning' | 'head' | 'checkpoint' | 'erasure';
/** `hash` is the hash of the row at `to`, in hexadecimal. For a log without events `from` is `to + 1`. */
export type Verdict =
  | { ok: true; from: number; to: number; hash: string; events: number; erased: number }
  | { ok: false; seq: number; reason: BreakReason };
export type VerifyOptions = {
  /** Checkpoints of this log that were kept elsewhere. The caller checks their signatures. */
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
  /** An abort rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
};

export type EraseRequest = {
  seq: number;
  by: string;
  reason: string;
  /** An event of a project for which this returns false is answered like a missing one. */
  mayErase: (projectId: string) => boolean;
  /** Returns the event that replaces a logged event. */
  tombstone: (event: object) => object;
};

export type Signed = { keyId: string; signature: string };
/** States that the row at `seq` had this hash, which covers all rows before it. To be kept outside the store. */
export type Checkpoint = Signed & {
  epoch: string;
  seq: number;
  hash: string;
  /** Least `seq` kept at that time. */
  oldest: number;
  at: string;
};

/** States that the text of an event was erased: by which user, why, and what replaced it. */
export type Erasure = Signed & {
  epoch: string;
  seq: number;
  projectId: string;
  runId: string;
  /** Hash of the erased payload: the chain still covers it. Its salt is deleted. */
  payloadHash: string;
  tombstoneHash: string;
  at: string;
  by: string;
  reason: string;
  /** Set when the erased payload was not the logged one. */
  altered?: true;
};

/** The hash chain over the log, its signed checkpoints, and erasure. */
export interface Integrity {
  /** Public half of the signing key, as PEM. */
  readonly publicKey: string;

  /**
   * Recomputes every hash, from the oldest row to the head at the time of the call, and names the first `seq` that is
   * invalid. When several neighbours were rewritten together, it may name the one before the first, or the last.
   */
  verify(options?: VerifyOptions): Promise<Verdict>;

  /** Signs and stores the head and its hash. Returns the last checkpoint when the head has not moved since. */
  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }>;

  /**
   * Replaces an event with a tombstone, and removes its text from its run's rows. The text MUST NOT stay in the store's
   * files, nor the salt anywhere. A second erasure of an event changes nothing and returns the first one's record. Throws
   * `EVENT_NOT_FOUND`.
   */
  erase(request: EraseRequest): Promise<Erasure>;

  /** Calls the listener with each tombstone, before `erase` resolves, so that caches can drop the text. Returns a stop function. */
  onErased(listener: (record: StoredEvent) => void): () => void;
}
