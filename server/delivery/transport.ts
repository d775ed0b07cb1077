import type { Principal } from '../auth/principal.ts';

/** The connection that carries a subscription. */
export interface Transport {
  /** The current principal. A refreshed token replaces the object. */
  readonly principal: Principal;
  /** False while the reader must not send: too much is unsent, or the connection is closing. */
  readonly isDrained: boolean;
  /** Resolves once the transport has drained or closed. */
  drained(): Promise<void>;
  /** Takes ready frames. Undefined without a socket, or with one that needs `ws` to build its frames. */
  readonly sink?: FrameSink | undefined;
  /** Closes the connection with a close code. Undefined without a connection: then the reader throws. */
  close?: ((code: number, reason: string) => void) | undefined;
  /** Throws if the token is no longer valid. Undefined for a connection, which is closed instead. */
  throwIfTokenInvalid?: (() => void) | undefined;
  /** Called at the start and at the end of each reader. */
  attach(reader: AttachedReader): void;
  detach(reader: AttachedReader): void;
}

/** Takes whole WebSocket frames. Must be drained before each write. */
export interface FrameSink {
  readonly isDrained: boolean;
  write(frames: Buffer): void;
  /** Writes between `cork` and `uncork` leave in one packet. */
  cork(): void;
  uncork(): void;
}

/** The part of a reader that a transport uses. */
export interface AttachedReader {
  /** Events between the reader and the head that it has not scanned. 0 for a waiting reader. */
  readonly lag: number;
  /** Makes the reader check the transport's principal again. */
  recheckAccess(): void;
}
