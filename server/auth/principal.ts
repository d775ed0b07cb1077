/** A principal is an authenticated caller, with its user id, projects and roles. */
export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
export type Role = (typeof roles)[number];
export type Principal = {
  /** Subject of the token. Events contain it as the user id. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** Id of the token, with which `auth.revoke` can revoke it. */
  jti?: string | undefined;
  /** When the token was issued, in Unix ms. Without it, every revocation of the subject applies to the token. */
  issuedAtMs?: number | undefined;
  /** When the token expires, in Unix ms. Undefined for a principal that server code made, which never expires. */
  expiresAtMs?: number | undefined;
};

/** The actors of the server's own events: of server code, and of expiries. No token has such a subject. */
export const SERVER = 'server';
export const SYSTEM = 'system';

/** Converts a token to a principal. Throws `UNAUTHENTICATED`, or `UNAVAILABLE` if the token cannot be verified now. */
export type Authenticate = (token: string) => Promise<Principal>;

/** In a principal: all projects. As the project of a permission check: only such a principal passes. */
export const everyProject = '*';
