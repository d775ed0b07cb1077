/** The part of the package that a block of the documents imports. The repository does not install it. */

declare module '@tanstack/react-query-persist-client' {
  import type { QueryClient } from '@tanstack/react-query';
  import type { ReactNode } from 'react';

  export type PersistQueryClientOptions = { persister: object };
  export function PersistQueryClientProvider(props: {
    client: QueryClient;
    persistOptions: { persister: object; buster?: string };
    children: ReactNode;
  }): ReactNode;
}
