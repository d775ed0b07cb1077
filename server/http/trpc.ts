import type { IncomingMessage, ServerResponse } from 'node:http';
import { incomingMessageToRequest } from '@trpc/server/adapters/node-http';
import { resolveResponse, type TRPCRequestInfo } from '@trpc/server/http';
import { errorCodes, RunwireError } from '../../shared/errors.ts';
import { TIME_HEADER } from '../../shared/protocol.ts';
import type { Registry } from '../../shared/registry.ts';
import type { Context } from '../api/context.ts';
import type { BuiltRouter } from '../api/router.ts';
import type { AccessLogger } from '../audit/access-logger.ts';
import { toRunwireError, toTRPCError } from '../errors.ts';
import type { Health } from '../health.ts';
import type { Limits } from '../limits.ts';
import type { Turns } from '../slices.ts';
import type { Handler } from './dispatch.ts';
import type { RequestAuthenticator } from './identify.ts';
import type { Held, InFlight } from './in-flight.ts';
import { discardRest, drained, isTemporary, pathOf, RETRY_AFTER_SECONDS, whenClosed } from './messages.ts';
import { RequestBody } from './request-body.ts';

/**
 * Serves the tRPC router at `/trpc/` over HTTP, with subscriptions as server-sent events. Not through tRPC's own handler
 * for Node: that one parses a body in one piece, and ignores how much its clients leave unread.
 */

export type TrpcOptions<R extends Registry> = {
  router: BuiltRouter<R>;
  access: AccessLogger;
  authenticator: RequestAuthenticator;
  inFlight: InFlight;
  turns: Turns;
  limits: Pick<Limits, 'messageBytes'>;
  health: Pick<Health, 'note'>;
};

export const TRPC_PATH = '/trpc/';
/** The only procedure that a caller without a token may call. */
const PUBLIC_PROCEDURE = 'auth.modes';
const asNobody: Context = { principal: { sub: '', projects: [], roles: [] }, via: 'http' };
const isPublic = ({ calls }: TRPCRequestInfo) =>
  calls.length > 0 && calls.every(({ path }) => path === PUBLIC_PROCEDURE);
const MAX_BATCH_CALLS = 50;
const OPEN_ARRAY = 0x5b;
/** Other methods are refused, because tRPC creates a `Request` object, which throws for a method such as TRACE. */
const METHODS = new Set(['GET', 'HEAD', 'POST']);

export function createTrpc<R extends Registry>(options: TrpcOptions<R>): Handler {
  const { router, access, authenticator, inFlight, turns, limits, health } = options;
  return async (request, response) => {
    response.setHeader(TIME_HEADER, Date.now());
    const path = (pathOf(request) ?? '').slice(TRPC_PATH.length);
    if (!isDecodable(path)) throw new RunwireError('NOT_FOUND', 'no such procedure');
    if (!METHODS.has(request.method ?? '')) {
      throw new RunwireError('INVALID_INPUT', 'the procedure requires another method');
    }
    let held: Held | undefined;
    let user: string | undefined;
    let context: Promise<Context> | undefined;
    const identify = async (info: TRPCRequestInfo): Promise<Context> => {
      const via = info.type === 'subscription' ? 'sse' : 'http';
      try {
        // A stock client of server-sent events can send no headers, so its token is in the query.
        const streamToken = via === 'sse' ? info.connectionParams?.token : undefined;
        const principal = await authenticator.identify(request, streamToken);
        user = principal.sub;
        held = inFlight.hold(user);
        return { principal, via };
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
    };
    const contextOf = async (info: TRPCRequestInfo): Promise<Context> => {
      if (info.calls.length > MAX_BATCH_CALLS) {
        // tRPC's own limit states no number.
        throw toTRPCError(new RunwireError('INVALID_INPUT', `a batch has at most ${MAX_BATCH_CALLS} calls`));
      }
      if (isPublic(info)) return asNobody; // Not the context of the batch: its other calls need a token.
      context ??= identify(info);
      return context;
    };
    const whole = requestOf(request, response, async () => {
      // tRPC calls this after `createContext`, which has failed then.
      if (!held) throw new RunwireError('UNAUTHENTICATED', 'a bearer token is required');
      // A client sends a query without an input as an empty body.
      return new RequestBody(request, held, turns).json(limits.messageBytes, { isOptional: true });
    });
    const resolve = (call: { path: string; req: Request }) =>
      resolveResponse({
        ...call,
        router,
        error: null,
        createContext: ({ info }) => contextOf(info),
        allowMethodOverride: true,
        // Sets the status of the error table. For requests that tRPC itself refuses, tRPC would set other statuses.
        responseMeta: ({ errors, info }) => {
          const statuses = new Set(errors.map((error) => errorCodes[toRunwireError(error).code]));
          const [status] = statuses;
          const isForAllCalls = statuses.size === 1 && errors.length === (info?.calls.length ?? 1);
          const headers = new Headers({ 'cache-control': 'no-store' }); // tRPC replaces this header for a stream.
          if (errors.some((error) => isTemporary(toRunwireError(error).code))) {
            headers.set('retry-after', RETRY_AFTER_SECONDS);
          }
          return isForAllCalls && status !== undefined ? { status, headers } : { headers };
        },
        onError: ({ error }) => {
          if (toRunwireError(error).code === 'INTERNAL') health.note('a request failed', { err: error.cause ?? error });
        },
      });
    const calls = callsOf(path, whole);
    const answers = await Promise.all((calls ?? [{ path, req: whole }]).map(resolve));
    await discardRest(request, response);
    try {
      if (calls) await sendBatch(response, answers, { held, turns, user });
      else await send(response, answers[0] as Response, held);
    } finally {
      if (held) whenClosed(response, held.release);
    }
  };
}

/**
 * Returns the request as tRPC reads it. `readJson` reads the body when tRPC asks for it: after the authentication. tRPC asks
 * for the value, and since 11.25 for a text, which it parses itself.
 */
function requestOf(request: IncomingMessage, response: ServerResponse, readJson: () => Promise<unknown>): Request {
  const bodyless = Object.assign(request, { body: '' });
  return Object.assign(incomingMessageToRequest(bodyless, response, { maxBodySize: null }), bodyOf(readJson));
}

const bodyOf = (json: () => Promise<unknown>) => ({ json, text: async () => JSON.stringify(await json()) ?? '' });

/**
 * Divides a batch into requests with one call each: tRPC encodes the answer of a request in one turn of the event loop.
 * Returns undefined for what is no batch, and for a batch that tRPC refuses as a whole or answers as a stream.
 */
function callsOf(path: string, whole: Request): { path: string; req: Request }[] | undefined {
  const url = new URL(whole.url);
  const paths = decodeURIComponent(path).split(',');
  const isStream = /application\/jsonl/.test(`${whole.headers.get('trpc-accept')} ${whole.headers.get('accept')}`);
  const isDivisible = url.searchParams.get('batch') === '1' && paths.length > 1 && paths.length <= MAX_BATCH_CALLS;
  if (!isDivisible || isStream) return undefined;
  const inQuery = inputsIn(url.searchParams.get('input') ?? '{}');
  if (!inQuery) return undefined;
  let body: Promise<unknown> | undefined;
  return paths.map((procedure, index) => {
    const own = new URL(url);
    own.searchParams.set('input', JSON.stringify({ 0: inQuery[index] }));
    const json = async () => {
      body ??= whole.json();
      const inputs = await body;
      return isObject(inputs) ? { 0: inputs[index] } : inputs;
    };
    const { method, headers, signal } = whole;
    return {
      path: encodeURIComponent(procedure),
      req: { url: own.href, method, headers, signal, ...bodyOf(json) } as Request,
    };
  });
}

const isObject = (value: unknown): value is Record<number, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function inputsIn(text: string): Record<number, unknown> | undefined {
  try {
    const inputs: unknown = JSON.parse(text);
    return isObject(inputs) ? inputs : undefined;
  } catch {
    return undefined;
  }
}

/** Sends the answers of single calls as the answer of their batch. */
async function sendBatch(
  response: ServerResponse,
  answers: Response[],
  { held, turns, user }: { held: Held | undefined; turns: Turns; user: string | undefined },
): Promise<void> {
  const parts: Uint8Array[] = [];
  for (const answer of answers) {
    await turns.next({ user });
    if (response.destroyed) return;
    parts.push(new Uint8Array(await answer.arrayBuffer()));
  }
  // tRPC answers a batch of one call with an array of one result, and a request that it refuses with an object.
  const refused = parts.findIndex((part) => part[0] !== OPEN_ARRAY);
  const [first] = refused < 0 ? answers : answers.slice(refused);
  const isSame = refused >= 0 || answers.every(({ status }) => status === first?.status);
  response.statusCode = isSame ? (first as Response).status : 207;
  for (const { headers } of answers) for (const [name, value] of headers) response.setHeader(name, value);
  if (refused >= 0) {
    response.end(parts[refused]);
    return;
  }
  for (const part of parts) held?.addAnswer(part.length);
  for (const [index, part] of parts.entries()) {
    response.write(index === 0 ? '[' : ',');
    if (!response.write(part.subarray(1, -1))) await drained(response);
    if (response.destroyed) return;
  }
  response.end(']');
}

/** Sends an answer as fast as its client reads. Resolves once everything is written, or the client has disconnected. */
async function send(response: ServerResponse, answer: Response, held: Held | undefined): Promise<void> {
  response.statusCode = answer.status;
  for (const [name, value] of answer.headers) response.setHeader(name, value);
  const isStream = answer.headers.get('content-type') === 'text/event-stream';
  const reader = answer.body?.getReader();
  response.once('close', () => void reader?.cancel().catch(() => undefined));
  for (;;) {
    const chunk = await reader?.read();
    if (!chunk?.value || response.destroyed) break;
    // A stream holds one item at a time: the next one is read once the client has accepted it.
    if (!isStream) held?.addAnswer(chunk.value.length);
    if (!response.write(chunk.value)) await drained(response);
  }
  response.end();
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
