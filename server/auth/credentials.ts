import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { Revocation, Revocations } from '../event-log/contract/revocations.ts';
import type { Authenticate, Principal } from './principal.ts';

/**
 * Who holds a token, and whether that still counts: every face asks here, at its first word and at each later one. What
 * has been revoked is in memory, so that asking costs two look-ups in maps that are nearly always empty.
 *
 * A token is refused when its id was revoked, or when it was issued up to the instant at which its subject was. One that
 * does not say when it was issued cannot show that it came later. `iat` counts in seconds: a token of the very second of
 * the revocation is refused with those before it. It is the issuer's clock: by how much that is ahead of this server's,
 * tokens of a revoked subject survive, where they are not revoked by id.
 */

/** Why a token that was good is not any more. */
export type TokenInvalidReason = 'expired' | 'revoked';
export const tokenInvalidText: Record<TokenInvalidReason, string> = {
  expired: 'the token has expired',
  revoked: 'the token has been revoked',
};

export const tokenInvalidError = (reason: TokenInvalidReason): RunwireError =>
  new RunwireError('UNAUTHENTICATED', tokenInvalidText[reason]);

export type CredentialsOptions = {
  authenticate: Authenticate;
  revocations: Revocations;
  /** How long the check of a token may take. */
  timeoutMs: number;
  logger: Logger;
};

export class Credentials {
  readonly #options: CredentialsOptions;
  readonly #byId: Record<Revocation['kind'], Map<string, Revocation>> = { jti: new Map(), sub: new Map() };
  readonly #listeners = new Set<() => void>();

  /** Resolves once it knows what has been revoked. */
  static async open(options: CredentialsOptions): Promise<Credentials> {
    const credentials = new Credentials(options);
    await options.revocations.forget(Date.now());
    for (const revocation of await options.revocations.all()) {
      credentials.#byId[revocation.kind].set(revocation.id, revocation);
    }
    return credentials;
  }

  private constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /** Who holds a token that counts. Throws `UNAUTHENTICATED`, and `UNAVAILABLE` where it cannot be checked now. */
  async identify(token: string): Promise<Principal> {
    const principal = await this.verify(token);
    const reason = this.invalidReasonOf(principal);
    if (reason) throw tokenInvalidError(reason);
    return principal;
  }

  /** Who holds a token, be it revoked: a socket is told so by a close code of its own. Throws as {@link identify}. */
  async verify(token: string): Promise<Principal> {
    const { authenticate, timeoutMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const error = () => new RunwireError('UNAVAILABLE', 'the token could not be checked in time');
      timer = setTimeout(() => reject(error()), timeoutMs);
    });
    try {
      // One that throws before it has made a promise is caught here, too.
      const principal = await Promise.race([(async () => authenticate(token))(), late]);
      if (!isPrincipal(principal)) throw new RunwireError('INTERNAL', 'the authenticator gave back no principal');
      return principal;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Why a principal does not count any more; undefined where it does. */
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
   * Revokes the token of an id, or all tokens of a subject that were issued up to now. It counts from the call on, and
   * after a restart once resolved. Throws `UNAVAILABLE` when the store fails: then it counts until the restart.
   */
  async revoke(which: { jti: string } | { sub: string }): Promise<void> {
    const atMs = Date.now();
    const revocation: Revocation =
      'jti' in which ? { kind: 'jti', id: which.jti, atMs } : { kind: 'sub', id: which.sub, atMs };
    const known = this.#byId[revocation.kind].get(revocation.id);
    // A clock that was set back must not bring tokens back to life.
    const kept = { ...revocation, untilMs: known?.untilMs, atMs: Math.max(atMs, known?.atMs ?? 0) };
    this.#byId[kept.kind].set(kept.id, kept);
    for (const listener of this.#listeners) listener();
    await this.#options.revocations.put(kept);
    await this.#forgetExpired(atMs);
  }

  /** Calls back when something has been revoked, before it is durable. */
  onRevoked(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** When a revoked token shows up, its own word says how long it has to be remembered. */
  #learn(revocation: Revocation): void {
    this.#byId.jti.set(revocation.id, revocation);
    this.#options.revocations.put(revocation).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, 'when a revoked token expires could not be kept');
    });
  }

  async #forgetExpired(nowMs: number): Promise<void> {
    for (const [id, { untilMs }] of this.#byId.jti) {
      if (untilMs !== undefined && untilMs < nowMs) this.#byId.jti.delete(id);
    }
    await this.#options.revocations.forget(nowMs);
  }
}

/** An authenticator of one's own need not be written in TypeScript. */
function isPrincipal(value: unknown): value is Principal {
  const { sub, projects, roles } = (value ?? {}) as Partial<Principal>;
  return typeof sub === 'string' && sub !== '' && Array.isArray(projects) && Array.isArray(roles);
}
