import type { Principal } from '../auth/principal.ts';

/** The other end of a subscription. */
export interface Transport {
  /** Who reads. Another object once a fresh token has been put in place. */
  readonly principal: Principal;
  /** Whether what was sent has left. */
  readonly isDrained: boolean;
  /** Resolves once drained, or closed. */
  drained(): Promise<void>;
  /** Where ready frames may be written; absent where there is no socket that takes them. */
  readonly sink?: FrameSink | undefined;
  /** Closes the connection with a close code. Undefined without a connection: then the reader throws. */
  close?: ((code: number, reason: string) => void) | undefined;
  /** Throws when the token of who reads does not count any more. Absent where a connection takes care of that. */
  throwIfTokenInvalid?: (() => void) | undefined;
  /** Told of each reader's beginning and end. */
  attach(reader: Attached): void;
  detach(reader: Attached): void;
}

/** Takes WebSocket frames, whole ones, while it is drained. */
export interface FrameSink {
  readonly isDrained: boolean;
  write(frames: Buffer): void;
  /** What is written between these two leaves at once. */
  cork(): void;
  uncork(): void;
}

export interface Attached {
  /** Events between this reader and the head that it has yet to look at; 0 for one that waits. */
  readonly lag: number;
  /** Makes the reader look at its principal again. */
  recheckAccess(): void;
}
