type Shaped = { code?: unknown; data?: { runwireCode?: string } | null };

/** The code of the error table, whether the server answered with it or the connection was refused for it. */
export function codeOf(error: unknown): string | undefined {
  const { code, data } = (error ?? {}) as Shaped;
  return data?.runwireCode ?? (typeof code === 'string' ? code : undefined);
}

/** Whether the server has answered, so that asking the same again is of no use. */
export const isAnswer = (error: unknown): boolean => (error as Shaped | null)?.data?.runwireCode !== undefined;

/** Whether it may be different in a while without anybody doing anything. */
export const isRetryable = (error: unknown): boolean => !isAnswer(error) || codeOf(error) === 'UNAVAILABLE';

export const isSignedOut = (error: unknown): boolean => codeOf(error) === 'UNAUTHENTICATED';
