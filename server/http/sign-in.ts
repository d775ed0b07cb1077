import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import { toRunwireError } from '../errors.ts';
import type { Handler } from './dispatch.ts';
import { queryOf } from './messages.ts';
import { isHttps } from './origins.ts';
import { acceptsPage } from './web-app.ts';

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
    const maxAge = expiresAtMs === undefined ? '' : `; Max-Age=${Math.floor((expiresAtMs - Date.now()) / 1000)}`;
    const secure = isHttps(request) ? '; Secure' : '';
    response.writeHead(303, {
      location: '/',
      'set-cookie': `${cookieName}=${token}; Path=/; HttpOnly; SameSite=Strict${maxAge}${secure}`,
    });
    response.end();
  };
}
