import { TRPCError } from '@trpc/server';
import { ZodError } from 'zod';
import { trpcCodes } from '../shared/error-table.ts';
import { type ErrorCode, errorCodes, RunwireError } from '../shared/errors.ts';
import { describeIssue } from '../shared/issues.ts';

/** Converts errors of tRPC and zod to `RunwireError` (`shared/errors.ts`), and `RunwireError` to errors of tRPC. */

/** Converts to a tRPC error. The error table has the HTTP status for each code. */
export const toTRPCError = (error: RunwireError): TRPCError =>
  new TRPCError({ code: trpcCodes[errorCodes[error.code]], message: error.message, cause: error });

/** Codes and messages for errors that tRPC itself throws: tRPC's own messages may quote the client's input. */
const byTRPCCode: Partial<Record<TRPCError['code'], [ErrorCode, string]>> = {
  NOT_FOUND: ['NOT_FOUND', 'no such procedure'],
  PARSE_ERROR: ['INVALID_INPUT', 'the message is not well-formed'],
  BAD_REQUEST: ['INVALID_INPUT', 'the request is not well-formed'],
  METHOD_NOT_SUPPORTED: ['INVALID_INPUT', 'the procedure requires another method'],
  UNSUPPORTED_MEDIA_TYPE: ['INVALID_INPUT', 'the media type is not supported'],
  UNPROCESSABLE_CONTENT: ['INVALID_INPUT', 'the message has an unexpected structure'],
  PAYLOAD_TOO_LARGE: ['TOO_LARGE', 'the request is too large'],
  UNAUTHORIZED: ['UNAUTHENTICATED', 'the token is missing, malformed, forged or expired'],
  CLIENT_CLOSED_REQUEST: ['INVALID_INPUT', 'the client closed the request'],
};

/** Converts any error to a `RunwireError` without values of the input. An unknown error becomes `INTERNAL`. */
export function toRunwireError(error: unknown): RunwireError {
  if (error instanceof RunwireError) return error;
  if (error instanceof TRPCError) {
    if (error.cause instanceof RunwireError) return error.cause;
    if (error.cause instanceof ZodError) return inputError(error.cause);
    const [code, message] = byTRPCCode[error.code] ?? [];
    if (code && message) return new RunwireError(code, message);
  }
  if (error instanceof ZodError) return inputError(error);
  return new RunwireError('INTERNAL', 'an internal error', { cause: error });
}

function inputError(error: ZodError): RunwireError {
  const [issue] = error.issues;
  const { path, message } = issue ? describeIssue(issue) : { path: '', message: 'invalid' };
  return new RunwireError('INVALID_INPUT', path ? `${path}: ${message}` : message, path ? { path } : {});
}
