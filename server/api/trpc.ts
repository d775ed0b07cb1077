import { initTRPC } from '@trpc/server';
import { type ErrorCode, errorCodes, RunwireError } from '../../shared/errors.ts';
import { SSE_INACTIVITY_MS, SSE_PING_MS } from '../../shared/protocol.ts';
import { type AccessLogger, aboutOf } from '../audit/access-logger.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { Log } from '../event-log/contract/log.ts';
import { notCurrentError } from '../event-log/current.ts';
import type { Health } from '../health.ts';
import { Slices } from '../slices.ts';
import { UserCalls } from '../user-calls.ts';
import type { Context } from './context.ts';

/**
 * Sets up tRPC: the error format, and the base procedure that all procedures extend. Each call passes these steps:
 *
 * 1. A query or mutation waits for its turn among those of its user, until its socket has drained, and for a slice of the
 *    event loop.
 * 2. The token is checked, and that the server reaches its log. The procedure runs, and a query again if an event was erased
 *    meanwhile.
 * 3. The outcome of the call is written to the access log. An error is converted to one of the error table.
 */

export type ApiOptions = {
  log: Pick<Log, 'isCurrent' | 'erasures'>;
  access: AccessLogger;
  credentials: Credentials;
  /** Called with the code of each error that a procedure returns to a client that waits for it. */
  onRejected: (code: ErrorCode) => void;
  health: Pick<Health, 'note'>;
};

type Meta = {
  /**
   * Which calls of the procedure the access log records, and where it finds the ids of the project and the run:
   *
   * - `input`: every call, with the ids in its input. The default.
   * - `output`: every call, with the ids in its result.
   * - `errors`: failed calls only, because the event log has the successful ones, or because they concern only the
   *   caller.
   */
  accessLog?: 'input' | 'output' | 'errors';
};

export type Api = ReturnType<typeof createApi>;
export type Procedure = Api['procedure'];

export function createApi({ log, access, credentials, onRejected, health }: ApiOptions) {
  /** Paths of all procedures. Any other path in a call is text from the client, and is not sent back. */
  const paths = new Set<string>();
  const t = initTRPC
    .context<Context>()
    .meta<Meta>()
    .create({
      isDev: false,
      isServer: true,
      // tRPC's own message and stack are not sent: a parser's message quotes its input, and a stack shows file paths.
      errorFormatter: ({ shape, error }) => {
        const known = toRunwireError(error);
        return {
          code: shape.code,
          message: known.message,
          data: {
            code: shape.data.code,
            httpStatus: errorCodes[known.code],
            runwireCode: known.code,
            ...(shape.data.path !== undefined && paths.has(shape.data.path) ? { path: shape.data.path } : {}),
            ...(known.path === undefined ? {} : { field: known.path }),
            ...(known.issues.length > 0 ? { issues: known.issues } : {}),
            ...(known.outcome === undefined ? {} : { outcome: known.outcome }),
            ...(known.changes.length > 0 ? { changes: known.changes } : {}),
          },
        };
      },
      sse: {
        ping: { enabled: true, intervalMs: SSE_PING_MS },
        client: { reconnectAfterInactivityMs: SSE_INACTIVITY_MS },
      },
    });

  const calls = new UserCalls();
  const slices = new Slices();

  /** Waits until a call may run. Resolves with a function that must be called after it. */
  const begin = async ({ principal, connection }: Context, signal: AbortSignal | undefined): Promise<() => void> => {
    const end = await calls.begin(principal.sub, signal);
    try {
      await connection?.drained();
      // A call may be answered at once: the calls of a batch would be answered in one turn of the loop.
      await slices.run(() => undefined, { user: principal.sub, signal });
    } catch (error) {
      end();
      throw error;
    }
    if (!connection) return end;
    // The handler sends the answer after this turn. The call counts until the client has read it. A socket that has closed
    // does not drain.
    const endWhenRead = () => (signal?.aborted ? end() : void connection.drained().then(end));
    return () => void setImmediate(endWhenRead);
  };

  const procedure = t.procedure.use(async ({ next, path, ctx, type, meta, getRawInput, ...call }) => {
    const isCounted = type !== 'subscription' && (ctx.connection ?? ctx.via) !== undefined;
    // A WebSocket has one signal for all its calls. Its subscriptions have none: they end by `return`.
    const signal = type === 'subscription' ? call.signal : (ctx.signal ?? call.signal);
    const recordInput = (caller: Context, outcome: 'ok' | ErrorCode) =>
      void getRawInput().then(
        (input) => record(access, caller, path, outcome, input),
        () => record(access, caller, path, outcome, undefined),
      );
    const refusal = (caller: Context, error: unknown) => {
      // True if the client closed its request or its socket: this is not a failure of the server.
      const isAborted = signal?.aborted && [error, (error as Error).cause].includes(signal.reason);
      const known = isAborted
        ? new RunwireError('INVALID_INPUT', 'the client closed the request')
        : toRunwireError(error);
      // A client that has left gets no answer. The access record still has its call.
      if (!signal?.aborted) onRejected(known.code);
      recordInput(caller, known.code);
      if (known.code === 'INTERNAL') health.note('a procedure failed', { procedure: path, err: known.cause });
      return toTRPCError(known);
    };
    const end = isCounted
      ? await begin(ctx, signal).catch((error: unknown) => {
          throw refusal(ctx, error);
        })
      : undefined;
    // Copied before the call runs, because `auth.refresh` replaces the principal of the connection. The access log must
    // name the principal that made the call.
    const { principal, connection, via } = ctx;
    const caller = { principal, connection, via, signal };
    // Closes the connection first: after an error, the client would end the subscription and never resume it.
    connection?.closeIfTokenInvalid();
    const reason = credentials.invalidReasonOf(principal);
    // A subscription stays open: its reader waits (delivery/delivery.ts).
    const isStale = type !== 'subscription' && !log.isCurrent;
    if (reason || isStale) {
      end?.();
      throw refusal(caller, reason ? tokenInvalidError(reason) : notCurrentError());
    }
    const run = () => next({ ctx: caller });
    const result = await (type === 'query' ? unerased(log, run) : run());
    end?.();
    if (!result.ok) throw refusal(caller, result.error);
    // A process that was stopped meanwhile: the others have not waited for it to apply an erasure.
    if (type === 'query' && !log.isCurrent) throw refusal(caller, notCurrentError());
    const accessLog = meta?.accessLog ?? 'input';
    if (accessLog !== 'errors') {
      if (accessLog === 'output') record(access, caller, path, 'ok', result.data);
      else recordInput(caller, 'ok');
    }
    return result;
  });

  return { t, procedure, paths };
}

/** Records a call. `named` has the ids of the project and the run. */
function record(
  access: AccessLogger,
  { principal, connection, via }: Context,
  action: string,
  outcome: 'ok' | ErrorCode,
  named: unknown,
): void {
  const { projectId, runId, isResumed } = aboutOf(named);
  const detail = isResumed ? 'resume' : undefined;
  access.record({ principal, action, via: connection ? 'ws' : (via ?? 'caller'), outcome, projectId, runId, detail });
}

/** Runs a query, and again if an event was erased meanwhile: what it has read before may have the erased text. */
async function unerased<Result extends { ok: boolean }>(
  log: Pick<Log, 'isCurrent' | 'erasures'>,
  run: () => Promise<Result>,
): Promise<Result> {
  for (;;) {
    const { erasures } = log;
    const result = await run();
    if (!result.ok || !log.isCurrent || log.erasures === erasures) return result;
  }
}
