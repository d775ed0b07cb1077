import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import { returnPathOf } from '../../shared/return-path.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Credentials } from '../auth/credentials.ts';
import type { Oidc } from '../auth/identity.ts';
import type { Principal } from '../auth/principal.ts';
import { MAX_SESSION_MS, principalOf } from '../auth/sessions.ts';
import { expiredAtMs, MAX_TOKEN_CHARS } from '../auth/tokens.ts';
import { toRunwireError } from '../errors.ts';
import type { Turns } from '../slices.ts';
import type { Handler } from './dispatch.ts';
import type { InFlight } from './in-flight.ts';
import { cookieOf, queryOf } from './messages.ts';
import { isHttps } from './origins.ts';
import { RequestBody } from './request-body.ts';
import { acceptsPage } from './web-app.ts';

/** A browser keeps the cookie for at most this time, however long its token is valid. */
const MAX_COOKIE_LIFE_MS = MAX_SESSION_MS;

export type SignInOptions = {
  credentials: Credentials;
  access: AccessLogger;
  cookieName: string;
  inFlight: InFlight;
  turns: Turns;
  /** Undefined without OpenID Connect. */
  oidc: Oidc | undefined;
};

/**
 * Handles the sign-in link, `GET /login?token=`. Stores the token of the link in a cookie, and redirects to the web
 * app, so that the token is no longer in the browser's address bar.
 */
export function createSignIn({ credentials, access, cookieName }: SignInOptions): Handler {
  return async (request, response) => {
    const query = queryOf(request);
    const token = query.get('token') ?? '';
    try {
      const principal = await credentials.authenticate(token);
      access.record({ principal, action: 'login', via: 'http', outcome: 'ok' });
      setToken(request, response, cookieName, token, principal);
      response.writeHead(303, { location: returnPathOf(query.get('return')) }).end();
    } catch (error) {
      if (!acceptsPage(request)) throw error;
      access.record({ principal: undefined, action: 'login', via: 'http', outcome: toRunwireError(error).code });
      // A browser opened a link with an invalid token. The app shows the reason, and how to sign in.
      response.writeHead(303, { location: `/sign-in?${new URLSearchParams(reasonOf(error))}` }).end();
    }
  };
}

/** The reason for which a token was refused, for the page `/sign-in`. */
function reasonOf(error: unknown): Record<string, string> {
  const at = expiredAtMs(error);
  if (at !== undefined) return { reason: 'expired', at: String(at) };
  const { code, message } = toRunwireError(error);
  if (code !== 'UNAUTHENTICATED') return { reason: 'unavailable' };
  return { reason: message.includes('revoked') ? 'revoked' : 'invalid' };
}

const tokenSchema = z.strictObject({ token: z.string().trim().max(MAX_TOKEN_CHARS) });
const MAX_BODY_BYTES = 2 * MAX_TOKEN_CHARS;

/** Handles `POST /auth/token`: stores a token that the user has pasted in the cookie. */
export function createTokenSignIn({ credentials, access, cookieName, inFlight, turns }: SignInOptions): Handler {
  return async (request, response) => {
    const held = inFlight.hold('');
    try {
      const { token } = tokenSchema.parse(await new RequestBody(request, held, turns).json(MAX_BODY_BYTES));
      const principal = await credentials.authenticate(token);
      access.record({ principal, action: 'login', via: 'http', outcome: 'ok' });
      setToken(request, response, cookieName, token, principal);
      response.writeHead(204).end();
    } finally {
      held.release();
    }
  };
}

/**
 * Handles `POST /auth/logout`: deletes the cookie in the browser. A session ends everywhere, and its refresh token is revoked
 * at the provider. A token stays valid until it expires or is revoked, because other programs may use it.
 */
export function createSignOut({ access, cookieName, credentials, oidc }: SignInOptions): Handler {
  return async (request, response) => {
    const session = await oidc?.sessions.find(cookieOf(request, cookieName) ?? '');
    response.setHeader('set-cookie', cookieFor(request, cookieName, '', 0));
    if (session) {
      access.record({ principal: principalOf(session), action: 'logout', via: 'http', outcome: 'ok' });
      await oidc?.sessions.end(session, credentials);
      if (session.refreshToken !== undefined) void oidc?.provider.revoke(session.refreshToken);
    }
    response.writeHead(204).end();
  };
}

function setToken(
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  token: string,
  { expiresAtMs }: Principal,
) {
  const lifeMs = Math.min(MAX_COOKIE_LIFE_MS, (expiresAtMs ?? Number.POSITIVE_INFINITY) - Date.now());
  response.setHeader('set-cookie', cookieFor(request, name, token, lifeMs));
}

/** Returns a cookie that the browser sends with requests of this server's own pages alone. */
export const cookieFor = (request: IncomingMessage, name: string, value: string, lifeMs: number): string =>
  `${name}=${value}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${Math.max(0, Math.floor(lifeMs / 1000))}${isHttps(request) ? '; Secure' : ''}`;
