/**
 * Revokes tokens. Kind `jti`: the one token with this id. Kind `sub`: all tokens of the user with this id that were issued
 * up to `atMs`.
 */
export type Revocation = {
  kind: 'jti' | 'sub';
  id: string;
  /** Time of the revocation; Unix ms. */
  atMs: number;
  /** Time at which the last affected token expires; Unix ms. Absent when unknown: then the entry is permanent. */
  untilMs?: number | undefined;
};

/** `atMs`: default the present time, by the clock of the node or of the store, whichever is later. */
export type PutRevocation = Omit<Revocation, 'atMs'> & { atMs?: number | undefined };

/**
 * The stored revocations. The server checks them at every call. Since there are few, it reads all of them at its start and
 * after each change by another node, and keeps them in memory.
 */
export interface Revocations {
  all(): Promise<Revocation[]>;
  /**
   * The entry MUST be durable once the promise has resolved. A second `put` with the same `kind` and `id` MUST keep the
   * later `atMs`, and MUST NOT remove a known `untilMs`. Returns the entry as it is stored.
   */
  put(revocation: PutRevocation): Promise<Revocation>;
  /**
   * Deletes the entries with an `untilMs` before an instant (Unix ms): their tokens have expired. `Log.trim` MUST NOT
   * delete entries.
   */
  forget(expiredBeforeMs: number): Promise<void>;
  /**
   * Calls the listener after another node has called `put`: `all` then has the entry. `forget` does not count, since the
   * tokens of its entries have expired. Called within 250 ms of the change while the node is current, and also if a change may have been missed. Returns a function that removes the
   * listener.
   */
  onChange(listener: () => void): () => void;
}
