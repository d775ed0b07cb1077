import { useQuery } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';
import { useRunwire } from '../../hooks/index.ts';
import { isSignedOut } from '../lib/errors.ts';
import { useAccount } from '../session/SessionProvider.tsx';

export type Me = Awaited<ReturnType<ReturnType<typeof useRunwire>['client']['auth']['me']['query']>>;
export type Role = 'viewer' | 'approver' | 'producer' | 'admin';

const reading: readonly string[] = ['viewer', 'approver', 'admin'] satisfies Role[];

export type UserSession = {
  /** The signed-in user, as the server states it; undefined while it is loading, and without a user. */
  me: Me | undefined;
  /** True if there is no user: the browser has no valid cookie. */
  isRefused: boolean;
  isAdmin: boolean;
  /** True if the user has a role that may read runs. */
  canRead: boolean;
  /** True if the user has the role, in the project if one is named. */
  can(role: Role, projectId?: string): boolean;
};

/** Returns the signed-in user and the user's rights. The rights only decide what the page offers: the server checks each call. */
export function useSession(): UserSession {
  const { client, queryKey } = useRunwire();
  const { isOut } = useAccount();
  const { data: me, error } = useQuery({
    queryKey: queryKey('auth.me'),
    queryFn: () => client.auth.me.query(),
    enabled: !isOut,
    retryOnMount: false, // Many components use this hook: each would ask again after a refusal.
  });
  const isRefused = isOut || (!me && isSignedOut(error));
  const can = useCallback(
    (role: Role, projectId?: string) =>
      me?.roles.includes(role) === true && (projectId === undefined || covers(me.projects, projectId)),
    [me],
  );
  return useMemo(
    () => ({
      me,
      isRefused,
      isAdmin: can('admin'),
      canRead: me?.roles.some((role) => reading.includes(role)) ?? false,
      can,
    }),
    [me, isRefused, can],
  );
}

/** True if a list of projects (`*` for all) contains the project. */
export const covers = (projects: readonly string[], projectId: string): boolean =>
  projects.includes('*') || projects.includes(projectId);
