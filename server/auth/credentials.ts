import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { Revocation, Revocations } from '../event-log/contract/revocations.ts';
import type { Principal, Verify } from './principal.ts';
import { MAX_TOKEN_CHARS } from './tokens.ts';

/**
 * Verifies tokens, and checks at each request that a verified token is still valid. Revocations are kept in memory: the
 * check is two lookups in maps that are nearly always empty.
 *
 * A revocation names a token by its id (`jti`), or names a subject (`sub`). For a subject, the revocation applies to
 * every token that was issued at or before the revocation:
 *
 * - The time of issue (`iat`) has whole seconds, so a token issued in the second of the revocation is revoked too.
 * - A token without `iat` is always revoked.
 * - `iat` is from the issuer's clock. If that clock is ahead of this server's, a token issued shortly before the
 *   revocation stays valid, unless it is revoked by id.
 */

/** Why a verified token is no longer valid. */
export type TokenInvalidReason = 'expired' | 'revoked';
export const tokenInvalidText: Record<TokenInvalidReason, string> = {
  expired: 'the token has expired',
  revoked: 'the token has been revoked',
};

export const tokenInvalidError = (reason: TokenInvalidReason): RunwireError =>
  new RunwireError('UNAUTHENTICATED', tokenInvalidText[reason]);

export type CredentialsOptions = {
  authenticate: Verify;
  revocations: Revocations;
  /** Time limit for verifying a token. */
  timeoutMs: number;
  logger: Logger;
};

export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #byId: Record<Revocation['kind'], Map<string, Revocation>> = { jti: new Map(), sub: new Map() };
  readonly #listeners = new Set<() => void>();

  /** Resolves once the stored revocations are loaded. */
  static async open(options: CredentialsOptions): Promise<Credentials> {
    const credentials = new Credentials(options);
    await options.revocations.forget(Date.now());
    options.revocations.onChange(() => credentials.#read());
    await credentials.#read();
    return credentials;
  }

  private constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /**
   * Returns the principal of a valid token. Throws `UNAUTHENTICATED`, or `UNAVAILABLE` while tokens cannot be verified.
   */
  async authenticate(token: string): Promise<Principal> {
    const principal = await this.verify(token);
    const reason = this.invalidReasonOf(principal);
    if (reason) throw tokenInvalidError(reason);
    return principal;
  }

  /**
   * Does the same as {@link authenticate}, but also accepts a revoked token. The caller checks {@link invalidReasonOf}:
   * a WebSocket, for example, closes with a special code for a revoked token. Returns the principal itself if it is known at
   * once. Otherwise it returns a promise.
   */
  verify(token: string): Principal | Promise<Principal> {
    if (token.length > MAX_TOKEN_CHARS) {
      throw new RunwireError('UNAUTHENTICATED', `the token has more than ${MAX_TOKEN_CHARS} characters`);
    }
    const found = this.#options.authenticate(token);
    return found instanceof Promise ? this.#inTime(found) : found;
  }

  async #inTime(verifying: Promise<Principal>): Promise<Principal> {
    const { timeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const error = () => new RunwireError('UNAVAILABLE', 'the token could not be verified in time');
      timer = setTimeout(() => reject(error()), timeoutMs);
    });
    try {
      return await Promise.race([verifying, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Returns the reason why the token of a principal is no longer valid; undefined while it is valid. */
  invalidReasonOf(principal: Principal): TokenInvalidReason | undefined {
    const { sub, jti, issuedAtMs, expiresAtMs } = principal;
    const ofSubject = this.#byId.sub.get(sub);
    if (ofSubject && (issuedAtMs === undefined || issuedAtMs <= ofSubject.atMs)) return 'revoked';
    const ofToken = jti === undefined ? undefined : this.#byId.jti.get(jti);
    if (ofToken) {
      if (ofToken.untilMs === undefined && expiresAtMs !== undefined) this.#learn({ ...ofToken, untilMs: expiresAtMs });
      return 'revoked';
    }
    return expiresAtMs !== undefined && expiresAtMs <= Date.now() ? 'expired' : undefined;
  }

  /**
   * Revokes the token with an id, or all tokens of a subject that were issued until now. The revocation takes effect at
   * once. Resolves once the revocation is durable. Throws `UNAVAILABLE` if storing fails: the revocation then ends when
   * the server restarts. `untilMs`: when the token expires at the latest, if that is known.
   */
  async revoke(which: { jti: string; untilMs?: number } | { sub: string }): Promise<void> {
    const atMs = Date.now();
    const revocation: Revocation =
      'jti' in which
        ? { kind: 'jti', id: which.jti, atMs, untilMs: which.untilMs }
        : { kind: 'sub', id: which.sub, atMs };
    const known = this.#byId[revocation.kind].get(revocation.id);
    // The later of the old and the new time: if the clock was set back, revoked tokens must not become valid.
    const untilMs = revocation.untilMs ?? known?.untilMs;
    const kept = { ...revocation, untilMs, atMs: Math.max(atMs, known?.atMs ?? 0) };
    this.#byId[kept.kind].set(kept.id, kept);
    for (const listener of this.#listeners) listener();
    // The store's clock may be later than this one: a token of another server may be issued later than `atMs`.
    const stored = await this.#options.revocations.put({ ...kept, atMs: undefined });
    this.#byId[kept.kind].set(kept.id, { ...stored, atMs: Math.max(stored.atMs, kept.atMs) });
    await this.#forgetExpired(atMs);
  }

  /** Reads the stored revocations. Those in memory stay: they may not be durable yet. */
  async #read(): Promise<void> {
    for (const revocation of await this.#options.revocations.all()) {
      const known = this.#byId[revocation.kind].get(revocation.id);
      const atMs = Math.max(revocation.atMs, known?.atMs ?? 0);
      this.#byId[revocation.kind].set(revocation.id, { ...revocation, atMs });
    }
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` at each revocation, before the revocation is durable, and after a revocation by another node. */
  onRevoked(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Stores a revoked token's expiry when a client sends the token: the revocation is deleted after the expiry. */
  #learn(revocation: Revocation): void {
    this.#byId.jti.set(revocation.id, revocation);
    this.#options.revocations.put(revocation).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, 'cannot store the expiry of a revoked token');
    });
  }

  async #forgetExpired(nowMs: number): Promise<void> {
    for (const [id, { untilMs }] of this.#byId.jti) {
      if (untilMs !== undefined && untilMs < nowMs) this.#byId.jti.delete(id);
    }
    await this.#options.revocations.forget(nowMs);
  }
}
