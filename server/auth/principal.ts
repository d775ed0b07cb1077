/** The authenticated caller: its identity, projects and roles. */
export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
export type Role = (typeof roles)[number];
export type Principal = {
  /** Subject of the token: the user id in events. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** Id of the token. `auth.revoke` takes it. */
  jti?: string | undefined;
  /** Unix ms. Without it, a revocation of the subject always applies. */
  issuedAtMs?: number | undefined;
  /** Unix ms. Without it, the principal never expires: for principals made by server code. */
  expiresAtMs?: number | undefined;
};

/** Turns a token into a principal. Throws `UNAUTHENTICATED`, or `UNAVAILABLE` if it cannot verify the token now. */
export type Authenticate = (token: string) => Promise<Principal>;

/** All projects, in a principal. As the project of a resource, only a principal with it qualifies. */
export const everyProject = '*';
