/** Who calls, and what they may do. */
export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
export type Role = (typeof roles)[number];
export type Principal = {
  /** Subject of the token: the user id in events. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** Id of the token, by which it can be revoked. */
  jti?: string | undefined;
  /** Unix ms. A token without it does not outlive a revocation of its subject. */
  issuedAtMs?: number | undefined;
  /** Unix ms; absent for what never expires, as a principal that server code made itself. */
  expiresAtMs?: number | undefined;
};

/** Turns a token into a principal; throws `UNAUTHENTICATED`, or `UNAVAILABLE` where it cannot tell now. */
export type Authenticate = (token: string) => Promise<Principal>;
/** As a resource, what only `projects: ['*']` covers. */
export const everyProject = '*';
