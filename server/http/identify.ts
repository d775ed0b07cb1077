import type { IncomingMessage, ServerResponse } from 'node:http';
import { RunwireError } from '../../shared/errors.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import { bearerOf, cookieOf } from './messages.ts';
import type { Origins } from './origins.ts';

export type RequestAuthenticatorOptions = { credentials: Credentials; origins: Origins; cookieName: string };

/** Authenticates requests by bearer token, or by the web app's cookie. */
export class RequestAuthenticator {
  readonly #options: RequestAuthenticatorOptions;
  readonly #identified = new WeakMap<IncomingMessage, Principal>();

  constructor(options: RequestAuthenticatorOptions) {
    this.#options = options;
  }

  /**
   * Returns the principal of a request. The cookie is accepted only if the browser states that an allowed page sent the
   * request. Throws `UNAUTHENTICATED`, and `UNAVAILABLE` when the token cannot be checked now.
   */
  async identify(request: IncomingMessage): Promise<Principal> {
    const { credentials, cookieName } = this.#options;
    const bearer = bearerOf(request);
    const cookie = bearer === undefined && this.#isFromPage(request) ? cookieOf(request, cookieName) : undefined;
    const token = bearer ?? cookie;
    if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'a bearer token is required');
    const principal = await credentials.verify(token);
    this.#identified.set(request, principal);
    const reason = credentials.invalidReasonOf(principal);
    if (reason) throw tokenInvalidError(reason);
    return principal;
  }

  /**
   * The principal of a request that {@link identify} has checked, even if the token has expired or was revoked. The
   * access log names this principal when a request is refused.
   */
  principalOf(request: IncomingMessage): Principal | undefined {
    return this.#identified.get(request);
  }

  #isFromPage(request: IncomingMessage): boolean {
    return request.headers.origin === undefined
      ? request.headers['sec-fetch-site'] === 'same-origin' // Browsers send no Origin with a same-origin GET.
      : this.#options.origins.allows(request);
  }
}

/**
 * Applies CORS. Throws `FORBIDDEN` for an origin that is not allowed. For an allowed origin, sets the headers that let
 * its pages read the response. Returns `answered` if the request was a preflight: the response has then been sent.
 */
export function admitOrigin(
  origins: Origins,
  request: IncomingMessage,
  response: ServerResponse,
): 'answered' | undefined {
  const { origin } = request.headers;
  if (!origins.allows(request)) throw new RunwireError('FORBIDDEN', 'the origin is not allowed');
  if (origin !== undefined) {
    response.setHeader('access-control-allow-origin', origin);
    response.setHeader('access-control-allow-credentials', 'true');
    response.setHeader('vary', 'origin');
  }
  if (request.method !== 'OPTIONS') return undefined;
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST',
    'access-control-allow-headers': 'authorization, content-encoding, content-type, last-event-id, trpc-accept',
    'access-control-max-age': '600',
  });
  response.end();
  return 'answered';
}
