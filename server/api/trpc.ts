import { initTRPC } from '@trpc/server';
import type { Logger } from 'pino';
import { type ErrorCode, errorTable, RunwireError } from '../../shared/errors.ts';
import { SSE_INACTIVITY_MS, SSE_PING_MS } from '../../shared/protocol.ts';
import { type AccessLogger, aboutOf } from '../audit/access-logger.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { Context } from './context.ts';

/**
 * tRPC for this server: the error format, and the procedure that all others are built from. Each call passes these steps:
 *
 * 1. The rate limit and the token of its connection are checked.
 * 2. The procedure runs.
 * 3. Its outcome is written to the access log, and its error becomes one of the error table.
 */

export type ApiOptions = {
  access: AccessLogger;
  credentials: Credentials;
  /** Called with the code of each error that a procedure returns. */
  onRejected: (code: ErrorCode) => void;
  logger: Logger;
};

type Meta = {
  /**
   * What the access log holds of a procedure's calls. `input`: each call, with the ids of its input. `output`: each call,
   * with the ids of its result. `errors`: failed calls only, because the event log holds the others or they concern only
   * the caller. Default `input`.
   */
  accessLog?: 'input' | 'output' | 'errors';
};

export type Api = ReturnType<typeof createApi>;
export type Procedure = Api['procedure'];

export function createApi({ access, credentials, onRejected, logger }: ApiOptions) {
  /** Paths of procedures. Any other path in a call is the client's own text. */
  const paths = new Set<string>();
  const t = initTRPC
    .context<Context>()
    .meta<Meta>()
    .create({
      isDev: false,
      isServer: true,
      // Built from the error table alone: a parser's message quotes its input, and a stack shows the server's paths.
      errorFormatter: ({ shape, error }) => {
        const known = toRunwireError(error);
        return {
          code: shape.code,
          message: known.message,
          data: {
            code: shape.data.code,
            httpStatus: errorTable[known.code].http,
            runwireCode: known.code,
            ...(shape.data.path !== undefined && paths.has(shape.data.path) ? { path: shape.data.path } : {}),
            ...(known.path === undefined ? {} : { field: known.path }),
            ...(known.issues.length > 0 ? { issues: known.issues } : {}),
            ...(known.outcome === undefined ? {} : { outcome: known.outcome }),
          },
        };
      },
      sse: {
        ping: { enabled: true, intervalMs: SSE_PING_MS },
        client: { reconnectAfterInactivityMs: SSE_INACTIVITY_MS },
      },
    });

  const record = async (
    { principal, connection, via }: Context,
    action: string,
    readIds: () => Promise<unknown>,
    outcome: 'ok' | ErrorCode,
  ): Promise<void> => {
    const { projectId, runId, isResumed } = await readIds().then(aboutOf, () => aboutOf(undefined));
    const detail = isResumed ? 'resume' : undefined;
    access.record({ principal, action, via: connection ? 'ws' : (via ?? 'caller'), outcome, projectId, runId, detail });
  };

  const procedure = t.procedure.use(async ({ next, path, ctx, meta, getRawInput, signal, batchIndex }) => {
    // The connection has counted the message, and so its first request. Requests over the limit must not run.
    if (batchIndex > 0 && ctx.connection?.countMessage() === false) {
      throw toTRPCError(new RunwireError('RATE_LIMITED', 'too many messages'));
    }
    // Copied: `auth.refresh` replaces the principal of a connection, and the call belongs to the one that made it.
    const { principal, connection, via } = ctx;
    const caller = { principal, connection, via };
    // The close code must come first: an error would end a subscription for the client, which then never resumes it.
    connection?.closeIfTokenInvalid();
    const reason = credentials.invalidReasonOf(principal);
    if (reason) {
      onRejected('UNAUTHENTICATED');
      void record(caller, path, getRawInput, 'UNAUTHENTICATED');
      throw toTRPCError(tokenInvalidError(reason));
    }
    const result = await next();
    if (result.ok) {
      const accessLog = meta?.accessLog ?? 'input';
      if (accessLog !== 'errors') {
        void record(caller, path, accessLog === 'output' ? async () => result.data : getRawInput, 'ok');
      }
      return result;
    }
    // A client that closes its request aborts the work for it, which is no failure of the server.
    const isAborted = signal?.aborted && result.error.cause === signal.reason;
    const known = isAborted
      ? new RunwireError('INVALID_INPUT', 'the client closed the request')
      : toRunwireError(result.error);
    onRejected(known.code);
    void record(caller, path, getRawInput, known.code);
    if (known.code === 'INTERNAL') logger.error({ procedure: path, err: known.cause }, 'a procedure failed');
    throw toTRPCError(known);
  });

  return { t, procedure, paths };
}
