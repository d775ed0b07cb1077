import { codeOf } from '../../client/errors.ts';
import { RunwireError } from '../../shared/errors.ts';

/** An error in the arguments of a command. The exit code is then 2. */
export class UsageError extends Error {}

/** Converts an error of a tRPC call. If the server did not answer, the code is `INTERNAL`. */
export function serverErrorOf(error: unknown): RunwireError {
  const { message } = error as Error;
  return new RunwireError(codeOf(error as Error) ?? 'INTERNAL', message);
}

/** Describes an error in one line: no stack, and the code for a `RunwireError`. */
export function describeError(error: unknown): string {
  if (error instanceof RunwireError) return `${error.code}: ${error.message}`;
  const message = error instanceof Error ? error.message : String(error);
  return (message.split('\n', 1)[0] as string) || 'failed';
}
