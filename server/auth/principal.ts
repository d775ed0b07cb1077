import { z } from 'zod';
import * as field from '../../shared/fields.ts';
import { isSameUser } from '../../shared/user-ids.ts';

/** A principal is an authenticated caller, with its user id, its projects, or one run, and its roles. */
export const roles = ['viewer', 'approver', 'producer', 'admin'] as const;
/** A role of a principal. */
export type Role = (typeof roles)[number];
/** The user or program behind a request: its id, projects and roles. */
export type Principal = {
  /** Subject of the token. Events contain it as the user id. */
  sub: string;
  /** Project ids, or `['*']` for all. */
  projects: readonly string[];
  roles: readonly Role[];
  /** The only run that the principal may see and act on, in its only project. Undefined: all runs of `projects`. */
  runId?: string | undefined;
  /** Name of the user, to be shown. Permissions and events have `sub`. */
  name?: string | undefined;
  /** Id of the token, with which `auth.revoke` can revoke it. */
  jti?: string | undefined;
  /** When the token was issued, in Unix ms. Without it, every revocation of the subject applies to the token. */
  issuedAtMs?: number | undefined;
  /** When the token expires, in Unix ms. Undefined for a principal that server code made, which never expires. */
  expiresAtMs?: number | undefined;
};

/** Converts a token to a principal. Throws `UNAUTHENTICATED`, or `UNAVAILABLE` if the token cannot be verified now. */
export type Authenticate = (token: string) => Promise<Principal>;
/** As {@link Authenticate}. Returns the principal itself if it is known at once. */
export type Verify = (token: string) => Principal | Promise<Principal>;

/** In a principal: all projects. As the project of a permission check: only such a principal passes. */
export const everyProject = '*';

/** The actors of the server's own events: of server code, and of expiries. No token has such a subject. */
export const SERVER = 'server';
export const SYSTEM = 'system';

/** The end of the year 9999, the last that an instant of an event may have: no number of a token is beyond. */
export const LATEST_MS = Date.UTC(10_000, 0) - 1;
const instantMs = z.number().nonnegative().max(LATEST_MS);

/** Whether the projects fit the run: a run is the pair of a project and a `runId`, so a `runId` needs exactly one project. */
export const fitsRun = ({ projects, runId }: Pick<Principal, 'projects' | 'runId'>): boolean =>
  runId === undefined || (projects.length === 1 && projects[0] !== everyProject);

/** What a token and a custom `authenticate` may say about a caller. */
export const principalSchema = z
  .object({
    // The `actor` of published events.
    sub: field.id().refine((sub) => !isSameUser(sub, SERVER) && !isSameUser(sub, SYSTEM), { error: 'is reserved' }),
    projects: z.array(z.string()),
    roles: z.array(z.enum(roles)),
    runId: field.scopeId().optional(),
    name: z.string().max(200).optional(),
    jti: field.id().optional(),
    issuedAtMs: instantMs.optional(),
    expiresAtMs: instantMs.optional(),
  })
  .refine(fitsRun, { path: ['runId'] });
