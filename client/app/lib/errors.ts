/** The code of an error (see `shared/errors.ts`), and whether the server sent the error as an answer. */
type Reading = { code: string | undefined; isAnswer: boolean };

/** An answer of the server has its code in `data.runwireCode`. An error of the connection has its code in `code`. */
function read(error: unknown): Reading {
  const { code, data } = (error ?? {}) as { code?: unknown; data?: { runwireCode?: string } | null };
  const answered = data?.runwireCode;
  return { code: answered ?? (typeof code === 'string' ? code : undefined), isAnswer: answered !== undefined };
}

export const codeOf = (error: unknown): string | undefined => read(error).code;

/** True if the error is an answer of the server. The same request would get the same answer. */
export const isAnswer = (error: unknown): boolean => read(error).isAnswer;

/** True if a later attempt can succeed without an action of the user. */
export const isRetryable = (error: unknown): boolean => !isAnswer(error) || codeOf(error) === 'UNAVAILABLE';

export const isSignedOut = (error: unknown): boolean => codeOf(error) === 'UNAUTHENTICATED';
