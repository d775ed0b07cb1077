import { tell } from './channel.ts';
import type { Account } from './SessionProvider.tsx';

/** Ends the session in every tab of this browser. Returns false if the server did not answer: the user is still signed in. */
export async function signOut({ leave }: Account): Promise<boolean> {
  const response = await fetch('/auth/logout', { method: 'POST' }).catch(() => undefined);
  if (!response?.ok) return false;
  tell({ type: 'out' });
  leave();
  return true;
}
