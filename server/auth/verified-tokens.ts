import { hash } from 'node:crypto';
import type { Principal, Verify } from './principal.ts';

/**
 * Returns a function that verifies a token once: until the token expires, and while `keysOf` returns the same value, the
 * principal is known by the token's digest, and the signature is not checked again. `keysOf` returns what identifies the keys,
 * such as the set in use.
 *
 * - A refused token is never kept. A token that has expired since is given to `verify` again, which refuses it.
 * - Revocations are no part of this: they are checked by principal, at each use (`Credentials.invalidReasonOf`).
 * - The digest is the key, so a copy of the memory has no token, and the time of a look-up says nothing about one.
 */
export function verifiedOnce(verify: Verify, keysOf: () => unknown): Verify {
  const verified = new VerifiedTokens();
  let keys = keysOf();
  return (token) => {
    const present = keysOf();
    if (present !== keys) verified.clear();
    keys = present;
    const digest = hash('sha256', token, 'base64url');
    const known = verified.get(digest);
    if (known) return known;
    const keep = (principal: Principal) => {
      // Otherwise the keys were replaced meanwhile, and the signature may be by a former one.
      if (keysOf() === present) verified.put(digest, principal, token.length);
      return principal;
    };
    const found = verify(token);
    return found instanceof Promise ? found.then(keep) : keep(found);
  };
}

/** Characters of all tokens: a principal is no larger than its token. */
const MAX_CHARS = 16 * 1024 * 1024;
const MAX_TOKENS = 50_000;

/** The principals of verified tokens by their digests. The oldest give way. */
export class VerifiedTokens {
  readonly #byDigest = new Map<string, { principal: Principal; chars: number }>();
  #chars = 0;

  get count(): number {
    return this.#byDigest.size;
  }

  get(digest: string): Principal | undefined {
    const principal = this.#byDigest.get(digest)?.principal;
    if (principal?.expiresAtMs === undefined || principal.expiresAtMs > Date.now()) return principal;
    this.#delete(digest);
    return undefined;
  }

  /** `chars`: length of the token. */
  put(digest: string, principal: Principal, chars: number): void {
    this.#delete(digest);
    this.#byDigest.set(digest, { principal, chars });
    this.#chars += chars;
    for (const oldest of this.#byDigest.keys()) {
      if (this.#byDigest.size <= MAX_TOKENS && this.#chars <= MAX_CHARS) break;
      this.#delete(oldest);
    }
  }

  clear(): void {
    this.#byDigest.clear();
    this.#chars = 0;
  }

  #delete(digest: string): void {
    this.#chars -= this.#byDigest.get(digest)?.chars ?? 0;
    this.#byDigest.delete(digest);
  }
}
