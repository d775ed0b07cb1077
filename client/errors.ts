import type { ErrorCode } from '../shared/errors.ts';

/** Returns the code that the server put into a tRPC error; undefined if the error did not come from the server. */
export function codeOf(error: object): ErrorCode | undefined {
  const { data } = error as { data?: { runwireCode?: ErrorCode } | null };
  return data?.runwireCode;
}
