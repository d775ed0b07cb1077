import type { Logger } from 'pino';
import type { AuthMode } from '../../shared/protocol.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { AuthOptions } from './authenticator.ts';
import { Credentials } from './credentials.ts';
import { oidcSettingsOf } from './oidc-options.ts';
import { OidcProvider } from './oidc-provider.ts';
import type { Principal, Verify } from './principal.ts';
import { Sealer } from './sealer.ts';
import { isSessionJti, isSessionSecret, Sessions } from './sessions.ts';

export type Oidc = { provider: OidcProvider; sessions: Sessions; signInSealer: Sealer };

export type IdentityOptions = AuthOptions & { isLocalSecret?: boolean | undefined };

/** Who calls: the check of tokens and of sessions, and the ways to sign in. */
export type Identity = {
  credentials: Credentials;
  /** Undefined without OpenID Connect. */
  oidc: Oidc | undefined;
  /** The ways to sign in; the usual one first. */
  modes: readonly AuthMode[];
  modeOf(principal: Principal): AuthMode;
  invalidReasonOf: Credentials['invalidReasonOf'];
};

/** Loads the revocations and the sessions that the log stores. `authenticate` checks tokens. */
export async function openIdentity(
  log: Pick<EventLog, 'revocations' | 'sessions'>,
  authenticate: Verify,
  options: IdentityOptions,
  { timeoutMs, logger }: { timeoutMs: number; logger: Logger },
): Promise<Identity> {
  const oidc = await openOidc(log, options, logger);
  const tokenMode = tokenModeOf(options);
  const checked: Verify = oidc
    ? (token) => (isSessionSecret(token) ? oidc.sessions.authenticate(token) : authenticate(token))
    : authenticate;
  const { revocations } = log;
  const modes: AuthMode[] = [...(oidc ? (['oidc'] as const) : []), ...(tokenMode ? [tokenMode] : [])];
  const credentials = await Credentials.open({ authenticate: checked, revocations, timeoutMs, logger });
  return {
    credentials,
    invalidReasonOf: (principal) => credentials.invalidReasonOf(principal),
    oidc,
    modes,
    modeOf: ({ jti }) => (isSessionJti(jti) ? 'oidc' : (tokenMode ?? 'oidc')),
  };
}

async function openOidc(log: Pick<EventLog, 'sessions'>, options: AuthOptions, logger: Logger) {
  const settings = oidcSettingsOf(options);
  if (!settings) return undefined;
  // Sessions of another provider, another client or another secret cannot be opened.
  const { issuer, clientId, clientSecret } = settings;
  const sealerFor = (purpose: string) => new Sealer(clientSecret, JSON.stringify([purpose, issuer, clientId]));
  const sessions = await Sessions.open(log.sessions, sealerFor('sessions'));
  return { provider: new OidcProvider(settings, logger), sessions, signInSealer: sealerFor('sign-ins') };
}

function tokenModeOf({ authenticate, authJwksUrl, authSecret, isLocalSecret }: IdentityOptions): AuthMode | undefined {
  if (authenticate) return 'host';
  if (authJwksUrl !== undefined) return 'issuer';
  if (authSecret === undefined) return undefined;
  return isLocalSecret ? 'link' : 'secret';
}
