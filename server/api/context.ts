import type { Principal } from '../auth/principal.ts';
import type { Transport } from '../delivery/transport.ts';

/** The context of a tRPC call. A caller in the same process (`createCaller`) passes only `principal`. */
export type Context = {
  readonly principal: Principal;
  /** The WebSocket on which the call arrived. Undefined for calls on other transports. */
  readonly connection?: CallerConnection | undefined;
  /** How a call without a WebSocket arrived. Undefined for a caller in the same process. */
  readonly via?: 'http' | 'sse' | undefined;
  /** Aborts when the client of the call has left. */
  readonly signal?: AbortSignal | undefined;
};

/** The part of a WebSocket connection that procedures use. */
export interface CallerConnection extends Transport {
  /** Closes the connection if its token has expired or was revoked. Returns whether the token is valid. */
  closeIfTokenInvalid(): boolean;
  /** Replaces the principal of the connection and of its subscriptions. */
  setPrincipal(principal: Principal): void;
}
