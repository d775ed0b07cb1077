import { RunwireError } from '../../shared/errors.ts';

/** Sign-in to the web app at an identity provider, by OpenID Connect. The first three belong together. */
export type OidcOptions = {
  /** URL of the provider: https, or http on this machine. Its metadata are at `/.well-known/openid-configuration`. */
  oidcIssuer?: string | undefined;
  oidcClientId?: string | undefined;
  oidcClientSecret?: string | undefined;
  /** Claim with the project ids of a user, or `*`. A path such as `realm_access.roles` finds a nested one. Default `projects`. */
  oidcProjectsClaim?: string | undefined;
  /** Claim with the roles of a user. Values that are no role are ignored. Default `roles`. */
  oidcRolesClaim?: string | undefined;
  /** Scopes of the sign-in, separated by blanks. Default `openid profile`, and `offline_access` if the provider has it. */
  oidcScopes?: string | undefined;
};

export type OidcSettings = {
  issuer: string;
  clientId: string;
  clientSecret: string;
  projectsClaim: string;
  rolesClaim: string;
  scopes: string | undefined;
};

const required = ['oidcIssuer', 'oidcClientId', 'oidcClientSecret'] as const;
const others = ['oidcProjectsClaim', 'oidcRolesClaim', 'oidcScopes'] as const;

/** Whether a text is an https URL without credentials, query and fragment. On this machine also http. */
export function isIssuerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, search, hash } = new URL(text);
  const isLocal = hostname === 'localhost' || hostname === '[::1]' || /^127\.[\d.]+$/.test(hostname);
  if (protocol !== 'https:' && !(protocol === 'http:' && isLocal)) return false;
  return username === '' && password === '' && search === '' && hash === '';
}

export const isScopes = (text: string): boolean => text.split(/ +/).includes('openid');

/** Returns the settings; undefined without OpenID Connect. Throws `INVALID_INPUT` for an incomplete or invalid set. */
export function oidcSettingsOf(options: OidcOptions): OidcSettings | undefined {
  const isSet = (name: keyof OidcOptions) => options[name] !== undefined;
  if (![...required, ...others].some(isSet)) return undefined;
  const refuse = (path: string, message: string) => new RunwireError('INVALID_INPUT', message, { path });
  for (const name of required) {
    if (!options[name])
      throw refuse(name, 'is required: oidcIssuer, oidcClientId and oidcClientSecret belong together');
  }
  const { oidcIssuer: issuer = '', oidcClientId: clientId = '', oidcClientSecret: clientSecret = '' } = options;
  if (!isIssuerUrl(issuer)) {
    throw refuse(
      'oidcIssuer',
      'must be an https URL without credentials, query and fragment; http on this machine alone',
    );
  }
  if (options.oidcScopes !== undefined && !isScopes(options.oidcScopes)) {
    throw refuse('oidcScopes', 'must have the scope openid');
  }
  return {
    issuer,
    clientId,
    clientSecret,
    projectsClaim: options.oidcProjectsClaim ?? 'projects',
    rolesClaim: options.oidcRolesClaim ?? 'roles',
    scopes: options.oidcScopes,
  };
}
