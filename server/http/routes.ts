import type { IncomingMessage, ServerResponse } from 'node:http';
import { nodeHTTPRequestHandler } from '@trpc/server/adapters/node-http';
import type { Logger } from 'pino';
import { errorTable, RunwireError } from '../../shared/errors.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Context } from '../api/context.ts';
import type { RouterOf } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { type Credentials, tokenInvalidError } from '../auth/credentials.ts';
import type { Principal } from '../auth/principal.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { EventLog } from '../event-log/contract/store.ts';
import type { Limits } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import type { Privacy } from '../phi/identifiers.ts';
import { createLineage } from '../producers/openlineage/route.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import { createExport } from './export.ts';
import {
  bearerOf,
  cookieOf,
  discardRest,
  notFound,
  pathOf,
  queryOf,
  type Route,
  secureByDefault,
  sendError,
  sendJson,
} from './messages.ts';
import { isHttps, type Origins } from './origins.ts';
import { ingest } from './publish-events.ts';
import { BATCH_LIMIT, isDecodable, TRPC_METHODS } from './trpc.ts';
import { asksForPage, openApp } from './web-app.ts';

/** The HTTP face: the contract's section 4. */

export type RoutesOptions<R extends Registry> = {
  registry: R;
  router: RouterOf<R>;
  log: EventLog;
  access: AccessLogger;
  publishing: PublishGateway<R>;
  privacy: Privacy;
  credentials: Credentials;
  origins: Origins;
  cookieName: string;
  limits: Limits;
  metrics: Metrics;
  logger: Logger;
  isReady: () => Promise<boolean>;
};

export function createRoutes<R extends Registry>(options: RoutesOptions<R>) {
  const { router, access, publishing, privacy, credentials, origins, cookieName, limits, metrics, logger, isReady } =
    options;
  const app = openApp();
  /** Who asked, once that is known: for the record of what was refused. */
  const identified = new WeakMap<IncomingMessage, Principal>();

  /** Bearer, or the web app's cookie where the browser says that one of our own pages asks. */
  const identify = async (request: IncomingMessage): Promise<Principal> => {
    const bearer = bearerOf(request);
    const cookie = bearer === undefined && isOwnPage(request) ? cookieOf(request, cookieName) : undefined;
    const token = bearer ?? cookie;
    if (token === undefined) throw new RunwireError('UNAUTHENTICATED', 'a bearer token is needed');
    const principal = await credentials.verify(token);
    identified.set(request, principal);
    const reason = credentials.invalidReasonOf(principal);
    if (reason) throw tokenInvalidError(reason);
    return principal;
  };
  const isOwnPage = (request: IncomingMessage): boolean =>
    request.headers.origin === undefined
      ? request.headers['sec-fetch-site'] === 'same-origin' // Browsers send no Origin with a GET to their own.
      : origins.allows(request);

  /** Lets pages of allowed origins in, and no other; answers their preflights. */
  const crossOrigin =
    (route: Route): Route =>
    (request, response) => {
      const { origin } = request.headers;
      if (!origins.allows(request)) throw new RunwireError('FORBIDDEN', 'the origin is not allowed');
      if (origin !== undefined) {
        response.setHeader('access-control-allow-origin', origin);
        response.setHeader('access-control-allow-credentials', 'true');
        response.setHeader('vary', 'origin');
      }
      if (request.method !== 'OPTIONS') return route(request, response);
      response.writeHead(204, {
        'access-control-allow-methods': 'GET, POST',
        'access-control-allow-headers': 'authorization, content-encoding, content-type, last-event-id, trpc-accept',
        'access-control-max-age': '600',
      });
      response.end();
    };

  const trpc = crossOrigin(async (request, response) => {
    const path = (pathOf(request) ?? '').slice('/trpc/'.length);
    if (!isDecodable(path)) throw new RunwireError('NOT_FOUND', 'no such procedure');
    // Of TRACE and the like no Request can be made, which would be our failure.
    if (!TRPC_METHODS.has(request.method ?? '')) {
      throw new RunwireError('INVALID_INPUT', 'the procedure takes another method');
    }
    await nodeHTTPRequestHandler({
      router,
      req: request,
      res: response,
      path,
      createContext: async ({ info }): Promise<Context> => {
        const via = info.type === 'subscription' ? 'sse' : 'http';
        try {
          return { principal: await identify(request), via };
        } catch (error) {
          const known = toRunwireError(error);
          access.record({ principal: identified.get(request), action: 'connect', via, outcome: known.code });
          throw toTRPCError(known); // Thrown as it is, it would be answered with 500.
        }
      },
      maxBodySize: limits.messageBytes, // As on the WebSocket: what publishes in bulk has `/api/v1/events`.
      maxBatchSize: BATCH_LIMIT,
      allowMethodOverride: true,
      // tRPC has statuses for its own refusals; the table has one for each code.
      responseMeta: ({ errors, info }) => {
        const statuses = new Set(errors.map((error) => errorTable[toRunwireError(error).code].http));
        const [status] = statuses;
        const isOfAll = statuses.size === 1 && errors.length === (info?.calls.length ?? 1);
        const headers = new Headers({ 'cache-control': 'no-store' }); // Streams have another of tRPC's own.
        return isOfAll && status !== undefined ? { status, headers } : { headers };
      },
      onError: ({ error }) => {
        if (toRunwireError(error).code === 'INTERNAL') logger.error({ err: error.cause ?? error }, 'a request failed');
      },
    });
  });

  const published = (
    take: (principal: Principal, request: IncomingMessage, response: ServerResponse) => Promise<void>,
  ): Route =>
    crossOrigin(async (request, response) => {
      if (request.method !== 'POST') throw new RunwireError('NOT_FOUND', 'events are published with POST');
      await take(await identify(request), request, response);
    });
  const events = published((principal, request, response) => ingest(publishing, principal, request, response));
  const lineage = createLineage(publishing, privacy, logger);
  const write = createExport(options);
  const exported = crossOrigin(async (request, response) => {
    if (request.method !== 'GET') throw new RunwireError('NOT_FOUND', 'events are exported with GET');
    await write(await identify(request), request, response);
  });
  const lineageSingle = published(lineage.single);
  const lineageBatch = published(lineage.batch);

  /** The printed link: trades the token in its address for a cookie, and the address for a clean one. */
  const login: Route = async (request, response) => {
    const token = queryOf(request).get('token') ?? '';
    const found = await credentials.identify(token).catch((error: unknown) => {
      if (!asksForPage(request)) throw error;
      access.record({ principal: undefined, action: 'login', via: 'http', outcome: toRunwireError(error).code });
    });
    if (!found) {
      // An old link, opened by a person: the app says what to do.
      response.writeHead(303, { location: '/' }).end();
      return;
    }
    access.record({ principal: found, action: 'login', via: 'http', outcome: 'ok' });
    const { expiresAtMs } = found;
    const maxAge = expiresAtMs === undefined ? '' : `; Max-Age=${Math.floor((expiresAtMs - Date.now()) / 1000)}`;
    response.writeHead(303, {
      location: '/',
      'set-cookie': `${cookieName}=${token}; Path=/; HttpOnly; SameSite=Strict${maxAge}${isHttps(request) ? '; Secure' : ''}`,
    });
    response.end();
  };

  const ready: Route = async (_request, response) => {
    const is = await isReady();
    sendJson(response, is ? 200 : 503, { status: is ? 'ready' : 'unavailable' });
  };

  const scrape: Route = async (_request, response) => {
    const text = await metrics.registry.metrics();
    response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(text);
  };

  /** The routes that also serve a server that we are attached to. */
  const ownRoute = (path: string): Route | undefined => {
    if (path.startsWith('/trpc/')) return trpc;
    if (path === '/api/v1/events') return events;
    if (path === '/api/v1/export') return exported;
    if (path === '/api/v1/lineage') return lineageSingle;
    if (path === '/api/v1/lineage/batch') return lineageBatch;
    return path.startsWith('/api/v1/') ? notFound : undefined;
  };
  const anyRoute = (path: string, method = ''): Route => {
    if (method !== 'GET' && method !== 'HEAD') return ownRoute(path) ?? notFound;
    switch (path) {
      case '/healthz':
        return (_request, response) => sendJson(response, 200, { status: 'alive' });
      case '/readyz':
        return ready;
      case '/metrics':
        return scrape;
      case '/login':
        return login;
      default:
        return ownRoute(path) ?? app;
    }
  };

  const run = (route: Route, request: IncomingMessage, response: ServerResponse): void => {
    secureByDefault(response);
    Promise.resolve()
      .then(() => {
        if (!origins.knowsHost(request)) {
          throw new RunwireError('FORBIDDEN', 'not addressed to this server: ALLOWED_ORIGINS does not have the Host');
        }
        return route(request, response);
      })
      .catch(async (error: unknown) => {
        const known = toRunwireError(error);
        metrics.rejected(known.code);
        const action = actionOf(pathOf(request) ?? '');
        if (action !== undefined) {
          const principal = identified.get(request);
          // Before anybody is identified, it is the origin that is not allowed.
          const detail = known.code === 'FORBIDDEN' && !principal ? 'origin' : undefined;
          access.record({ principal, action, via: 'http', outcome: known.code, detail });
        }
        if (known.code === 'INTERNAL') logger.error({ err: error }, 'a request failed');
        await discardRest(request);
        if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
        sendError(response, known);
      });
  };

  return {
    /** Answers every path. */
    all: (request: IncomingMessage, response: ServerResponse): void =>
      run(anyRoute(pathOf(request) ?? '', request.method), request, response),
    /** Answers `/trpc` and `/api/v1`; false for any other path. */
    own: (request: IncomingMessage, response: ServerResponse): boolean => {
      const route = ownRoute(pathOf(request) ?? '');
      if (route) run(route, request, response);
      return route !== undefined;
    },
  };
}

/** By what name a path is on record when it is refused. */
function actionOf(path: string): string | undefined {
  if (path.startsWith('/trpc/')) return 'connect';
  return actions[path];
}

const actions: Record<string, string> = {
  '/api/v1/events': 'event.publish',
  '/api/v1/export': 'event.export',
  '/api/v1/lineage': 'lineage',
  '/api/v1/lineage/batch': 'lineage',
  '/login': 'login',
};
