import { errorTable, runwireErrorOf } from '../../hooks/index.ts';

export const codeOf = (error: unknown) => (error ? runwireErrorOf(error).code : undefined);

/** True if the same request may succeed later, without an action of the user. */
export const isRetryable = (error: unknown): boolean => errorTable[runwireErrorOf(error).code].retryable;

export const isSignedOut = (error: unknown): boolean => codeOf(error) === 'UNAUTHENTICATED';
