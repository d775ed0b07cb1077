import type { ErrorCode } from '../shared/errors.ts';

/** Returns the error code in a tRPC answer of the server; undefined when the server did not answer. */
export function codeOf(error: object): ErrorCode | undefined {
  const { data } = error as { data?: { runwireCode?: ErrorCode } | null };
  return data?.runwireCode;
}
