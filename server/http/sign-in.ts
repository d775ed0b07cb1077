import type { IncomingMessage } from 'node:http';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import { toRunwireError } from '../errors.ts';
import type { Handler } from './dispatch.ts';
import { queryOf } from './messages.ts';
import { isHttps } from './origins.ts';
import { acceptsPage } from './web-app.ts';

/** A browser keeps the cookie for at most this time, however long its token is valid. */
const MAX_COOKIE_LIFE_MS = 24 * 3_600_000;

export type SignInOptions = { credentials: Credentials; access: AccessLogger; cookieName: string };

/**
 * Handles the sign-in link, `GET /login?token=`. Stores the token of the link in a cookie, and redirects to the web
 * app, so that the token is no longer in the browser's address bar.
 */
export function createSignIn({ credentials, access, cookieName }: SignInOptions): Handler {
  return async (request, response) => {
    const token = queryOf(request).get('token') ?? '';
    const principal = await credentials.authenticate(token).catch((error: unknown) => {
      if (!acceptsPage(request)) throw error;
      access.record({ principal: undefined, action: 'login', via: 'http', outcome: toRunwireError(error).code });
    });
    if (!principal) {
      // A browser opened a link with an invalid token. The redirect opens the app, which shows how to sign in.
      response.writeHead(303, { location: '/' }).end();
      return;
    }
    access.record({ principal, action: 'login', via: 'http', outcome: 'ok' });
    const { expiresAtMs } = principal;
    const lifeMs = Math.min(MAX_COOKIE_LIFE_MS, (expiresAtMs ?? Number.POSITIVE_INFINITY) - Date.now());
    const cookie = cookieOf(request, cookieName, token, Math.floor(lifeMs / 1000));
    response.writeHead(303, { location: '/', 'set-cookie': cookie }).end();
  };
}

/**
 * Handles `POST /auth/logout`: deletes the cookie in the browser. The token itself stays valid until it expires or is
 * revoked, because other programs may use it.
 */
export function createSignOut({ cookieName }: Pick<SignInOptions, 'cookieName'>): Handler {
  return (request, response) => {
    response.writeHead(204, { 'set-cookie': cookieOf(request, cookieName, '', 0) }).end();
  };
}

const cookieOf = (request: IncomingMessage, name: string, value: string, maxAgeSeconds: number): string =>
  `${name}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAgeSeconds}${isHttps(request) ? '; Secure' : ''}`;
