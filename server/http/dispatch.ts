import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type ErrorCode, RunwireError } from '../../shared/errors.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import type { Principal } from '../auth/principal.ts';
import { toRunwireError } from '../errors.ts';
import type { Log } from '../event-log/contract/log.ts';
import { requireCurrent } from '../event-log/current.ts';
import type { Health } from '../health.ts';
import type { Limits } from '../limits.ts';
import type { Turns } from '../slices.ts';
import { admitOrigin, type RequestAuthenticator } from './identify.ts';
import type { InFlight } from './in-flight.ts';
import {
  closeWhenStalled,
  discardRest,
  noSuchPath,
  pathOf,
  secureByDefault,
  sendError,
  whenClosed,
} from './messages.ts';
import type { Origins } from './origins.ts';
import { RequestBody } from './request-body.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
export type PrincipalHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  principal: Principal,
  body: RequestBody,
) => void | Promise<void>;

/**
 * One row of the route table. `auth` names the credentials that a request needs:
 *
 * - `none`: no credentials. The response contains nothing from the log.
 * - `link`: a token in the query of the URL. The handler checks the token.
 * - `page`: no credentials. Changes only the cookies of the browser.
 * - `token-or-cookie`: a bearer token, or the web app's cookie if an allowed page sent the request. The dispatcher
 *   checks it.
 * - `procedure`: the same as `token-or-cookie`, but the tRPC handler checks it, because tRPC has its own error format.
 *
 * For the last three, the dispatcher also refuses requests from pages of other origins, and answers CORS preflights of
 * allowed origins.
 */
export type Route = {
  methods: readonly string[] | 'any';
  /** An exact path, or a prefix followed by `*`. An exact path wins over prefixes, and the longest prefix wins. */
  path: string;
  /** The action that the access log records when a request is refused. Without it, refusals are not recorded. */
  action?: string;
  /** Whether the route is also served on a server that was passed to `attach()`. Default false. */
  isAttachable?: boolean;
} & (
  | { auth: 'none' | 'link' | 'page' | 'procedure'; handle: Handler }
  | { auth: 'token-or-cookie'; handle: PrincipalHandler }
);

export type DispatcherOptions = {
  log: Pick<Log, 'isCurrent'>;
  routes: readonly Route[];
  origins: Origins;
  authenticator: RequestAuthenticator;
  access: AccessLogger;
  inFlight: InFlight;
  turns: Turns;
  limits: Pick<Limits, 'stalledMs'>;
  /** Called with the code of each error response. A client that has left gets none. */
  onRejected: (code: ErrorCode) => void;
  health: Pick<Health, 'note'>;
};

export type Dispatcher = {
  /** Answers every request. */
  all: (request: IncomingMessage, response: ServerResponse) => void;
  /** Answers a request to an attachable route. For any other path it returns false and does nothing. */
  attachable: (request: IncomingMessage, response: ServerResponse) => boolean;
};

/**
 * Requests of one connection that may wait for a turn of the event loop. A client that sends more requests without waiting for
 * an answer (HTTP pipelining) is disconnected: one read of its socket brings thousands of them, and each costs some KB of memory.
 */
const MAX_WAITING = 100;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { log, routes, origins, authenticator, access, inFlight, turns, limits, onRejected, health } = options;
  const isPrefix = ({ path }: Route) => path.endsWith('*');
  const exact = new Map(routes.filter((route) => !isPrefix(route)).map((route) => [route.path, route]));
  const prefixes = routes
    .filter(isPrefix)
    .map((route) => ({ prefix: route.path.slice(0, -1), route }))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  const routeOf = (request: IncomingMessage): Route | undefined => {
    const path = pathOf(request) ?? '';
    return exact.get(path) ?? prefixes.find(({ prefix }) => path.startsWith(prefix))?.route;
  };

  /** Requests that wait for a turn, by connection. */
  const waiting = new WeakMap<Socket, number>();
  /** Returns a promise to wait for before a request begins, or undefined. Closes the connection if too many wait. */
  const turnOf = ({ socket }: IncomingMessage): Promise<void> | undefined => {
    const count = waiting.get(socket) ?? 0;
    if (count === MAX_WAITING) socket.destroy();
    const turn = socket.destroyed ? undefined : turns.next();
    if (turn) waiting.set(socket, count + 1);
    return turn?.then(() => void waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
  };

  const serve = async (route: Route | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    // One turn of the loop may bring thousands of requests, and a token or a tRPC call costs much more than its request.
    const turn = turnOf(request);
    if (turn) await turn;
    if (request.socket.destroyed || response.destroyed) return;
    if (!origins.knowsHost(request)) {
      throw new RunwireError('FORBIDDEN', 'the Host is not a name of this server: add its origin to ALLOWED_ORIGINS');
    }
    if (route === undefined) throw noSuchPath();
    const isForPages = route.auth !== 'none' && route.auth !== 'link';
    if (isForPages && admitOrigin(origins, request, response) === 'answered') return;
    if (route.methods !== 'any' && !route.methods.includes(request.method ?? '')) throw noSuchPath();
    if (route.auth === 'token-or-cookie') {
      requireCurrent(log);
      const principal = await authenticator.identify(request);
      const held = inFlight.hold(principal.sub);
      try {
        await route.handle(request, response, principal, new RequestBody(request, held, turns));
      } finally {
        whenClosed(response, held.release);
      }
    } else await route.handle(request, response);
  };

  const refuse = async (
    route: Route | undefined,
    request: IncomingMessage,
    response: ServerResponse,
    error: unknown,
  ) => {
    const known = toRunwireError(error);
    if (!response.destroyed) onRejected(known.code);
    if (route?.action !== undefined) {
      const principal = authenticator.principalOf(request);
      // `FORBIDDEN` without a principal means that the host or the origin was refused, before authentication.
      const detail = known.code === 'FORBIDDEN' && !principal ? 'origin' : undefined;
      access.record({ principal, action: route.action, via: 'http', outcome: known.code, detail });
    }
    if (known.code === 'INTERNAL') health.note('a request failed', { err: error });
    await discardRest(request, response);
    sendError(response, known);
  };

  const run = (route: Route | undefined, request: IncomingMessage, response: ServerResponse): void => {
    secureByDefault(response);
    closeWhenStalled(response, limits.stalledMs);
    serve(route, request, response).catch((error: unknown) => refuse(route, request, response, error));
  };

  return {
    all: (request, response) => run(routeOf(request), request, response),
    attachable: (request, response) => {
      const route = routeOf(request);
      if (!route?.isAttachable) return false;
      run(route, request, response);
      return true;
    },
  };
}
