/** A session of a browser that has signed in at the identity provider. */
export type StoredSession = {
  /** Digest of the secret in the cookie: the store cannot sign anybody in. */
  id: string;
  /** Sealed by the server: the store has no readable name, right or token. */
  sealed: string;
  /** When the session ends at the latest; Unix ms. */
  endsAtMs: number;
};

/**
 * The stored sessions. The server reads all of them at its start and after each change by another node, and keeps them in
 * memory.
 */
export interface SessionStore {
  all(): Promise<StoredSession[]>;
  /** Returns the session with an id; undefined if there is none. */
  get(id: string): Promise<StoredSession | undefined>;
  /** Stores a session, or replaces the one with this id. MUST be durable once the promise has resolved. */
  put(session: StoredSession): Promise<void>;
  /** Deletes the sessions with these ids. MUST be durable once the promise has resolved. */
  remove(ids: readonly string[]): Promise<void>;
  /** As `Revocations.onChange`. */
  onChange(listener: () => void): () => void;
}
