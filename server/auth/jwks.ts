import { createLocalJWKSet, createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import type { Authenticate } from './principal.ts';
import { badToken, principalOf, type TokenChecks, verifyOptions } from './tokens.ts';

/**
 * Tokens of an issuer that publishes its keys (`AUTH_JWKS_URL`). jose keeps the keys, and fetches them again for a key id
 * that it does not know; here is added what it leaves to its user: an issuer that fails is asked ever more seldom, keys
 * that are known go on being good meanwhile, and those that were taken away are noticed without holding anybody up.
 */

/**
 * Asymmetric ones alone. With HS256 among them, anybody could sign with a public key for the secret; the list is looked at
 * before any key is asked for.
 */
const ALGORITHMS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');

/** For a key id that is not known, the issuer is asked at most so often. */
const COOLDOWN_MS = 5_000;
/** What was fetched longer ago is fetched again at the next token, which does not wait for it. */
const MAX_AGE_MS = 10 * 60_000;
const TIMEOUT_MS = 5_000;
/** After a failure nothing is asked for so long; twice as long after the next, up to the most. */
const PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
const KEYS_LIMIT_BYTES = 1 << 20;

export type JwksOptions = TokenChecks & {
  /** Where the issuer publishes its keys: http(s), without credentials. */
  url: string;
  logger: Logger;
};

/** Whether an address may be that of an issuer's keys. */
export function isKeysAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === 'https:' || protocol === 'http:') && username === '' && password === '';
}

/**
 * Checks tokens by the keys of an issuer: as `hs256` does with a secret. Throws `UNAVAILABLE` where a key is needed that
 * cannot be fetched. Asks the issuer for nothing before the first token.
 */
export function jwks({ url, logger, ...checks }: JwksOptions): Authenticate {
  if (!isKeysAddress(url)) {
    throw new RunwireError('INVALID_INPUT', 'must be an http or https address without credentials', {
      path: 'authJwksUrl',
    });
  }
  if (checks.audience === undefined) {
    logger.warn('AUTH_AUDIENCE is not set: tokens that the issuer made for others are taken too');
  }
  const source = new KeySource(logger);
  const keys = createRemoteJWKSet(new URL(url), {
    timeoutDuration: TIMEOUT_MS,
    cooldownDuration: COOLDOWN_MS,
    cacheMaxAge: Number.POSITIVE_INFINITY, // Past an age of its own, jose knows no key at all while the issuer is down.
    [customFetch]: (address, init) => source.fetch(address, init),
  });
  const keyOf: JWTVerifyGetKey = async (header, token) => {
    // The failure has been logged; the keys that are known stay.
    if (source.isOld) keys.reload().catch(() => undefined);
    try {
      return await keys(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) throw error;
      throw new RunwireError('UNAVAILABLE', 'the keys of the issuer cannot be fetched now', { cause: error });
    }
  };
  return async (token) => {
    try {
      return principalOf((await jwtVerify(token, keyOf, verifyOptions(ALGORITHMS, checks))).payload, checks);
    } catch (error) {
      throw error instanceof RunwireError ? error : badToken();
    }
  };
}

/** Fetches, and keeps count of how that goes. */
class KeySource {
  readonly #logger: Logger;
  #fetchedAtMs: number | undefined;
  #failures = 0;
  /** On a clock that is never set. */
  #pausedUntil = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Whether what there is should be fetched again, and may be. */
  get isOld(): boolean {
    return (
      this.#fetchedAtMs !== undefined &&
      Date.now() - this.#fetchedAtMs > MAX_AGE_MS &&
      performance.now() >= this.#pausedUntil
    );
  }

  async fetch(address: string, init: RequestInit): Promise<Response> {
    if (performance.now() < this.#pausedUntil) throw new Error('the issuer failed just now');
    try {
      const response = await fetch(address, init);
      if (response.status !== 200) throw new Error(`status ${response.status}`);
      const text = await limitedText(response);
      createLocalJWKSet(JSON.parse(text)); // Throws for what is no set of keys.
      this.#fetchedAtMs = Date.now();
      this.#failures = 0;
      return new Response(text);
    } catch (error) {
      this.#pausedUntil = performance.now() + Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** this.#failures);
      this.#failures++;
      // Not the error: what a parser says quotes what came.
      this.#logger.warn(
        { failures: this.#failures, reason: reasonOf(error) },
        'the keys of the issuer were not fetched',
      );
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
