import type { Principal } from '../auth/principal.ts';
import type { Transport } from '../delivery/transport.ts';

/** The context of a call. `createCaller` needs only the principal. */
export type Context = {
  readonly principal: Principal;
  /** The WebSocket that carries the call. */
  readonly connection?: CallerConnection | undefined;
  /** The transport of a call without a WebSocket. Default: an in-process caller. */
  readonly via?: 'http' | 'sse' | undefined;
};

/** The part of a WebSocket connection that procedures use. */
export interface CallerConnection extends Transport {
  /**
   * Counts one message, or one further request of a message. Returns false over the rate limit: the connection closes,
   * and the request must not run.
   */
  countMessage(): boolean;
  /** Closes the connection if its token has expired or was revoked. Returns whether the token is valid. */
  closeIfTokenInvalid(): boolean;
  /** Replaces the principal of the connection and of its subscriptions. */
  setPrincipal(principal: Principal): void;
}
