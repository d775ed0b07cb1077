import type { Checkpoint, ClockRepair, Erasure, Verdict } from '../../../shared/audit.ts';
import type { Caller } from '../../slices.ts';
import type { StoredEvent } from './log.ts';

export type VerifyOptions = {
  /** Checkpoints of this log that were kept outside the store. The caller must have checked their signatures. */
  checkpoints?: readonly Pick<Checkpoint, 'seq' | 'hash'>[] | undefined;
  /** On abort, `verify` rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
};

export type EraseRequest = {
  seq: number;
  by: string;
  reason: string;
  /** If this returns false for the project of the event, `erase` throws `EVENT_NOT_FOUND`, as for a missing event. */
  mayErase: (projectId: string) => boolean;
  /** Returns the tombstone of a logged event: the event without its text, which replaces it. */
  tombstone: (event: object) => object;
};

export type ErasuresQuery = Caller & { projectId: string; runId: string; after: number; limit: number };

/**
 * Detects changes to logged events by a hash chain over the log and by signed checkpoints. Also erases the text of single
 * events without breaking the chain.
 */
export interface Integrity {
  /** Public half of the signing key, as PEM. */
  readonly publicKey: string;

  /**
   * Recomputes every hash, from the oldest row at least to the last row of the time of the call, and returns the first invalid
   * `seq`. If several neighbouring rows were rewritten together, the result may be the row before them, or the last one of
   * them.
   */
  verify(options?: VerifyOptions): Promise<Verdict>;

  /**
   * Signs and stores a checkpoint of the last row. If there is no new row since the previous checkpoint, returns that
   * checkpoint.
   */
  checkpoint(): Promise<{ checkpoint: Checkpoint; isNew: boolean }>;

  /**
   * Compares the log with a checkpoint that was kept outside the store. `held`: the log has this row, or has trimmed it.
   * `lost`: the log is shorter, or has another row there. `foreign`: the checkpoint is of another epoch, or is not signed by
   * a key of this log.
   */
  compare(checkpoint: Checkpoint): Promise<'held' | 'lost' | 'foreign'>;

  /**
   * Gives the log a new epoch, durably and with a signed record: every cursor of the present one becomes invalid. Called
   * before the log is served, when its history is not the one that clients have seen. Every node MUST take the new epoch, and
   * call the listeners of `Log.onEpoch`. Returns it.
   */
  renewEpoch(reason: string): Promise<string>;

  /**
   * Replaces an event with its tombstone, and removes the text of the event from its run. The text and the salt of its hash
   * MUST NOT stay in the store's files. A second erasure of the same event changes nothing and returns the record of the
   * first one. Resolves once every node has called its listeners of `onErased`, or is not current any more: then no node
   * answers with the text. Throws `EVENT_NOT_FOUND`.
   */
  erase(request: EraseRequest): Promise<Erasure>;

  /**
   * Returns the records of erasures in a run with a `seq` greater than `after`, in order. Looks at `limit` records, also of
   * other runs: `next` is the `after` of the next call, and absent at the end.
   */
  erasuresOf(query: ErasuresQuery): Promise<{ erasures: Erasure[]; next?: number }>;

  /** Returns the last checkpoint (undefined: none was taken), and the number of erasures. */
  signed(): Promise<{ checkpoint: Checkpoint | undefined; erasures: number }>;

  /**
   * Repairs the times of a log that was written with a clock ahead: `recordedAt` begins again at the present time, and
   * access entries with a later time get this time. Events with a later `recordedAt` stay as they are, and count as
   * recorded now. Returns undefined if the newest event is not ahead.
   */
  repairClock(request: { by: string }): Promise<ClockRepair | undefined>;

  /**
   * Calls the listener with the tombstone of each erasure of any node, with its `users`, before `erase` resolves, so that
   * caches can drop the text. Returns a function that removes the listener.
   */
  onErased(listener: (record: StoredEvent) => void): () => void;
}
