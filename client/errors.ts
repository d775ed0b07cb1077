import type { ErrorCode } from '../shared/errors.ts';

/** The code of the error table that an answer carries; undefined where no answer came. */
export function codeOf(error: object): ErrorCode | undefined {
  const { data } = error as { data?: { runwireCode?: ErrorCode } | null };
  return data?.runwireCode;
}
