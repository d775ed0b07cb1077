/** How Runwire carries the events of the former WebSocket event system (`compat-events.ts`): each in an event of one type. */

/** The type of the event that holds an event in its former form. */
export const COMPAT_TYPE = 'compat.message';

/** The project of what is sent to all. With `runwire/compat`, every caller may read it. */
export const COMPAT_PROJECT = 'compat';

type Run = { projectId: string; runId: string };

/** The run that holds what is sent to all. */
export const runForAll: Run = { projectId: COMPAT_PROJECT, runId: 'all' };
/** The run that holds what is sent to a project, and not to one of its runs. */
export const runForProject = (projectId: string): Run => ({ projectId, runId: 'compat:project' });
/** The run that holds what is sent to a user, in a project of the user's own. */
export const runForUser = (userId: string): Run => ({
  projectId: `compat:user:${encodeURIComponent(userId)}`,
  runId: 'messages',
});

/** What a page says of its user, in place of a token. Only a server for this machine believes it. */
export type Claims = { userId?: string | undefined };
const CLAIMS = 'compat:';

export const tokenOfClaims = (claims: Claims): string => CLAIMS + encodeURIComponent(JSON.stringify(claims));

/** Returns the claims in a token; undefined if it has none. */
export function claimsOf(token: string): Claims | undefined {
  if (!token.startsWith(CLAIMS)) return undefined;
  try {
    const { userId } = JSON.parse(decodeURIComponent(token.slice(CLAIMS.length))) as Claims;
    return typeof userId === 'string' ? { userId } : {};
  } catch {
    return undefined;
  }
}
