/** What the commands share: which server, whose token, and what is wrong usage. */

import { RunwireError } from '../../shared/errors.ts';

/** Wrong usage: exit code 2. */
export class UsageError extends Error {}

/** What the server has answered; `INTERNAL` where it has not. */
export function refusalOf(error: unknown): RunwireError {
  const { message, data } = error as { message: string; data?: { runwireCode?: RunwireError['code'] } | null };
  return new RunwireError(data?.runwireCode ?? 'INTERNAL', message);
}

/** An error in one line, without a stack; those of the table with their code. */
export function describeError(error: unknown): string {
  if (error instanceof RunwireError) return `${error.code}: ${error.message}`;
  const message = error instanceof Error ? error.message : String(error);
  return (message.split('\n', 1)[0] as string) || 'failed';
}
