import {
  type AnyTRPCRouter,
  callTRPCProcedure,
  getTRPCErrorFromUnknown,
  getTRPCErrorShape,
  isTrackedEnvelope,
  TRPCError,
} from '@trpc/server';
import { parseConnectionParamsFromUnknown } from '@trpc/server/http';
import type { TRPCClientOutgoingMessage } from '@trpc/server/rpc';
import { RunwireError } from '../../shared/errors.ts';
import type { Context } from '../api/context.ts';
import type { Principal } from '../auth/principal.ts';
import { type DirectRequest, DirectSubscription } from '../delivery/direct.ts';
import { DividedText, PIECE_BYTES } from '../http/json.ts';
import type { Connection } from './connection.ts';
import { idAtStart, MAX_VALUES, requestsOf } from './requests.ts';
import type { MessageReceiver, Rest } from './socket.ts';

/**
 * Answers the calls of one client in tRPC's WebSocket protocol. It calls procedures by tRPC's public functions, and sends
 * what tRPC's own WebSocket handler would send (docs/decisions/006).
 *
 * - A subscription is in `#subscriptions` before its procedure is called. So a stop finds it, however early it arrives.
 * - A `DirectSubscription` sends its items itself. The items of any other are requested one by one.
 * - A subscription that ends or fails sends its error first, and `stopped` last.
 */

export type ClientCallsOptions = {
  router: AnyTRPCRouter;
  /** Called with each error of the socket, of the connection parameters, and of a call. */
  onError: (connection: Connection, error: TRPCError) => void;
};

/** The part of the socket that calls use. */
export interface CallsSocket {
  readonly isOpen: boolean;
  send(text: string): void;
}

type Call = Exclude<TRPCClientOutgoingMessage, { method: 'subscription.stop' }>;
type RequestId = { id: TRPCClientOutgoingMessage['id']; jsonrpc?: TRPCClientOutgoingMessage['jsonrpc'] };
type About = RequestId & { type?: Call['method'] | 'unknown'; path?: string | undefined };

/** Calls of a message that begin in one turn of the event loop: they take a few ms. */
const CALLS_PER_TURN = 50;

const noSubscriptions: OpenSubscription[] = [];
const aborted = AbortSignal.abort();

export class ClientCalls implements MessageReceiver, Context {
  readonly connection: Connection;
  readonly #socket: CallsSocket;
  readonly #options: ClientCallsOptions;
  #onToken: ((token: string | undefined) => void) | undefined;
  /** An array: most connections have few subscriptions, and a Map is larger. */
  #subscriptions = noSubscriptions;
  #abort: AbortController | undefined;

  /** `onToken`: the first message has connection parameters, and `onToken` is called with their token. */
  constructor(
    socket: CallsSocket,
    connection: Connection,
    options: ClientCallsOptions,
    onToken?: (token: string | undefined) => void,
  ) {
    this.#socket = socket;
    this.connection = connection;
    this.#options = options;
    this.#onToken = onToken;
  }

  get principal(): Principal {
    return this.connection.principal;
  }

  /** Aborts when the socket has closed. A connection that only subscribes has no controller. */
  get signal(): AbortSignal {
    if (!this.#socket.isOpen) return this.#abort?.signal ?? aborted;
    this.#abort ??= new AbortController();
    return this.#abort.signal;
  }

  onMessage(data: Buffer, isBinary: boolean): Rest | undefined {
    const beat = isBinary || data.length !== 4 ? undefined : data.toString();
    if (beat === 'PONG') return undefined;
    if (beat === 'PING') this.#socket.send('PONG');
    else if (this.#onToken) this.#readParams(data, isBinary, this.#onToken);
    else if (isBinary) this.#refuseMessage(null, new Error('a binary message'));
    else return this.#parse(data, new DividedText(data));
    return undefined;
  }

  onError(error: Error): void {
    this.#options.onError(this.connection, getTRPCErrorFromUnknown(error));
  }

  onClose(): void {
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions = noSubscriptions;
    this.#abort?.abort();
  }

  /** Called by a subscription that ends by itself. Sends the error, if it failed. */
  ended(subscription: OpenSubscription, failure?: { error: unknown }): void {
    if (!this.#remove(subscription)) return;
    if (failure) this.#refuse(subscription, failure.error);
    const { id, jsonrpc } = subscription;
    this.#respond({ id, jsonrpc, result: { type: 'stopped' } });
  }

  #readParams(data: Buffer, isBinary: boolean, onToken: (token: string | undefined) => void): void {
    let token: string | undefined;
    try {
      if (isBinary || data.length > PIECE_BYTES) throw new Error('not connection parameters');
      token = parseConnectionParamsFromUnknown((JSON.parse(data.toString()) as { data?: unknown }).data)?.token;
    } catch (cause) {
      this.#options.onError(this.connection, new TRPCError({ code: 'PARSE_ERROR', cause }));
      return;
    }
    this.#onToken = undefined;
    onToken(token);
  }

  /** Parses a piece of a message, and begins the requests after the last one. Returns the rest for the next turn. */
  #parse(data: Buffer, text: DividedText): Rest | undefined {
    let requests: TRPCClientOutgoingMessage[];
    try {
      const isAtEnd = text.scan(PIECE_BYTES);
      if (text.values > MAX_VALUES) {
        // With the id, because the client waits for its call.
        const error = new RunwireError('TOO_LARGE', `the message has more than ${MAX_VALUES} values`);
        this.#refuseMessage(idAtStart(data), error);
        return undefined;
      }
      if (!isAtEnd) return () => this.#parse(data, text);
      requests = requestsOf(text.value(), this.#options.router._def._config.transformer);
    } catch (cause) {
      this.#refuseMessage(null, cause);
      return undefined;
    }
    return this.#begin(requests, 0);
  }

  #refuseMessage(id: RequestId['id'], cause: unknown): void {
    this.#refuse({ id }, new TRPCError({ code: 'PARSE_ERROR', cause }));
  }

  /** Begins the requests of a message from an index on. Returns the rest for the next turn. */
  #begin(requests: TRPCClientOutgoingMessage[], first: number): Rest | undefined {
    const end = first + CALLS_PER_TURN;
    for (let index = first; index < Math.min(end, requests.length); index++) {
      // The connection has counted the message with its first request. Over the limit it closes.
      if (index > 0 && !this.connection.countMessage()) return undefined;
      const request = requests[index] as TRPCClientOutgoingMessage;
      if (request.id === null) {
        this.#refuse({ id: null }, new TRPCError({ code: 'PARSE_ERROR', message: '`id` is required' }));
      } else if (request.method === 'subscription.stop') this.#stop(request.id);
      else if (request.method === 'subscription') void this.#subscribe(request);
      else void this.#answer(request);
    }
    return end < requests.length ? () => this.#begin(requests, end) : undefined;
  }

  async #answer(request: Call): Promise<void> {
    const { id, jsonrpc, method: type, params } = request;
    try {
      const data = await this.#procedure(request);
      this.#respond({ id, jsonrpc, result: { type: 'data', data } });
    } catch (error) {
      this.#refuse({ id, jsonrpc, type, path: params.path }, error);
    }
  }

  async #subscribe(request: Call): Promise<void> {
    const { id, jsonrpc, params } = request;
    const subscription = new OpenSubscription(this, id, jsonrpc, params.path);
    if (this.#find(id)) {
      this.#refuse(subscription, new TRPCError({ code: 'BAD_REQUEST', message: `Duplicate id ${id}` }));
      return;
    }
    // A push to an empty array would allocate room for 17.
    if (this.#subscriptions.length === 0) this.#subscriptions = [subscription];
    else this.#subscriptions.push(subscription);
    try {
      const items = await this.#procedure(request);
      if (subscription.isEnded) {
        void (items as AsyncIterator<unknown>).return?.();
        return;
      }
      this.#respond({ id, jsonrpc, result: { type: 'started' } });
      subscription.start(items as AsyncIterable<unknown>);
    } catch (error) {
      if (this.#remove(subscription)) this.#refuse(subscription, error);
    }
  }

  #procedure({ method: type, params }: Call): Promise<unknown> {
    const { path, lastEventId } = params;
    const { router } = this.#options;
    const input = lastEventId === undefined ? params.input : withCursor(params.input, lastEventId);
    const signal = type === 'subscription' ? undefined : this.signal;
    const call = { router, path, getRawInput: async () => input, type, signal, batchIndex: 0 };
    return callTRPCProcedure({ ...call, ctx: this });
  }

  #stop(id: RequestId['id']): void {
    const subscription = this.#find(id);
    if (!subscription) return;
    subscription.end();
    this.ended(subscription);
  }

  #find(id: RequestId['id']): OpenSubscription | undefined {
    return this.#subscriptions.find((open) => open.id === id);
  }

  #remove(subscription: OpenSubscription): boolean {
    const index = this.#subscriptions.indexOf(subscription);
    if (index < 0) return false;
    this.#subscriptions.splice(index, 1);
    return true;
  }

  #refuse({ id, jsonrpc, type = 'unknown', path }: About, cause: unknown): void {
    const error = getTRPCErrorFromUnknown(cause);
    this.#options.onError(this.connection, error);
    const config = this.#options.router._def._config;
    const shape = getTRPCErrorShape({ config, error, type, path, input: undefined, ctx: this });
    this.#respond({ id, jsonrpc, error: shape });
  }

  #respond(message: object): void {
    if (this.#socket.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Sends an item of a subscription that is not direct. */
  sendItem({ id, jsonrpc }: OpenSubscription, item: unknown): void {
    const [cursor, data] = isTrackedEnvelope(item) ? item : [undefined, item];
    const tracked = { type: 'data', data: { id: cursor, data }, id: cursor };
    this.#respond({ id, jsonrpc, result: cursor === undefined ? { type: 'data', data } : tracked });
  }
}

class OpenSubscription implements DirectRequest {
  readonly id: RequestId['id'];
  readonly jsonrpc: RequestId['jsonrpc'];
  readonly path: string;
  readonly type = 'subscription';
  isEnded = false;
  readonly #calls: ClientCalls;
  #items: { return?: () => unknown } | undefined;

  constructor(calls: ClientCalls, id: RequestId['id'], jsonrpc: RequestId['jsonrpc'], path: string) {
    this.#calls = calls;
    this.id = id;
    this.jsonrpc = jsonrpc;
    this.path = path;
  }

  start(items: AsyncIterable<unknown>): void {
    if (items instanceof DirectSubscription) {
      this.#items = items;
      items.begin(this);
      return;
    }
    const iterator = items[Symbol.asyncIterator]();
    this.#items = iterator;
    void this.#pass(iterator);
  }

  failed(error: unknown): void {
    this.#calls.ended(this, { error });
  }

  /** Ends the iterator. Afterwards, the subscription sends nothing. */
  end(): void {
    this.isEnded = true;
    void this.#items?.return?.();
  }

  async #pass(iterator: AsyncIterator<unknown>): Promise<void> {
    try {
      for (;;) {
        const next = await iterator.next();
        if (this.isEnded) return;
        if (next.done) break;
        this.#calls.sendItem(this, next.value);
      }
      this.#calls.ended(this);
    } catch (error) {
      void iterator.return?.();
      this.#calls.ended(this, { error });
    }
  }
}

/** As tRPC's handler: the cursor of the last received item is a field of the input. */
const withCursor = (input: unknown, lastEventId: string): unknown =>
  typeof input === 'object' && input !== null && !Array.isArray(input)
    ? { ...input, lastEventId }
    : (input ?? { lastEventId });
