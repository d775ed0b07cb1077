import type { IncomingMessage, ServerResponse } from 'node:http';
import { RunwireError } from '../../shared/errors.ts';
import { returnPathOf } from '../../shared/return-path.ts';
import type { Oidc } from '../auth/identity.ts';
import { type SignInChecks, SignInRefused } from '../auth/oidc-provider.ts';
import type { Principal } from '../auth/principal.ts';
import type { Sealer } from '../auth/sealer.ts';
import { type Grant, principalOf, type Session } from '../auth/sessions.ts';
import { toRunwireError } from '../errors.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import { TokenBuckets } from '../rate-limit.ts';
import type { Handler } from './dispatch.ts';
import { cookieOf, noSuchPath, queryOf, sendJson } from './messages.ts';
import { isHttps, ownOrigin } from './origins.ts';
import { cookieFor, type SignInOptions } from './sign-in.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/**
 * Sign-in by OpenID Connect, and the renewal of its sessions.
 *
 * 1. `GET /auth/login?return=` seals the secrets of the sign-in in a cookie of this browser, and redirects to the provider.
 * 2. `GET /auth/callback` opens the cookie, exchanges the code, begins a session, and redirects to `return`. The cookie binds
 *    the callback to the browser: a page elsewhere cannot sign it in as another user.
 * 3. `POST /auth/renew` asks the provider for the present rights, and moves the expiry of the session and its open sockets.
 */

export type OidcRoutesOptions = SignInOptions & {
  proxies: TrustedProxies;
  log: Pick<EventLog, 'nodes'>;
  /** Called after a renewal: open sockets of the session get the new rights and expiry. */
  onRenewed: (principal: Principal) => void;
};

const SIGN_IN_LIFE_MS = 10 * 60_000;
/** A browser may sign in in several tabs at once. Beyond this number, the sign-ins before are given up. */
const MAX_SIGN_INS = 5;
/** Requests of one address per second, which cause requests to the provider; in a burst, 10 times as many. */
const PER_SECOND = 10;
const CALLBACK = '/auth/callback';
const COOKIE = 'runwire_signin_';
/** A renewal sooner than this after the one before, as a part of the session's life, is not asked for: other tabs ask too. */
const FRESH_PART = 0.2;
/** Time for another node to receive the answer of the provider and to store the renewed session. */
const ELSEWHERE_MS = 2_000;

/** One sign-in, as its cookie has it. */
type SignIn = {
  checks: SignInChecks;
  redirectUri: string;
  returnPath: string;
  isSilent: boolean;
  atMs: number;
  /** The session that this browser had. */
  sessionId?: string | undefined;
};

export function createOidcHandlers(options: OidcRoutesOptions): Record<'login' | 'callback' | 'renew', Handler> {
  const { oidc, proxies } = options;
  if (!oidc) {
    const refuse = () => {
      throw noSuchPath();
    };
    return { login: refuse, callback: refuse, renew: refuse };
  }
  const buckets = new TokenBuckets(PER_SECOND);
  const parts: Parts = { ...options, ...oidc };
  const limited =
    (handle: Handler): Handler =>
    (request, response) => {
      if (!buckets.take(proxies.addressOf(request), 1)) throw new RunwireError('RATE_LIMITED', 'too many sign-ins');
      return handle(request, response);
    };
  return {
    login: limited((request, response) => begin(parts, request, response)),
    callback: limited((request, response) => finish(parts, request, response)),
    renew: limited(createRenew(parts)),
  };
}

type Parts = OidcRoutesOptions & Oidc;

async function begin(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { provider, sessions, signInSealer, cookieName } = parts;
  const query = queryOf(request);
  const origin = ownOrigin(request);
  if (origin === undefined) throw new RunwireError('INVALID_INPUT', 'the Host is not a name');
  const signIn = {
    redirectUri: origin + CALLBACK,
    returnPath: returnPathOf(query.get('return')),
    isSilent: query.get('silent') === '1',
    atMs: Date.now(),
    sessionId: (await sessions.find(cookieOf(request, cookieName) ?? ''))?.id,
  };
  try {
    const { url, checks } = await provider.begin(signIn.redirectUri, signIn.isSilent);
    const former = namesIn(request);
    const isMany = former.length >= MAX_SIGN_INS;
    const sealed = signInSealer.seal(JSON.stringify({ ...signIn, checks } satisfies SignIn));
    response.setHeader('set-cookie', [
      ...(isMany ? former.map((name) => stateCookie(request, name, '', 0)) : []),
      stateCookie(request, nameOf(request, checks.state), sealed, SIGN_IN_LIFE_MS),
    ]);
    response.writeHead(303, { location: url.href }).end();
  } catch (error) {
    parts.access.record({ principal: undefined, action: 'login', via: 'http', outcome: toRunwireError(error).code });
    fail(response, signIn, { reason: 'unavailable' });
  }
}

async function finish(parts: Parts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { provider, access } = parts;
  const query = queryOf(request);
  const name = nameOf(request, query.get('state') ?? '');
  const signIn = openSignIn(parts.signInSealer, cookieOf(request, name));
  response.appendHeader('set-cookie', stateCookie(request, name, '', 0));
  const isOwn = signIn?.checks.state === query.get('state');
  try {
    if (!signIn || !isOwn) throw new SignInRefused('state');
    // The address as the provider was given it, and not as a proxy may have changed it since.
    const callback = new URL(`${signIn.redirectUri}?${query}`);
    await start(parts, request, response, signIn, await provider.exchange(callback, signIn.checks));
  } catch (error) {
    const isRefused = error instanceof SignInRefused;
    const outcome = isRefused ? 'UNAUTHENTICATED' : toRunwireError(error).code;
    access.record({ principal: undefined, action: 'login', via: 'http', outcome });
    const isUnbound = isRefused && error.code === 'state';
    const reason = isUnbound ? { reason: 'state' } : isRefused ? { reason: 'provider', code: error.code } : undefined;
    fail(response, isOwn ? signIn : undefined, reason ?? { reason: 'unavailable' });
  }
}

/** Begins the session of a sign-in. The secret in the cookie is new: one that was planted before is worth nothing. */
async function start(
  { sessions, credentials, access, cookieName, onRenewed }: Parts,
  request: IncomingMessage,
  response: ServerResponse,
  signIn: SignIn,
  grant: Grant,
): Promise<void> {
  const former = signIn.sessionId === undefined ? undefined : await sessions.get(signIn.sessionId);
  if (former?.user.sub === grant.user.sub && signIn.isSilent) {
    const renewed = await sessions.renewed(former.id, grant);
    if (renewed) onRenewed(principalOf(renewed));
    finishSilent(response);
    return;
  }
  if (signIn.isSilent) throw new SignInRefused('other_user');
  const { secret, session } = await sessions.begin(grant, credentials, former);
  onRenewed(principalOf(session));
  access.record({ principal: principalOf(session), action: 'login', via: 'http', outcome: 'ok' });
  response.appendHeader('set-cookie', cookieFor(request, cookieName, secret, session.endsAtMs - Date.now()));
  response.writeHead(303, { location: signIn.returnPath }).end();
}

function createRenew({ provider, sessions, credentials, access, cookieName, onRenewed, log }: Parts): Handler {
  /** Renewals that are under way: a refresh token may be used once, and several tabs ask at the same time. */
  const renewing = new Map<string, Promise<Session | undefined>>();

  const refresh = async (session: Session, refreshToken: string): Promise<Session | undefined> => {
    try {
      return await sessions.renewed(session.id, await provider.refresh(refreshToken, session.user));
    } catch (error) {
      if (!(error instanceof SignInRefused)) throw error;
      const present = await renewedElsewhere(session);
      if (!present) await sessions.end(session, credentials);
      return present;
    }
  };

  /** Another node may have used the refresh token, and not have stored the renewed session yet. */
  const renewedElsewhere = async (session: Session): Promise<Session | undefined> => {
    const deadline = performance.now() + ELSEWHERE_MS;
    const isAlone = (await log.nodes.list()).length === 1;
    for (;;) {
      const present = await sessions.get(session.id);
      if (present?.renewedAtMs !== session.renewedAtMs) return present;
      if (isAlone || performance.now() >= deadline) return undefined;
      await new Promise((resolve) => setTimeout(resolve, ELSEWHERE_MS / 20));
    }
  };

  /** Returns the session with its new expiry. Throws `UNAUTHENTICATED` once it has ended. */
  const renew = async (session: Session): Promise<Session> => {
    const isRevoked = credentials.invalidReasonOf(principalOf(session)) === 'revoked';
    if (isRevoked) await sessions.end(session, credentials);
    const { id, refreshToken, renewedAtMs, expiresAtMs } = session;
    const isFresh = Date.now() - renewedAtMs < FRESH_PART * (expiresAtMs - renewedAtMs);
    if (!isRevoked && (refreshToken === undefined || isFresh)) return session;
    let renewal = isRevoked || refreshToken === undefined ? Promise.resolve(undefined) : renewing.get(id);
    if (!renewal) {
      renewal = refresh(session, refreshToken as string).finally(() => renewing.delete(id));
      renewing.set(id, renewal);
    }
    const renewed = await renewal;
    if (!renewed) throw new RunwireError('UNAUTHENTICATED', 'the session has ended');
    onRenewed(principalOf(renewed));
    return renewed;
  };

  return async (request, response) => {
    const session = await sessions.find(cookieOf(request, cookieName) ?? '');
    try {
      if (!session) throw new RunwireError('UNAUTHENTICATED', 'the session has ended');
      const { expiresAtMs, refreshToken } = await renew(session);
      const expiresAt = new Date(expiresAtMs).toISOString();
      sendJson(response, 200, { expiresAt, isRenewable: refreshToken !== undefined });
    } catch (error) {
      const { code: outcome } = toRunwireError(error);
      access.record({ principal: session && principalOf(session), action: 'session.renew', via: 'http', outcome });
      // The cookie is not deleted: another tab may have signed in meanwhile, and replaced it.
      throw error;
    }
  };
}

/** Redirects to the page that shows the reason. Silent sign-ins have no page: the app asks whether its session was renewed. */
function fail(response: ServerResponse, signIn: Partial<SignIn> | undefined, reason: Record<string, string>): void {
  if (signIn?.isSilent) {
    finishSilent(response);
    return;
  }
  const { returnPath = '/' } = signIn ?? {};
  const params = new URLSearchParams({ ...reason, ...(returnPath === '/' ? {} : { return: returnPath }) });
  response.writeHead(303, { location: `/sign-in?${params}` }).end();
}

/** The end of a silent sign-in, in a hidden frame of the app. */
function finishSilent(response: ServerResponse): void {
  response.setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'self'");
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end();
}

function openSignIn(sealer: Sealer, sealed: string | undefined): SignIn | undefined {
  const text = sealed === undefined ? undefined : sealer.open(sealed);
  const signIn: SignIn | undefined = text === undefined ? undefined : JSON.parse(text);
  return signIn && Date.now() - signIn.atMs <= SIGN_IN_LIFE_MS ? signIn : undefined;
}

/** With the prefix `__Host-`, no other host of the domain can plant the cookie. Browsers accept it over TLS alone. */
const prefixOf = (request: IncomingMessage): string => `${isHttps(request) ? '__Host-' : ''}${COOKIE}`;
const nameOf = (request: IncomingMessage, state: string): string =>
  prefixOf(request) + state.slice(0, 12).replace(/[^\w-]/g, '');

function namesIn(request: IncomingMessage): string[] {
  const names = (request.headers.cookie ?? '').split(';').map((pair) => pair.split('=', 1)[0]?.trim() ?? '');
  return names.filter((name) => name.startsWith(prefixOf(request)) && /^[\w-]+$/.test(name)).slice(0, 50);
}

/** `Lax`, because the provider's page sends the browser to the callback. */
const stateCookie = (request: IncomingMessage, name: string, value: string, lifeMs: number): string =>
  cookieFor(request, name, value, lifeMs).replace('SameSite=Strict', 'SameSite=Lax');
