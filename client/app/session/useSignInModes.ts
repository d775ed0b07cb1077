import { useQuery } from '@tanstack/react-query';
import { useRunwire } from '../../hooks/index.ts';

/** Returns the ways to sign in to this server. */
export function useSignInModes() {
  const { client, queryKey } = useRunwire();
  return useQuery({ queryKey: queryKey('auth.modes'), queryFn: () => client.auth.modes.query() });
}
