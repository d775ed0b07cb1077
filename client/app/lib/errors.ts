import { runwireErrorOf } from '../../hooks/index.ts';

export const codeOf = (error: unknown) => (error ? runwireErrorOf(error).code : undefined);

/** True if the same request may succeed later, without an action of the user. */
export const isRetryable = (error: unknown): boolean => runwireErrorOf(error).isRetryable;

export const isSignedOut = (error: unknown): boolean => codeOf(error) === 'UNAUTHENTICATED';
