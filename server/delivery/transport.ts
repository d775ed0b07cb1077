import type { Principal } from '../auth/principal.ts';

/** Carries a subscription to its client: a WebSocket connection, server-sent events (SSE), or an in-process caller. */
export interface Transport {
  /** The current principal. After `auth.refresh` it is another object. */
  readonly principal: Principal;
  /** False while the reader must not send: the transport has too many unsent bytes, or is closing. */
  readonly isDrained: boolean;
  /** Resolves once the transport has drained or closed. */
  drained(): Promise<void>;
  /** Writes ready WebSocket frames. Undefined without a socket, and for a compressed socket: `ws` must build its frames. */
  readonly sink?: FrameSink | undefined;
  /** Closes the WebSocket with a close code. Undefined without a WebSocket: then the subscription ends with an error. */
  close?: ((code: number, reason: string) => void) | undefined;
  /** Throws if the token is no longer valid. Undefined for a WebSocket: the server closes it instead. */
  throwIfTokenInvalid?: (() => void) | undefined;
  /** Called when a reader starts. */
  attach(reader: AttachedReader): void;
  /** Called when a reader ends. */
  detach(reader: AttachedReader): void;
}

/** Writes whole WebSocket frames to a socket. The caller must check `isDrained` before each write. */
export interface FrameSink {
  readonly isDrained: boolean;
  /** Number of fan-out groups that write to this socket. The groups count themselves. */
  groups: number;
  write(frames: Buffer): void;
  /** Data written between `cork` and `uncork` is sent in one packet. */
  cork(): void;
  uncork(): void;
}

/** The part of a reader that a transport uses. */
export interface AttachedReader {
  /** Number of events up to the head of the log that the reader has not scanned. 0 for a reader that waits at the head. */
  readonly lag: number;
  /** Makes the reader check the transport's principal again. */
  recheckAccess(): void;
}
