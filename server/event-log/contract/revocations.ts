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
