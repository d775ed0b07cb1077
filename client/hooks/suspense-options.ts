import { isRetryable, retryOptions } from '../feeds/subscription.ts';

const MAX_RETRIES = 3;

/** Options of React Query for the fetch of a suspense hook. Later changes of the cache entry come from the live hook. */
export const suspenseOptions = {
  ...retryOptions,
  retry: (count: number, error: Error) => count < MAX_RETRIES && isRetryable(error),
  staleTime: Number.POSITIVE_INFINITY,
  refetchOnWindowFocus: false,
  refetchOnReconnect: false,
  structuralSharing: false,
  notifyOnChangeProps: [] as [],
};
