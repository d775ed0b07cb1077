import type { QueryClient } from '@tanstack/react-query';
import { createContext, type ReactNode, use, useMemo, useState } from 'react';
import { RunwireProvider } from '../../hooks/index.ts';
import { forgetTyped } from './channel.ts';

/** The user of the app. The browser's cookie says who that is; the server states it in `auth.me`. */
export type Account = {
  /** True after a sign-out: there is no user, and nothing of the former one is in memory. */
  isOut: boolean;
  /** Throws away the data of the present user, typed texts included, and begins with another one. */
  switchTo(sub: string): void;
  /** Throws away the data of the present user, typed texts included. */
  leave(): void;
};

const AccountContext = createContext<Account | null>(null);
export const useAccount = (): Account => use(AccountContext) as Account;

/** Provides the connection of the present user. Another identity is another connection, with an empty cache (rule H31). */
export function SessionProvider(props: { url?: string | undefined; queryClient: QueryClient; children: ReactNode }) {
  const { children, ...rest } = props;
  // The user of the page as it was loaded has no name here: the page does not wait for it.
  const [{ identity, isOut }, set] = useState<{ identity?: string; isOut: boolean }>({ isOut: false });
  const account = useMemo(() => {
    const turnTo = (identity: string, isOut: boolean) => {
      forgetTyped();
      set({ identity, isOut });
    };
    return {
      isOut,
      switchTo: (sub: string) => turnTo(sub, false),
      leave: () => turnTo(`out ${Math.random()}`, true),
    };
  }, [isOut]);
  return (
    <AccountContext value={account}>
      {/* Attempts to reconnect have no limit: a display on a wall has no user to press "Try again". */}
      <RunwireProvider identity={identity} maxReconnectAttempts={Number.POSITIVE_INFINITY} {...rest}>
        {children}
      </RunwireProvider>
    </AccountContext>
  );
}
