/** Invalid tokens: the token with an id (`jti`), or all tokens of a subject that were issued up to `atMs`. */
export type Revocation = {
  kind: 'jti' | 'sub';
  id: string;
  /** Time of the revocation; Unix ms. */
  atMs: number;
  /** Time after which all affected tokens have expired; Unix ms. Absent when unknown: then the entry is permanent. */
  untilMs?: number | undefined;
};

/** Revoked tokens. There are few, and every call checks them: the caller keeps them in memory. */
export interface Revocations {
  all(): Promise<Revocation[]>;
  /** MUST be durable once resolved. A second `put` of an id MUST keep the later `atMs`, and a known `untilMs`. */
  put(revocation: Revocation): Promise<void>;
  /** Deletes entries with an `untilMs` before an instant (Unix ms). `Log.trim` MUST NOT delete any. */
  forget(expiredBeforeMs: number): Promise<void>;
}
