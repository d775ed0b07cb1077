import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http';
import type { Logger } from 'pino';
import { errorTable, RunwireError } from '../../shared/errors.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Context } from '../api/context.ts';
import type { RouterOf } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { Limits } from '../limits.ts';
import type { Handler } from './dispatch.ts';
import type { RequestAuthenticator } from './identify.ts';
import { pathOf } from './messages.ts';

/** Serves the tRPC router at `/trpc/` over HTTP, with subscriptions as server-sent events. */

export type TrpcOptions<R extends Registry> = {
  router: RouterOf<R>;
  access: AccessLogger;
  authenticator: RequestAuthenticator;
  limits: Pick<Limits, 'messageBytes'>;
  logger: Logger;
};

export const TRPC_PATH = '/trpc/';
const MAX_BATCH_CALLS = 50;
/** Other methods are refused, because tRPC creates a `Request` object, which throws for a method such as TRACE. */
const METHODS = new Set(['GET', 'HEAD', 'POST']);

export function createTrpc<R extends Registry>(options: TrpcOptions<R>): Handler {
  const { router, access, authenticator, limits, logger } = options;
  return async (request, response) => {
    const path = (pathOf(request) ?? '').slice(TRPC_PATH.length);
    if (!isDecodable(path)) throw new RunwireError('NOT_FOUND', 'no such procedure');
    if (!METHODS.has(request.method ?? '')) {
      throw new RunwireError('INVALID_INPUT', 'the procedure requires another method');
    }
    await nodeHTTPRequestHandler({
      router,
      req: request,
      res: response,
      path,
      createContext: async ({ info }): Promise<Context> => {
        const via = info.type === 'subscription' ? 'sse' : 'http';
        try {
          return { principal: await authenticator.identify(request), via };
        } catch (error) {
          const known = toRunwireError(error);
          access.record({
            principal: authenticator.principalOf(request),
            action: 'connect',
            via,
            outcome: known.code,
          });
          throw toTRPCError(known); // tRPC answers 500 to an error that is not a TRPCError.
        }
      },
      maxBodySize: limits.messageBytes, // The same as for a WebSocket message. `/api/v1/events` accepts more.
      maxBatchSize: MAX_BATCH_CALLS,
      allowMethodOverride: true,
      // Sets the status of the error table. For requests that tRPC itself refuses, tRPC would set other statuses.
      responseMeta: ({ errors, info }) => {
        const statuses = new Set(errors.map((error) => errorTable[toRunwireError(error).code].http));
        const [status] = statuses;
        const isForAllCalls = statuses.size === 1 && errors.length === (info?.calls.length ?? 1);
        const headers = new Headers({ 'cache-control': 'no-store' }); // tRPC replaces this header for a stream.
        return isForAllCalls && status !== undefined ? { status, headers } : { headers };
      },
      onError: ({ error }) => {
        if (toRunwireError(error).code === 'INTERNAL') logger.error({ err: error.cause ?? error }, 'a request failed');
      },
    });
  };
}

/**
 * Whether tRPC can decode a path. If it cannot, tRPC answers 500. The function uses the decoded text, because a bundler
 * removes a call without an effect.
 */
function isDecodable(path: string): boolean {
  try {
    return typeof decodeURIComponent(path) === 'string';
  } catch {
    return false;
  }
}
