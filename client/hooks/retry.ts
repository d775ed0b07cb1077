import type { QueryClient } from '@tanstack/react-query';
import { errorTable } from '../../shared/errors.ts';
import { runwireErrorOf } from '../errors.ts';

/**
 * Returns the option `retry` of React Query: the application's own, but without retries of a refusal, which would be the
 * same at each attempt.
 */
export function retryOf(queries: QueryClient): (failures: number, error: Error) => boolean {
  const { retry = 3 } = queries.getDefaultOptions().queries ?? {};
  return (failures, error) => {
    if (!errorTable[runwireErrorOf(error).code].retryable) return false;
    if (typeof retry === 'function') return retry(failures, error);
    return typeof retry === 'number' ? failures < retry : retry;
  };
}
