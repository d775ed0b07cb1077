import type { IncomingMessage, ServerResponse } from 'node:http';
import { RunwireError } from '../../shared/errors.ts';
import { TIME_HEADER } from '../../shared/protocol.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import type { Turns } from '../slices.ts';
import { bearerOf, cookieOf } from './messages.ts';
import type { Origins } from './origins.ts';

export type RequestAuthenticatorOptions = {
  credentials: Credentials;
  origins: Origins;
  cookieName: string;
  turns: Turns;
};

/** Authenticates requests by bearer token, or by the web app's cookie. */
export class RequestAuthenticator {
  readonly #options: RequestAuthenticatorOptions;
  readonly #identified = new WeakMap<IncomingMessage, Principal>();

  constructor(options: RequestAuthenticatorOptions) {
    this.#options = options;
  }

  /**
   * Returns the principal of a request: of its bearer token, else of `token`, else of the cookie. The cookie is accepted
   * only if the browser states that an allowed page sent the request. Resolves when the request may begin: many requests that
   * arrive together begin in several turns of the event loop. Throws `UNAUTHENTICATED`, and `UNAVAILABLE` when the token cannot be checked now.
   */
  async identify(request: IncomingMessage, token?: string): Promise<Principal> {
    const { credentials, cookieName, turns } = this.#options;
    const explicit = bearerOf(request) ?? token;
    const cookie = explicit === undefined && this.#isFromPage(request) ? cookieOf(request, cookieName) : undefined;
    const found = explicit ?? cookie;
    if (found === undefined) throw new RunwireError('UNAUTHENTICATED', 'a bearer token is required');
    const principal = await credentials.verify(found);
    this.#identified.set(request, principal);
    await turns.next({ user: principal.sub });
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
    response.setHeader('access-control-expose-headers', TIME_HEADER);
    response.setHeader('vary', 'origin, access-control-request-headers');
  }
  if (request.method !== 'OPTIONS') return undefined;
  response.writeHead(204, {
    'access-control-allow-methods': 'GET, POST',
    // Any header: tracing libraries of the page add their own. Credentials forbid the wildcard.
    'access-control-allow-headers': requestedHeaders(request),
    'access-control-max-age': '600',
  });
  response.end();
  return 'answered';
}

/** The names of the headers that a preflight asks for. Browsers send them sorted, in lower case. */
function requestedHeaders({ headers }: IncomingMessage): string {
  const names = headers['access-control-request-headers'] ?? '';
  return /^[\w!#$%&'*+.^`|~-]+(, ?[\w!#$%&'*+.^`|~-]+)*$/.test(names) ? names : 'authorization, content-type';
}
