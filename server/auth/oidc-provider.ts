import * as oidc from 'openid-client';
import type { Logger } from 'pino';
import { RunwireError } from '../../shared/errors.ts';
import { isIncomplete, type OidcUser, userOf } from './oidc-claims.ts';
import type { OidcSettings } from './oidc-options.ts';
import type { Grant } from './sessions.ts';

/**
 * The identity provider: OpenID Connect's authorization code flow with PKCE, by the library openid-client, which validates the
 * answers (state, nonce, issuer, signature, audience, times). This module adds:
 *
 * - metadata that are fetched at the first use, and again from time to time; the old ones stay in use while that fails
 * - limits: of the time of a request, and of the requests at once
 * - errors that say whether the provider has refused the user, or could not be asked
 */

/** The secrets of one sign-in, which its callback must match. */
export type SignInChecks = { state: string; nonce: string; verifier: string };

/** The provider, or the check of its answer, has refused the user. `code` is short, of lower-case letters and `_`. */
export class SignInRefused extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`the provider did not sign the user in: ${code}`);
    this.code = /^[a-z_]{1,60}$/.test(code) ? code : 'unknown';
  }
}

const TIMEOUT_SECONDS = 8;
const METADATA_LIFE_MS = 3_600_000;
const MAX_REQUESTS = 50;
/** Rights are asked for again at least this often, however long the provider's access token is valid. */
const MAX_LIFE_MS = 3_600_000;
/** The provider refuses this user or this refresh token. After any other error, the same request may succeed later. */
const FINAL_CODES: ReadonlySet<string> = new Set([
  'invalid_grant',
  'access_denied',
  'login_required',
  'consent_required',
  'interaction_required',
  'account_selection_required',
  'userinfo_refused',
  'invalid_subject',
  'other_user',
]);

type Tokens = oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers;

export class OidcProvider {
  readonly #settings: OidcSettings;
  readonly #logger: Logger;
  #config: oidc.Configuration | undefined;
  #configuredAtMs = 0;
  #configuring: Promise<oidc.Configuration> | undefined;
  #isSecretPosted = false;
  #requests = 0;

  constructor(settings: OidcSettings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
  }

  /** Host of the provider, to be shown. */
  get host(): string {
    return new URL(this.#settings.issuer).host;
  }

  /** Page where the user can sign out at the provider; undefined if it has none, or its metadata were not fetched yet. */
  get signOutUrl(): string | undefined {
    const endpoint = this.#config?.serverMetadata().end_session_endpoint;
    if (endpoint === undefined || !/^https?:/.test(endpoint)) return undefined;
    const url = new URL(endpoint);
    url.searchParams.set('client_id', this.#settings.clientId); // Not `id_token_hint`: no token goes to the browser.
    return url.href;
  }

  /** Origin of the page that the browser is sent to. */
  get pageOrigin(): string {
    return new URL(this.#config?.serverMetadata().authorization_endpoint ?? this.#settings.issuer).origin;
  }

  /** Resolves with the address to send the browser to. `isSilent`: the provider must answer without a page. */
  async begin(redirectUri: string, isSilent: boolean): Promise<{ url: URL; checks: SignInChecks }> {
    const config = await this.#ready();
    const checks = {
      state: oidc.randomState(),
      nonce: oidc.randomNonce(),
      verifier: oidc.randomPKCECodeVerifier(),
    };
    const scope = this.#scopeOf(config);
    const isOffline = this.#settings.scopes?.split(/ +/).includes('offline_access') === true;
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope,
      state: checks.state,
      nonce: checks.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(checks.verifier),
      code_challenge_method: 'S256',
      // By the standard, `offline_access` needs the user's consent. Most providers grant it without.
      ...(isSilent ? { prompt: 'none' } : isOffline ? { prompt: 'consent' } : {}),
    });
    return { url, checks };
  }

  /** Exchanges the code of a callback. Throws {@link SignInRefused}, or `UNAVAILABLE`. */
  async exchange(callback: URL, { state, nonce, verifier }: SignInChecks): Promise<Grant> {
    const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true };
    return this.#ask(async (config) => {
      const tokens = await oidc.authorizationCodeGrant(config, callback, checks);
      return this.#grantOf(config, tokens, undefined);
    });
  }

  /** Asks for the present rights of a user. Throws {@link SignInRefused} if the session must end, else `UNAVAILABLE`. */
  async refresh(refreshToken: string, before: OidcUser): Promise<Grant> {
    try {
      return await this.#ask(async (config) => {
        const grant = await this.#grantOf(config, await oidc.refreshTokenGrant(config, refreshToken), before);
        if (grant.user.sub !== before.sub) throw new SignInRefused('other_user');
        return grant;
      });
    } catch (error) {
      if (!(error instanceof SignInRefused) || FINAL_CODES.has(error.code)) throw error;
      throw new RunwireError('UNAVAILABLE', 'the identity provider did not answer as expected');
    }
  }

  /** Revokes a refresh token at the provider. Never rejects: the session has ended here in any case. */
  async revoke(refreshToken: string): Promise<void> {
    if (this.#config?.serverMetadata().revocation_endpoint === undefined) return;
    await this.#ask((config) => oidc.tokenRevocation(config, refreshToken)).catch(() => undefined);
  }

  async #grantOf(config: oidc.Configuration, tokens: Tokens, before: OidcUser | undefined): Promise<Grant> {
    const idToken = tokens.claims();
    const sub = idToken?.sub ?? before?.sub ?? '';
    let claims: Record<string, unknown> = { ...idToken, sub };
    if (isIncomplete(claims, this.#settings) && config.serverMetadata().userinfo_endpoint !== undefined) {
      claims = { ...(await oidc.fetchUserInfo(config, tokens.access_token, sub)), ...claims };
    } else if (!idToken && before) {
      // A refresh without an ID token states nothing about the user, except that the refresh token is still valid.
      return { user: before, refreshToken: tokens.refresh_token, lifeMs: lifeOf(tokens) };
    }
    const user = userOf(claims, this.#settings);
    if (!user) throw new SignInRefused('invalid_subject');
    return { user, refreshToken: tokens.refresh_token, lifeMs: lifeOf(tokens) };
  }

  #scopeOf(config: oidc.Configuration): string {
    if (this.#settings.scopes !== undefined) return this.#settings.scopes;
    const supported = config.serverMetadata().scopes_supported ?? [];
    return ['openid', 'profile', 'offline_access']
      .filter((name) => name === 'openid' || supported.includes(name))
      .join(' ');
  }

  async #ask<T>(request: (config: oidc.Configuration) => Promise<T>): Promise<T> {
    const config = await this.#ready();
    if (this.#requests >= MAX_REQUESTS) throw new RunwireError('UNAVAILABLE', 'too many requests to the provider');
    this.#requests++;
    try {
      try {
        return await request(config);
      } catch (error) {
        if (codeOf(error) !== 'invalid_client' || !this.#canPostSecret(config)) throw error;
        this.#isSecretPosted = true;
        return await request(config);
      }
    } catch (error) {
      throw this.#errorOf(error);
    } finally {
      this.#requests--;
    }
  }

  #canPostSecret(config: oidc.Configuration): boolean {
    const methods = config.serverMetadata().token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
    return !this.#isSecretPosted && methods.includes('client_secret_post');
  }

  #errorOf(error: unknown): Error {
    if (error instanceof RunwireError) return error;
    const code = error instanceof SignInRefused ? error.code : codeOf(error);
    // The error itself is not logged: it has the answer of the provider, and so the user's claims.
    this.#logger.warn({ code }, 'the identity provider did not grant a sign-in or a renewal');
    if (error instanceof SignInRefused) return error;
    if (isFault(error)) return new RunwireError('UNAVAILABLE', 'the identity provider cannot be reached');
    return new SignInRefused(code);
  }

  /** Resolves with the provider's metadata. Throws `UNAVAILABLE` if there are none yet. */
  async #ready(): Promise<oidc.Configuration> {
    if (this.#config && Date.now() - this.#configuredAtMs < METADATA_LIFE_MS) return this.#config;
    this.#configuring ??= this.#discover().finally(() => {
      this.#configuring = undefined;
    });
    if (this.#config) {
      this.#configuring.catch(() => undefined);
      return this.#config;
    }
    return this.#configuring;
  }

  async #discover(): Promise<oidc.Configuration> {
    const { issuer, clientId, clientSecret } = this.#settings;
    const basic = oidc.ClientSecretBasic(clientSecret);
    const post = oidc.ClientSecretPost(clientSecret);
    const authentication: oidc.ClientAuth = (...args) => (this.#isSecretPosted ? post : basic)(...args);
    try {
      const config = await oidc.discovery(new URL(issuer), clientId, undefined, authentication, {
        timeout: TIMEOUT_SECONDS,
        execute: issuer.startsWith('http:') ? [oidc.allowInsecureRequests] : [],
      });
      const methods = config.serverMetadata().token_endpoint_auth_methods_supported;
      if (methods && !methods.includes('client_secret_basic')) this.#isSecretPosted = true;
      this.#config = config;
      this.#configuredAtMs = Date.now();
      return config;
    } catch (error) {
      this.#logger.warn({ code: codeOf(error) }, 'cannot fetch the metadata of the identity provider (OIDC_ISSUER)');
      throw new RunwireError('UNAVAILABLE', 'the identity provider cannot be reached');
    }
  }
}

/** The code of an OAuth error, or of an error of the library; without text of the provider. */
function codeOf(error: unknown): string {
  if (error instanceof oidc.AuthorizationResponseError || error instanceof oidc.ResponseBodyError) return error.error;
  if (error instanceof oidc.WWWAuthenticateChallengeError) return 'userinfo_refused';
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && code.startsWith('OAUTH_')
    ? code.slice('OAUTH_'.length).toLowerCase()
    : 'no_answer';
}

/** Whether the provider could not be asked, or has a fault of its own or of the configuration. */
function isFault(error: unknown): boolean {
  if (error instanceof oidc.AuthorizationResponseError) {
    return ['server_error', 'temporarily_unavailable'].includes(error.error);
  }
  if (error instanceof oidc.ResponseBodyError) return error.status >= 500 || !FINAL_CODES.has(error.error);
  return ['no_answer', 'timeout', 'abort', 'response_is_not_conform', 'response_is_not_json'].includes(codeOf(error));
}

const lifeOf = (tokens: Tokens): number => Math.min(MAX_LIFE_MS, (tokens.expires_in ?? MAX_LIFE_MS / 1000) * 1000);
