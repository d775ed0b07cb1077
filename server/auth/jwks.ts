import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWKSCacheInput,
  type JWTVerifyGetKey,
  jwksCache,
  jwtVerify,
} from 'jose';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { Verify } from './principal.ts';
import { principalOf, refusalOf, type TokenChecks, verifyOptions } from './tokens.ts';
import { verifiedOnce } from './verified-tokens.ts';

/**
 * Verifies tokens of an issuer that publishes its keys (`AUTH_JWKS_URL`). The library jose caches the keys, and fetches
 * them again for an unknown key id. This module adds:
 *
 * - growing pauses between fetches while the issuer fails; cached keys stay in use
 * - a refresh of old keys in the background: a key that the issuer removed stops working, and no request is delayed
 */

/** Asymmetric algorithms only: with HS256, a client could sign a token with a public key as the secret. */
const ALGORITHMS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');

/** Minimum time between two fetches that unknown key ids cause. */
const COOLDOWN_MS = 5_000;
/** Keys older than this are fetched again in the background when the next token is checked. */
const MAX_AGE_MS = 10 * 60_000;
const TIMEOUT_MS = 5_000;
/** Pause after a failed fetch. The pause doubles with each further failure, up to the maximum. */
const PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
const KEYS_LIMIT_BYTES = 1 << 20;

export type JwksOptions = TokenChecks & {
  /** URL of the issuer's keys: http or https, without credentials. */
  url: string;
  logger: Logger;
};

/** Whether a text is an http or https URL without credentials. */
export function isKeysUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
}

/**
 * Returns a function that verifies tokens with the keys of an issuer. The function throws `UNAUTHENTICATED`, and
 * `UNAVAILABLE` if it needs to fetch a key and cannot. Nothing is fetched before the first token.
 */
export function jwks({ url, logger, ...checks }: JwksOptions): Verify {
  if (!isKeysUrl(url)) {
    throw new RunwireError('INVALID_INPUT', 'must be an http or https URL without credentials', {
      path: 'authJwksUrl',
    });
  }
  if (checks.audience === undefined) {
    logger.warn('AUTH_AUDIENCE is not set: tokens that the issuer signed for other services are accepted too');
  }
  const source = new KeySource(logger);
  /** jose puts each set of keys that it has fetched here, in the step in which it takes the set into use. */
  const fetched: JWKSCacheInput = {};
  const keys = createRemoteJWKSet(new URL(url), {
    timeoutDuration: TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: Number.POSITIVE_INFINITY, // With a maximum age, jose drops its keys while the issuer is down.
    [customFetch]: (address, init) => source.fetch(address, init),
    [jwksCache]: fetched,
  });
  const refreshOld = () => {
    // A failure needs no handling: KeySource logs it, and the cached keys stay in use.
    if (source.isOld) keys.reload().catch(() => undefined);
  };
  const keyOf: JWTVerifyGetKey = async (header, token) => {
    refreshOld();
    try {
      return await keys(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error;
      throw new RunwireError('UNAVAILABLE', 'cannot fetch the keys of the issuer', { cause: error });
    }
  };
  const options = verifyOptions(ALGORITHMS, checks);
  const verify = async (token: string) => {
    try {
      return principalOf((await jwtVerify(token, keyOf, options)).payload, checks);
    } catch (error) {
      throw refusalOf(error, checks);
    }
  };
  // Each fetch returns another set, so every token is then verified again.
  const verified = verifiedOnce(verify, () => fetched.jwks);
  return (token) => {
    const found = verified(token);
    if (!(found instanceof Promise)) refreshOld();
    return found;
  };
}

/** Fetches the keys of the issuer. After a failure, it refuses further fetches until a pause has ended. */
class KeySource {
  readonly #logger: Logger;
  #fetchedAtMs: number | undefined;
  #failures = 0;
  /** End of the pause, by `performance.now()`. */
  #pausedUntil = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Whether the keys are older than {@link MAX_AGE_MS} and no pause is in effect. */
  get isOld(): boolean {
    return (
      this.#fetchedAtMs !== undefined &&
      Date.now() - this.#fetchedAtMs > MAX_AGE_MS &&
      performance.now() >= this.#pausedUntil
    );
  }

  async fetch(address: string, init: RequestInit): Promise<Response> {
    if (performance.now() < this.#pausedUntil) throw new Error('paused after a failure');
    try {
      const response = await fetch(address, init);
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      const text = await limitedText(response);
      createLocalJWKSet(JSON.parse(text)); // Throws if the text is not a set of keys.
      this.#fetchedAtMs = Date.now();
      this.#failures = 0;
      return new Response(text);
    } catch (error) {
      this.#pausedUntil = performance.now() + Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** this.#failures);
      this.#failures++;
      // Logs a reason instead of the error: the message of a JSON parser quotes the response.
      this.#logger.warn({ failures: this.#failures, reason: reasonOf(error) }, 'cannot fetch the keys of the issuer');
      throw error;
    }
  }
}

async function limitedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > KEYS_LIMIT_BYTES) throw new Error('more than 1 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function reasonOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'not JSON';
  if (error instanceof errors.JOSEError) return error.code;
  const { name, message, cause } = error as Error;
  if (name === 'TimeoutError') return 'timed out';
  return (cause as { code?: string } | undefined)?.code ?? message;
}
