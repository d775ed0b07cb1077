import type { Registry as PrometheusRegistry } from 'prom-client';
import type { Registry } from '../../shared/registry.ts';
import type { Health } from '../health.ts';
import type { PublishGateway } from '../publishing/gateway.ts';
import type { Route } from './dispatch.ts';
import { createExport, type ExportOptions } from './export.ts';
import { noSuchPath, sendJson } from './messages.ts';
import { createOidcHandlers, type OidcRoutesOptions } from './oidc.ts';
import { createPublishEvents } from './publish-events.ts';
import { createSignIn, createSignOut, createTokenSignIn } from './sign-in.ts';
import { createTrpc, TRPC_PATH, type TrpcOptions } from './trpc.ts';
import { openApp } from './web-app.ts';

/** The route table. `run-server.ts` adds the routes of the producers (`producers/`) to it. */

export type RoutesOptions<R extends Registry> = TrpcOptions<R> &
  OidcRoutesOptions &
  ExportOptions<R> & {
    gateway: PublishGateway<R>;
    metrics: PrometheusRegistry;
    /** Its problems are in the answer of `/readyz`: fixed texts without ids and paths. */
    health: Pick<Health, 'problems'>;
    isReady: () => Promise<boolean>;
  };

export function createRoutes<R extends Registry>(options: RoutesOptions<R>): Route[] {
  const { gateway, metrics, health, isReady } = options;
  const read = ['GET', 'HEAD'];
  const oidc = createOidcHandlers(options);
  const provider = options.oidc?.provider;
  return [
    {
      methods: read,
      path: '/healthz',
      auth: 'none',
      handle: (_request, response) => sendJson(response, 200, { status: 'alive' }),
    },
    {
      methods: read,
      path: '/readyz',
      auth: 'none',
      handle: async (_request, response) => {
        if (await isReady()) return sendJson(response, 200, { status: 'ready' });
        const problems = Object.fromEntries(health.problems);
        if (!options.log.isCurrent) problems.log = 'this server has not reached the database for a second';
        const body = Object.keys(problems).length === 0 ? {} : { problems };
        sendJson(response, 503, { status: 'unavailable', ...body });
      },
    },
    {
      methods: read,
      path: '/metrics',
      auth: 'none',
      handle: async (_request, response) => {
        const text = await metrics.metrics();
        response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
      },
    },
    { methods: read, path: '/login', action: 'login', auth: 'link', handle: createSignIn(options) },
    { methods: ['GET'], path: '/auth/login', auth: 'none', handle: oidc.login },
    { methods: ['GET'], path: '/auth/callback', auth: 'none', handle: oidc.callback },
    { methods: ['POST'], path: '/auth/renew', auth: 'page', handle: oidc.renew },
    { methods: ['POST'], path: '/auth/token', action: 'login', auth: 'page', handle: createTokenSignIn(options) },
    { methods: ['POST'], path: '/auth/logout', auth: 'page', handle: createSignOut(options) },
    {
      methods: 'any',
      path: `${TRPC_PATH}*`,
      action: 'connect',
      auth: 'procedure',
      isAttachable: true,
      handle: createTrpc(options),
    },
    {
      methods: ['POST'],
      path: '/api/v1/events',
      action: 'event.publish',
      auth: 'token-or-cookie',
      isAttachable: true,
      handle: createPublishEvents(gateway),
    },
    {
      methods: ['GET'],
      path: '/api/v1/export',
      action: 'event.export',
      auth: 'token-or-cookie',
      isAttachable: true,
      handle: createExport(options),
    },
    {
      methods: 'any',
      path: '/api/v1/*',
      auth: 'none',
      isAttachable: true,
      handle: () => {
        throw noSuchPath();
      },
    },
    { methods: read, path: '/*', auth: 'none', handle: openApp(provider && (() => provider.pageOrigin)) },
  ];
}
